"""JSON read without mercy: what a lenient server might swallow is a mistake worth seeing here."""

from __future__ import annotations

import json
import math
from typing import Any


class BodyError(ValueError):
    """The body of a request breaks a rule; the text names the place."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)


def loads(raw: bytes, content_type: str) -> Any:
    """
    Return the JSON value of a request body.

    :param raw: the body as received.
    :param content_type: the Content-Type header.
    :raises BodyError: it is not declared as JSON, is not JSON, repeats a key, or holds null, NaN or a
        lone surrogate.
    """
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != "application/json":
        raise BodyError("Content-Type", f"must be application/json, not {content_type or 'absent'}")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in {"", "utf-8", "utf8"}:
        raise BodyError("Content-Type", f"JSON travels as UTF-8, not {charset}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        _check_values(value, "")
    except BodyError:
        raise
    except UnicodeDecodeError as exc:
        raise BodyError("body", "not UTF-8") from exc
    except ValueError as exc:  # also an integer of more digits than Python converts
        raise BodyError("body", f"not JSON: {exc}") from exc
    except RecursionError as exc:
        raise BodyError("body", "nested too deeply") from exc
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BodyError("body", f"the key {key!r} stands twice in one object")
            seen.add(key)
    return made


def _no_constant(name: str) -> Any:
    raise BodyError("body", f"{name} is not JSON")


def _check_values(value: Any, place: str) -> None:
    if value is None:
        raise BodyError(place or "body", "null is not allowed; leave the key out")
    if isinstance(value, str):
        _check_encodable(value, place)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BodyError(place, "too large a number")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_encodable(key, place)
            _check_values(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{place}[{index}]")


def _check_encodable(text: str, place: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise BodyError(place or "body", "holds half of a surrogate pair") from exc
