"""Tables in memory (pandas, Polars, pyarrow) as rows: what a task hands over instead of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.audience.table import Row, Table

# Rows that are turned into dicts at a time.
_BATCH = 1024


class Frame(Table):
    """
    A data frame or a table in memory.

    :param frame: as :func:`is_frame` knows it
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        names = frame.column_names if hasattr(frame, "column_names") else frame.columns
        self.columns = [str(name) for name in names]

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self._frame), _BATCH):
            yield from self._rows(start)

    def _rows(self, start: int) -> list[dict[str, Any]]:
        frame = self._frame
        match _library(frame):
            case "pandas":
                part = frame.iloc[start : start + _BATCH]
                # By column, as each of them keeps its type: whole numbers stay whole beside fractions.
                cells = [part.iloc[:, place].tolist() for place in range(len(self.columns))]
                return [dict(zip(self.columns, row, strict=True)) for row in zip(*cells, strict=True)]
            case "polars":
                found: list[dict[str, Any]] = frame.slice(start, _BATCH).to_dicts()
            case _:
                found = frame.slice(start, _BATCH).to_pylist()
        return found


def is_frame(source: Any) -> bool:
    """
    Return whether a source is a data frame of pandas or Polars, or a table or record batch of pyarrow.

    :raises InvalidInput: it is a column of one, or a frame that is not computed yet
    """
    kind = type(source).__name__
    library = _library(source)
    if library not in ("pandas", "polars", "pyarrow"):
        return False
    if kind in ("DataFrame", "Table", "RecordBatch"):
        return True
    hint = "Call .collect() on it first." if kind == "LazyFrame" else "Give the table that it is of."
    raise InvalidInput("audience", f"is a {library} {kind}, not a table.", hint=hint)


def _library(source: Any) -> str:
    # By the whole line of ancestors: there are kinds of DataFrame that others make of it.
    modules = [one.__module__.partition(".")[0] for one in type(source).__mro__]
    return next((name for name in ("pandas", "polars", "pyarrow") if name in modules), "")
