"""
Finding messages in the inbox: words, ``"phrases"``, ``-not this``, and fields.

``to:447700900123`` (the end of a number will do), ``template:order_update``, ``language:pt_BR``, ``id:…``,
``after:2026-11-20`` and ``before:…`` (a day, or a day and a time, in UTC), ``is:scheduled``, ``is:now``,
``has:conversation``, ``has:media``. All of it has to hold. Words are looked for in what the recipient sees, in the
parameters and in the names; case does not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_TERM = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))')
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?")
_LONGEST = 1_000
_MEDIA = ('"image"', '"video"', '"document"')


class QueryError(ValueError):
    """A query that nobody can answer; says what is wrong with it."""


@dataclass(frozen=True)
class _Term:
    is_not: bool
    holds: Callable[[dict[str, Any], str], bool]


class Query:
    """
    A query that is understood.

    :param text: as somebody typed it; nothing finds everything
    :raises QueryError: a field or a value that is not known
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise QueryError(f"a query has at most {_LONGEST} characters")
        self._terms = [
            _Term(bool(minus), _test(field, phrase or word)) for minus, field, phrase, word in _TERM.findall(text)
        ]

    @property
    def finds_everything(self) -> bool:
        """Whether nothing was asked for."""
        return not self._terms

    def matches(self, message: dict[str, Any], seen: str = "") -> bool:
        """
        Return whether a message is found.

        :param message: as the store keeps it
        :param seen: what its recipient sees, where that is known
        """
        return all(term.holds(message, seen) != term.is_not for term in self._terms)

    def find(
        self, messages: Iterable[dict[str, Any]], seen: Callable[[dict[str, Any]], str | None]
    ) -> list[dict[str, Any]]:
        """Return the messages that are found, in their order."""
        return [message for message in messages if self.matches(message, seen(message) or "")]


def _test(field: str, value: str) -> Callable[[dict[str, Any], str], bool]:
    if not field:
        wanted = value.casefold()
        return lambda message, seen: wanted in _words(message, seen)
    match field:
        case "to":
            digits = "".join(filter(str.isdigit, value))
            if not digits:
                raise QueryError(f"to:{value} holds no digit")
            return lambda message, seen: message["recipient"].endswith(digits)
        case "template" | "language" | "id":
            return lambda message, seen: str(message[field]).casefold() == value.casefold()
        case "after" | "before":
            if not _MOMENT.fullmatch(value):
                raise QueryError(f"{field}:{value} is no day, such as 2026-11-20 or 2026-11-20T08:30")
            # Text compares as time does: both are ISO 8601 in UTC.
            if field == "after":
                return lambda message, seen: message["received_at"] >= value
            return lambda message, seen: message["received_at"] < value
        case "is" if value in ("scheduled", "now"):
            return lambda message, seen: (message["schedule"] is not None) == (value == "scheduled")
        case "has" if value == "conversation":
            return lambda message, seen: message["object_id"] is not None
        case "has" if value == "media":
            return lambda message, seen: any(kind in json.dumps(message["components"]) for kind in _MEDIA)
    raise QueryError(
        f"{field}:{value} is not known; there are to, template, language, id, after, before, is:scheduled, is:now, "
        "has:conversation and has:media"
    )


def _words(message: dict[str, Any], seen: str) -> str:
    parameters = json.dumps(message["components"], ensure_ascii=False)
    names = (message["recipient"], message["template"], message["language"], message["id"])
    return " ".join((*map(str, names), seen, parameters)).casefold()
