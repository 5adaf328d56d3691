from __future__ import annotations

import logging

import pytest

from airflow_provider_cirrus.delivery.engine.progress import Progress, Troubles


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


def test_a_trouble_is_told_at_first_then_once_a_minute_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(logging.getLogger("test"))
    for second in range(100):
        troubles.say("slow", f"Slow {second}.", float(second))
    troubles.say("lost", "Lost.", 100.0)
    troubles.sum_up()
    troubles.sum_up()
    assert [record.getMessage() for record in caplog.records] == [
        "Slow 0.",
        "Slow 60. (60 times since it was last said here)",
        "Lost.",
        "Slow 99. (100 times in all; 39 not said here)",
    ]
