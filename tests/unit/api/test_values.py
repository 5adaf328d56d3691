from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import to_digits
from airflow_provider_cirrus.api.schedule import to_unix
from airflow_provider_cirrus.api.text import as_text
from airflow_provider_cirrus.api.values import is_missing, json_ready, plain
from airflow_provider_cirrus.arguments import allowance, is_true, time_span, whole_number

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "own"),
    [
        pytest.param(np.int64(7), 7, id="int64"),
        pytest.param(np.uint8(7), 7, id="uint8"),
        pytest.param(np.float64(19.9), 19.9, id="float64"),
        pytest.param(np.float32(0.5), 0.5, id="float32"),
        pytest.param(np.longdouble(0.5), 0.5, id="longdouble"),
        pytest.param(np.bool_(True), True, id="bool"),
        pytest.param(np.str_("Ann"), "Ann", id="str"),
        pytest.param(np.datetime64("2030-06-01T12:00:00.000000001"), datetime(2030, 6, 1, 12), id="datetime64-ns"),
        pytest.param(np.datetime64("2030-06-01"), datetime(2030, 6, 1), id="datetime64-day"),
        pytest.param(np.timedelta64(90, "s"), timedelta(seconds=90), id="timedelta64"),
        pytest.param(pd.Timestamp(NOON), NOON, id="timestamp"),
        pytest.param(pd.Timedelta(seconds=90), timedelta(seconds=90), id="timedelta"),
        pytest.param(pa.scalar(7), 7, id="arrow-int"),
        pytest.param(pa.scalar("Ann"), "Ann", id="arrow-text"),
        pytest.param(pa.scalar(None, pa.int64()), None, id="arrow-null"),
        pytest.param(Decimal("1.50"), Decimal("1.50"), id="decimal"),
        pytest.param("Ann", "Ann", id="text"),
    ],
)
def test_a_scalar_of_another_library_is_pythons_own(value: Any, own: Any) -> None:
    found = plain(value)
    assert found == own
    assert type(found) is type(own)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(pd.NA, id="NA"),
        pytest.param(pd.NaT, id="NaT"),
        pytest.param(math.nan, id="nan"),
        pytest.param(np.float64("nan"), id="numpy-nan"),
        pytest.param(np.datetime64("NaT"), id="numpy-NaT"),
        pytest.param(np.timedelta64("NaT"), id="numpy-NaT-of-a-time-span"),
        pytest.param(Decimal("NaN"), id="decimal-nan"),
        pytest.param(Decimal("sNaN"), id="decimal-signalling-nan"),
        pytest.param(None, id="none"),
    ],
)
def test_what_stands_for_no_value_is_known_and_rejected_by_every_reader(value: Any) -> None:
    assert is_missing(plain(value))
    for read in (to_digits, to_unix):
        with pytest.raises(InvalidInput):
            read(value)
    with pytest.raises(ValueError, match=r"is None|not a finite number"):
        as_text(value)


def test_an_array_is_no_scalar() -> None:
    array = np.array([1, 2])
    assert plain(array) is array
    with pytest.raises(ValueError, match="of type ndarray"):
        as_text(array)


def test_readers_take_scalars_of_numpy_and_pandas() -> None:
    assert to_digits(np.int64(447700900123)) == "447700900123"
    assert to_digits(np.str_("+44 7700 900123")) == "447700900123"
    assert as_text(np.float64(19.9)) == "19.9"
    assert as_text(np.int64(7)) == "7"
    assert as_text(pd.Timestamp(NOON)) == "2030-06-01T12:00:00+00:00"
    assert to_unix(pd.Timestamp(NOON)) == to_unix(np.int64(NOON.timestamp())) == to_unix(NOON)
    assert whole_number(np.int64(3), "shards", 1) == 3
    assert is_true(np.bool_(True), "dry_run")
    assert time_span(pd.Timedelta(days=1), "max_age") == 86_400
    assert allowance(np.float64(0.5), 10) == allowance("50%", 10) == 5


def test_a_ratio_as_a_percentage_cannot_be_taken_for_a_count() -> None:
    assert (allowance("100%", 40), allowance("2.5 %", 40), allowance("1", 40), allowance("1.0", 40)) == (40, 1, 1, 40)
    for wrong in ("101%", "-1%", "%", "half"):
        with pytest.raises(InvalidInput, match="no count"):
            allowance(wrong, 40)


def test_a_message_of_numpy_goes_out_as_json() -> None:
    message = Message.build(
        np.int64(447700900123),
        {
            "name": "order_update",
            "language": np.str_("en"),
            "body": [np.float64(12.5), np.int64(3)],
            "components": [{"type": "button", "sub_type": "flow", "index": np.int64(0), "parameters": []}],
        },
        object_data={"StatusId": np.int64(1), "Content": {"items": [np.int64(2)], "at": np.str_("x")}},
        message_key=np.int64(9),
    )
    assert message.to == "447700900123"
    assert message.message_key == "9"
    assert '"text": "12.5"' in message.template.wire_text
    assert message.object_data is not None
    assert message.object_data.wire_text == '{"Content": {"at": "x", "items": [2]}, "StatusId": 1}'


@pytest.mark.parametrize("value", [{"at": date(2030, 6, 1)}, {"n": [Decimal(1)]}, {"n": math.nan}, {"n": {1, 2}}])
def test_what_json_cannot_carry_is_refused_before_anything_is_sent(value: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot carry|not finite"):
        json_ready(value)
    with pytest.raises(InvalidInput, match=r"object_data\.Content"):
        Message.build("447700900123", {"name": "a", "language": "en"}, object_data={"Content": value})
