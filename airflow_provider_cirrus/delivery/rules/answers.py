"""Yes and no, as columns of rows hold them: who agreed, and who wants none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow_provider_cirrus.api.values import is_missing, plain

#: What a column may hold for yes and no, whatever the case.
YES = ("yes", "y", "true", "t", "1", "on")
NO = ("no", "n", "false", "f", "0", "off")

# ISO 8601 in its usual form: a date of digits alone could be any number.
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
# Zones and clocks differ; what lies further ahead is no time at which somebody agreed.
_AHEAD = timedelta(days=1)


def read_answer(row: Mapping[str, Any], column: str) -> tuple[bool, str | None]:
    """
    Return whether a column says yes, and since when where it is a time; a blank is a no.

    :raises ValueError: it says neither; with its shape, as columns get swapped
    """
    if column not in row:
        raise ValueError(f"the row has no column {column!r}")
    value = plain(row[column])
    if is_missing(value):
        return False, None
    if isinstance(value, bool) or (isinstance(value, int | float | Decimal) and value in (0, 1)):
        return bool(value), None
    if isinstance(value, date):
        return True, _past(value, value.isoformat(), column)
    if not isinstance(value, str):
        raise ValueError(f"column {column!r} holds a value of type {type(value).__name__} that says neither yes nor no")
    text = value.strip()
    word = text.casefold()
    if not word or word in NO:
        return False, None
    if word in YES:
        return True, None
    try:
        moment = datetime.fromisoformat(text) if _DATE.match(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError(f"column {column!r} holds a text of {len(text)} characters that says neither yes nor no")
    return True, _past(moment, text, column)


def _past(value: date, text: str, column: str) -> str:
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    if moment.replace(tzinfo=moment.tzinfo or UTC) > datetime.now(UTC) + _AHEAD:
        raise ValueError(f"column {column!r} holds a time that is yet to come")
    return text
