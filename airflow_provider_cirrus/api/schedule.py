"""When a message is to leave: what users write, as the Unix seconds that Cirrus takes."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.values import is_missing, plain

# 2100-01-01: later than any campaign, sooner than any time in milliseconds.
_LATEST = 4_102_444_800
_HINT = (
    "Give an aware datetime, an ISO 8601 text with a zone such as 2030-05-17T09:00:00+02:00, Unix seconds, or a "
    "timedelta from now on."
)


def to_unix(value: Any, field: str = "schedule") -> int:
    """
    Return a time as integer Unix seconds; whether it is past is another question, see :func:`check_ahead`.

    :param value: aware datetime, ISO 8601 text with a zone, Unix seconds as int, float or digits, or a timedelta from
        now on; also as a scalar of numpy or pandas
    :param field: how errors name the value
    :raises InvalidInput: no time, a time without a zone, or one in milliseconds
    """
    value = plain(value)
    if isinstance(value, timedelta):
        moment = int(time.time() + value.total_seconds())
    elif isinstance(value, datetime):
        moment = _from_aware(value, field)
    elif isinstance(value, str):
        moment = _from_text(value.strip(), field)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        moment = int(value)
    elif is_missing(value):
        raise InvalidInput(field, "is empty (not a time).", hint=_HINT)
    else:
        raise InvalidInput(field, f"is of type {type(value).__name__}, not a time.", hint=_HINT)
    if not 0 < moment < _LATEST:
        raise InvalidInput(
            field,
            f"{moment} is no time between 1970 and 2100.",
            hint="Unix time is in seconds, not milliseconds.",
        )
    return moment


def check_ahead(moment: int, now: float, field: str = "schedule") -> None:
    """
    Refuse a time that is past.

    What Cirrus does with one is not documented; a message that was meant for earlier and goes out now
    is the worse mistake.

    :param moment: Unix seconds
    :param now: Unix seconds
    :raises InvalidInput: the time is past
    """
    if moment <= now:
        raise InvalidInput(
            field,
            f"{datetime.fromtimestamp(moment).astimezone().isoformat()} is past, by {now - moment:.0f} s.",
            hint="Give a time to come, or leave schedule out to send at once.",
        )


def _from_text(text: str, field: str) -> int:
    import pendulum
    from pendulum.parsing.exceptions import ParserError

    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        # tz=None keeps a text without zone naive, where the default would call it UTC.
        moment = pendulum.parse(text, exact=True, tz=None)
    except (ParserError, ValueError):
        raise InvalidInput(field, f"{text!r} is no time that can be read.", hint=_HINT) from None
    if not isinstance(moment, datetime):
        raise InvalidInput(field, f"{text!r} has no time of day.", hint=_HINT)
    return _from_aware(moment, field)


def _from_aware(moment: datetime, field: str) -> int:
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidInput(field, f"{moment.isoformat()} has no time zone.", hint=_HINT)
    return int(moment.timestamp())
