"""Scalars of other libraries, as Python's own: what a cell of numpy, pandas or pyarrow holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

# What is Python's own already: nearly every value, and told by its type alone.
_OWN = frozenset({str, int, bool, type(None), float, datetime, date, time, timedelta, bytes, list, tuple, dict})


def plain(value: Any) -> Any:
    """
    Return a scalar of numpy, pandas or pyarrow as Python's own; anything else as it came.

    What stands for no value (NaN, pandas' NA and NaT, a Decimal that is no number) becomes ``nan``, which is unlike
    itself: the one thing to look for. Nothing is imported: the types are known by their modules.
    """
    if type(value) in _OWN:
        return value
    if isinstance(value, Decimal):
        return math.nan if value.is_nan() else value
    match type(value).__module__.partition(".")[0]:
        case "numpy":
            return _of_numpy(value)
        case "pandas":
            return _of_pandas(value)
        case "pyarrow" if hasattr(value, "as_py"):
            inner = value.as_py()
            return inner if inner is None else plain(inner)
    return value


def plain_within(value: Any) -> Any:
    """Return the same with each scalar inside of it, at any depth of dicts and lists, as :func:`plain` does."""
    if isinstance(value, Mapping):
        return {key: plain_within(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_within(inner) for inner in value]
    return plain(value)


def json_ready(value: Any) -> Any:
    """
    Return what JSON can carry, with scalars of other libraries as Python's own.

    :raises ValueError: a value inside of it that JSON has no form for
    """
    found = plain_within(value)
    try:
        json.dumps(found, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"holds a value that JSON cannot carry ({error}); write it as text.") from None
    except ValueError:
        raise ValueError("holds a number that is not finite, or itself.") from None
    return found


def is_missing(value: Any) -> bool:
    """Return whether what :func:`plain` returned stands for no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _of_numpy(value: Any) -> Any:
    if getattr(value, "shape", None) != () or not hasattr(value, "dtype"):
        # An array is no scalar.
        return value
    match value.dtype.kind:
        case "f":
            return float(value)
        case "M" | "m":
            # Of nanoseconds numpy makes a bare number; of NaT, None.
            inner = value.astype(f"{value.dtype.kind}8[us]").item()
            return math.nan if inner is None else inner
    return value.item()


def _of_pandas(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return math.nan
    if isinstance(value, datetime):
        # What a datetime cannot hold, nanoseconds, is no part of any time that is meant here.
        return value.to_pydatetime(warn=False)  # type: ignore[attr-defined]
    if isinstance(value, timedelta):
        return value.to_pytimedelta()  # type: ignore[attr-defined]
    return value
