from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import count_hint, read_audience
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow

ROWS: dict[str, list[Any]] = {
    "phone": ["+44 7700 900101", "447700900102"],
    "name": ["Ann", "Ben"],
    "items": [3, 4],
    "price": [19.9, 5.0],
}
COLUMNS = Columns(to="phone", body=["name", "items", "price"])
MESSAGE = {"template": "order_update", "language": "en"}


def bodies(source: Any, columns: Columns = COLUMNS) -> list[Any]:
    return [
        (one.to, one.template.body) if isinstance(one, Message) else one.reason
        for _, one in read_audience(source, columns, MESSAGE)
    ]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pd.DataFrame(ROWS), id="pandas"),
        pytest.param(pd.DataFrame(ROWS, index=["a", "a"]), id="pandas-with-an-index"),
        pytest.param(pd.DataFrame(ROWS).convert_dtypes(), id="pandas-with-its-own-types"),
        pytest.param(pd.DataFrame(ROWS).convert_dtypes(dtype_backend="pyarrow"), id="pandas-of-arrow"),
        pytest.param(pl.DataFrame(ROWS), id="polars"),
        pytest.param(pa.table(ROWS), id="arrow-table"),
        pytest.param(pa.RecordBatch.from_pydict(ROWS), id="arrow-batch"),
        pytest.param(pd.DataFrame(ROWS).to_dict("records"), id="dicts"),
    ],
)
def test_a_table_in_memory_is_read_as_rows(frame: Any) -> None:
    assert bodies(frame) == [
        ("447700900101", ["Ann", "3", "19.9"]),
        ("447700900102", ["Ben", "4", "5.0"]),
    ]
    assert count_hint(frame) == 2


def test_a_long_frame_is_read_whole_and_in_order() -> None:
    numbers = [f"4477009{place:05}" for place in range(3000)]
    for frame in (pd.DataFrame({"to": numbers}), pl.DataFrame({"to": numbers}), pa.table({"to": numbers})):
        assert [to for to, _ in bodies(frame, Columns())] == numbers


@pytest.mark.parametrize("gap", [None, math.nan, pd.NA, pd.NaT, np.float64("nan")])
def test_a_gap_rejects_its_row_and_no_other(gap: Any) -> None:
    frame = pd.DataFrame({**ROWS, "name": pd.Series(["Ann", gap], dtype=object)})
    first, second = bodies(frame)
    assert first == ("447700900101", ["Ann", "3", "19.9"])
    assert second.startswith("row 2, column 'name' is empty")


@pytest.mark.parametrize("gap", [math.nan, pd.NA, pd.NaT, np.datetime64("NaT")])
def test_a_gap_among_schedules_rejects_its_row_and_no_other(gap: Any) -> None:
    rows = [{"to": "447700900101", "at": 1_900_000_000}, {"to": "447700900102", "at": gap}]
    found = [one for _, one in read_audience(rows, Columns(schedule="at"), MESSAGE)]
    assert isinstance(found[0], Message)
    assert isinstance(found[1], RejectedRow)
    assert found[1].reason.startswith("row 2, column 'at' is empty")


def test_whole_numbers_beside_a_gap_are_no_numbers_to_write_to() -> None:
    """What pandas makes of a column of whole numbers with a gap: floats."""
    frame = pd.DataFrame({"to": [447700900101, None]})
    first, second = bodies(frame, Columns())
    assert first.startswith("row 1, column 'to' is a float. Read the column as text")
    assert second.startswith("row 2, column 'to' is empty")


def test_a_missing_column_of_a_frame_is_named() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'phone'"):
        bodies(pd.DataFrame(ROWS), Columns(to="phones"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param(pd.Series(["447700900101"]), "is a pandas Series, not a table", id="series"),
        pytest.param(pl.DataFrame(ROWS).lazy(), r"polars LazyFrame.*collect", id="lazy"),
        pytest.param(pa.array(["447700900101"]), "is a pyarrow StringArray, not a table", id="array"),
    ],
)
def test_a_column_is_no_table(source: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        bodies(source, Columns())
