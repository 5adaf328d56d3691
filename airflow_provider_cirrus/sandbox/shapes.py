"""Small checks that the body rules are made of; each raises :class:`BodyError` naming the place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.strict_json import BodyError

if TYPE_CHECKING:
    from collections.abc import Collection


def an_object(value: Any, place: str) -> dict[str, Any]:
    """Return ``value`` if it is an object."""
    if not isinstance(value, dict):
        raise BodyError(place, f"must be an object, not {_kind(value)}")
    return value


def a_list(value: Any, place: str) -> list[Any]:
    """Return ``value`` if it is a list."""
    if not isinstance(value, list):
        raise BodyError(place, f"must be a list, not {_kind(value)}")
    return value


def a_text(value: Any, place: str) -> str:
    """Return ``value`` if it is a string that is not blank."""
    if not isinstance(value, str):
        raise BodyError(place, f"must be a string, not {_kind(value)}")
    if not value.strip():
        raise BodyError(place, "must not be empty")
    return value


def an_integer(value: Any, place: str) -> int:
    """Return ``value`` if it is an integer; a bool, a float and a string are none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BodyError(place, f"must be an integer, not {_kind(value)}")
    return value


def a_bool(value: Any, place: str) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        raise BodyError(place, f"must be true or false, not {_kind(value)}")
    return value


def keys(value: dict[str, Any], place: str, *, required: Collection[str] = (), optional: Collection[str] = ()) -> None:
    """Check that ``value`` has all the required keys and no unknown ones."""
    for key in required:
        if key not in value:
            raise BodyError(place, f"Missing parameter {key}")
    known = {*required, *optional}
    for key in value:
        if key not in known:
            right = next((name for name in known if name.lower() == key.lower()), None)
            hint = f"; it is spelled {right!r}" if right else f"; known here: {', '.join(sorted(known))}"
            raise BodyError(place, f"unknown key {key!r}{hint}")


def digits(value: Any, place: str) -> str:
    """Return ``value`` if it is a phone number as the API wants it: 8 to 15 digits with country code."""
    number = a_text(value, place)
    if not is_number(number):
        raise BodyError(place, "must be 8 to 15 digits with country code: no '+', no leading 0, no spaces")
    return number


def is_number(text: str) -> bool:
    """Say whether ``text`` is 8 to 15 ASCII digits without a leading zero."""
    return re.fullmatch(r"[1-9][0-9]{7,14}", text) is not None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
