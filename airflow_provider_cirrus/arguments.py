"""What users write as arguments, in DAG files and in templates: what it is, and what it means."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from typing import Any, TypeVar

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.values import plain

_T = TypeVar("_T")

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off", "none", "")


def is_literal(value: Any) -> bool:
    """Return whether a value is written out in the DAG file, without Jinja and without an XCom in it."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value and "{#" not in value
    if isinstance(value, Mapping):
        return all(is_literal(inner) for inner in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(is_literal(inner) for inner in value)
    # XComArgs and other things to be resolved live in Airflow's own modules; plain values do not.
    return type(value).__module__.partition(".")[0] != "airflow"


def from_text(value: Any) -> Any:
    """
    Return the list or dict that a text stands for: what a template without native objects makes of one.

    :param value: anything; a text that is the source of no list and no dict comes back as it is
    """
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{", "("):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | tuple | dict):
            return found
    return value


def allowance(limit: Any, total: int, field: str = "max_failed") -> float:
    """
    Return how many of ``total`` messages may end so: a count, or a ratio: a percentage, or a number with a point.

    A percentage such as ``5%`` is what JSON cannot change: in a DAG run's configuration, 1.0 may come out as 1.

    :raises InvalidInput: neither
    """

    value = plain(limit)
    if isinstance(value, str):
        text = value.strip()
        try:
            is_percentage = text.endswith("%")
            value = float(text[:-1]) / 100 if is_percentage else float(text) if "." in text else int(text)
        except ValueError:
            value = None
    is_ratio = isinstance(value, float) and 0 <= value <= 1
    if not is_ratio and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidInput(field, f"{limit!r} is no count (int) and no ratio ('5%', or a float from 0 to 1).")
    return float(value * total if is_ratio else value)


def is_true(value: Any, field: str) -> bool:
    """
    Return what a templated switch says; a template without native objects renders to text.

    :raises InvalidInput: it says neither: to guess could send where nothing was to be sent
    """

    said = str(plain(value)).strip().lower()
    if said not in _TRUE + _FALSE:
        raise InvalidInput(field, f"{value!r} is neither true nor false.", hint="Write true or false.")
    return said in _TRUE


def whole_number(value: Any, field: str, least: int) -> int:
    """
    Return a whole number that may be written as text, or as a float: JSON and native rendering make 80.0 of 80.

    :raises InvalidInput: it is none, or below ``least``
    """

    value = plain(value)
    text = str(value).strip()
    head, point, rest = text.partition(".")
    if point and rest and not rest.strip("0"):
        text = head
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise InvalidInput(field, f"{value!r} is no whole number from {least} on.")
    return int(text)


def time_span(value: Any, field: str) -> float:
    """
    Return the seconds of a time span.

    :param value: a timedelta, or seconds as a number or text
    :raises InvalidInput: anything else, or nothing above 0
    """
    value = plain(value)
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds < math.inf:
        shown = repr(value)[:40]
        raise InvalidInput(field, f"{shown} is no time span above 0.", hint="Give a timedelta, or seconds.")
    return seconds


def from_names(kind: type[_T], value: Any, field: str, *, needed: Sequence[str] = (), hint: str = "") -> _T:
    """
    Return an object of a dataclass from what an argument may hold: one, or a dict of its names.

    :param field: how errors name the argument
    :param needed: names that a dict must have
    :param hint: of the error where it is neither; empty: the usual one
    :raises InvalidInput: anything else, a name that there is not, or a name that is missing
    """
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        usual = f"Give {kind.__name__}(…), or a dict of its names."
        raise InvalidInput(field, f"is of type {type(value).__name__}.", hint=hint or usual)
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if strange := [name for name in value if name not in known]:
        raise InvalidInput(field, f"has no {str(strange[0])[:40]!r}.", hint=f"The names are {', '.join(known)}.")
    if missing := [name for name in needed if value.get(name) is None]:
        raise InvalidInput(field, f"lacks {missing[0]!r}.", hint=hint)
    return kind(**value)


def to_plain(value: Any) -> Any:
    """
    Return options, and all that is in them, as dicts and lists; what they do not say is left out.

    Templates and references to other tasks stay as they are: Airflow finds them in dicts and lists, and nowhere else.
    """
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_dict"):
            return value.to_dict()
        if hasattr(value, "accounts"):
            return sorted(value.accounts)
        said = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        return {name: to_plain(inner) for name, inner in said.items() if not _is_default(value, name, inner)}
    if isinstance(value, Mapping):
        return {name: to_plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return [to_plain(inner) for inner in value]
    return value


def plain_without_functions(value: Any, name: str) -> Any:
    """
    Return a value as dicts and lists; see :func:`to_plain`.

    :param name: how errors name it
    :raises InvalidInput: a function in it, which Airflow would call
    """
    found = to_plain(value)
    _refuse_functions(found, name)
    return found


def _refuse_functions(value: Any, name: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_functions(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for inner in value:
            _refuse_functions(inner, name)
    elif callable(value) and is_literal(value):
        raise InvalidInput(
            name,
            "is a function, and Airflow would call it when it renders the task.",
            hint="Give a list, a file, a query, or the output of a task; functions serve CirrusHook.deliver.",
        )


def _is_default(value: Any, name: str, inner: Any) -> bool:
    one = next(one for one in fields(value) if one.name == name)
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return inner is None or inner == default
