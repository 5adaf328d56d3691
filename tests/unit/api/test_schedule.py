from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pendulum
import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.schedule import check_ahead, to_unix

NOON = 1906545600  # 2030-06-01T12:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(datetime(2030, 6, 1, 12, tzinfo=UTC), id="aware-datetime"),
        pytest.param(datetime(2030, 6, 1, 14, tzinfo=timezone(timedelta(hours=2))), id="aware-elsewhere"),
        pytest.param(pendulum.datetime(2030, 6, 1, 14, tz="Europe/Paris"), id="pendulum"),
        pytest.param("2030-06-01T12:00:00Z", id="iso-z"),
        pytest.param("2030-06-01 14:00:00+02:00", id="as-jinja-renders-a-datetime"),
        pytest.param("2030-06-01T12:00:00.000000+00:00", id="iso-with-fraction"),
        pytest.param(NOON, id="unix-int"),
        pytest.param(float(NOON) + 0.4, id="unix-float"),
        pytest.param(f" {NOON} ", id="unix-rendered-to-text"),
    ],
)
def test_a_time_leaves_as_unix_seconds(value: object) -> None:
    assert to_unix(value) == NOON


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param(datetime(2030, 6, 1, 12), "no time zone", id="naive-datetime"),
        pytest.param("2030-06-01T12:00:00", "no time zone", id="naive-text"),
        pytest.param("2030-06-01", "no time of day", id="date-text"),
        pytest.param(date(2030, 6, 1), "of type date", id="date"),
        pytest.param("tomorrow", "no time that can be read", id="words"),
        pytest.param("", "no time that can be read", id="empty"),
        pytest.param(NOON * 1000, "not milliseconds", id="milliseconds"),
        pytest.param(-5, "no time between", id="negative"),
        pytest.param(True, "of type bool", id="bool"),
        pytest.param(float("nan"), "is empty", id="nan"),
    ],
)
def test_what_is_no_certain_time_is_refused(value: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        to_unix(value)


def test_a_past_time_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is past, by 60 s"):
        check_ahead(NOON, now=NOON + 60)
    with pytest.raises(InvalidInput, match="is past"):
        check_ahead(NOON, now=NOON)
    check_ahead(NOON, now=NOON - 1)
