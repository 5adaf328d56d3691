from __future__ import annotations

import pytest

from airflow_provider_cirrus.delivery.engine.progress import Progress


def test_progress_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = Progress(1000, lambda: now[0])
    with caplog.at_level("INFO"):
        for second in range(25):
            now[0] = float(second)
            progress.tell({"accepted": second * 10, "rejected": 0})
    assert [record.getMessage() for record in caplog.records] == [
        "100 of 1000 messages, 10 a second, 90 s left: 100 accepted.",
        "200 of 1000 messages, 10 a second, 80 s left: 200 accepted.",
    ]
