from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import time_span


@pytest.mark.parametrize(("value", "seconds"), [(timedelta(days=1), 86_400), (90, 90), ("3600", 3_600), (0.5, 0.5)])
def test_an_age_is_a_time_span_or_seconds(value: Any, seconds: float) -> None:
    assert time_span(value, "max_age") == seconds


@pytest.mark.parametrize("value", [0, -1, timedelta(0), "soon", None, True, float("nan"), float("inf")])
def test_another_age_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"max_age: .* no time span above 0"):
        time_span(value, "max_age")
