"""
Finding messages in the inbox: words, ``"phrases"``, ``-not this``, and fields.

``to:447700900123`` (the end of a number will do), ``template:order_update``, ``language:pt_BR``, ``id:…``, ``dag:…``,
``run:…``, ``task:…``, ``stream:…``, ``after:2026-11-20`` and ``before:…`` (a day, or a day and a time, in UTC),
``is:accepted``, ``is:refused``, ``is:scheduled``, ``is:now``, ``is:unread``, ``is:read``, ``has:conversation``,
``has:media``. All of it has to hold. Words are looked for in what the recipient sees, in the parameters, in the names
and in the reason of a refusal; case does not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.records import MessageRecord

_TERM = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))')
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?")
_LONGEST = 1_000
_MEDIA = ('"image"', '"video"', '"document"')

_Holds = Callable[["MessageRecord", Callable[["MessageRecord"], str]], bool]

_IS: dict[str, Callable[[MessageRecord], bool]] = {
    "accepted": lambda record: record.is_accepted,
    "refused": lambda record: not record.is_accepted,
    "scheduled": lambda record: record.schedule is not None,
    "now": lambda record: record.schedule is None,
    "unread": lambda record: not record.is_read,
    "read": lambda record: record.is_read,
}
_HAS: dict[str, Callable[[MessageRecord], bool]] = {
    "conversation": lambda record: record.object_id is not None,
    "media": lambda record: any(kind in record.components_json for kind in _MEDIA),
}
_TAGS = ("dag", "run", "stream", "task")


class QueryError(ValueError):
    """A query that nobody can answer; says what is wrong with it."""


@dataclass(frozen=True)
class _Term:
    is_not: bool
    holds: _Holds


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

    def matches(self, record: MessageRecord, seen: Callable[[MessageRecord], str] = lambda record: "") -> bool:
        """
        Return whether a message is found.

        :param seen: returns what the recipient of a message sees, where that is known; asked only if it matters
        """
        return all(term.holds(record, seen) != term.is_not for term in self._terms)

    def newest_first(
        self, records: Sequence[MessageRecord], seen: Callable[[MessageRecord], str] = lambda record: ""
    ) -> Iterator[MessageRecord]:
        """
        Yield the messages that are found.

        :param records: oldest first
        :param seen: as of :meth:`matches`
        """
        return (record for record in reversed(records) if self.matches(record, seen))


def _test(field: str, value: str) -> _Holds:
    if not field:
        wanted = value.casefold()
        return lambda record, seen: wanted in _words(record) or wanted in seen(record).casefold()
    if field in ("after", "before"):
        return _on_the_side(field, value)
    matches: Callable[[MessageRecord], bool] | None = None
    match field:
        case "to":
            digits = "".join(filter(str.isdigit, value))
            if not digits:
                raise QueryError(f"to:{value} holds no digit")
            return lambda record, seen: record.recipient.endswith(digits)
        case "template" | "language" | "id":
            return lambda record, seen: str(getattr(record, field)).casefold() == value.casefold()
        case "is":
            matches = _IS.get(value)
        case "has":
            matches = _HAS.get(value)
        case _ if field in _TAGS:
            tag = f"{field}:{value}".casefold()
            return lambda record, seen: any(one.casefold() == tag for one in record.tags)
    if matches is None:
        raise QueryError(
            f"{field}:{value} is not known; there are to, template, language, id, after, before, "
            + ", ".join([*_TAGS, *(f"is:{one}" for one in _IS), *(f"has:{one}" for one in _HAS)])
        )
    return lambda record, seen: matches(record)


def _on_the_side(field: str, value: str) -> _Holds:
    if not _MOMENT.fullmatch(value):
        raise QueryError(f"{field}:{value} is no day, such as 2026-11-20 or 2026-11-20T08:30")
    # Text compares as time does: both are ISO 8601 in UTC.
    if field == "after":
        return lambda record, seen: record.received_at >= value
    return lambda record, seen: record.received_at < value


def _words(record: MessageRecord) -> str:
    """Return what a message says by itself, remembered: nothing of it changes but who has read it."""
    if record.words is None:
        said = [record.recipient, record.template, record.language, record.id or "", *record.tags]
        failed = json.dumps(record.failed or "", ensure_ascii=False)
        record.words = " ".join((*said, record.components_json, failed)).casefold()
    return record.words
