"""Counts of messages, kept as they come and go: nobody counts a hundred thousand for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, Self


class Counted(Protocol):
    """What is counted of a message."""

    template: str
    outcome: str
    received_at: str
    failed: str | dict[str, Any] | None
    schedule: int | None
    is_read: bool


class Tally:
    """
    Counts of messages.

    :ivar templates: by template and outcome
    :ivar minutes: by the minute in which they came in, such as ``2026-11-20T08:30``, and outcome
    :ivar reasons: by why they were refused
    :ivar scheduled: how many are for later
    :ivar unread: how many nobody has looked at
    """

    def __init__(self, records: Iterable[Counted] = ()) -> None:
        self.templates: Counter[tuple[str, str]] = Counter()
        self.minutes: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.scheduled = 0
        self.unread = 0
        for record in records:
            self.add(record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def add(self, record: Counted) -> None:
        """Count a message."""
        self._count(record, 1)

    def remove(self, record: Counted) -> None:
        """Count a message no more."""
        self._count(record, -1)

    def copy(self) -> Self:
        """Return the same counts, which then stay as they are."""
        made = type(self)()
        made.templates, made.minutes = self.templates.copy(), self.minutes.copy()
        made.reasons = self.reasons.copy()
        made.scheduled, made.unread = self.scheduled, self.unread
        return made

    def _count(self, record: Counted, step: int) -> None:
        _step(self.templates, (record.template, record.outcome), step)
        _step(self.minutes, (record.received_at[:16], record.outcome), step)
        if record.failed is not None:
            _step(self.reasons, reason_of(record.failed), step)
        self.scheduled += step * (record.schedule is not None)
        self.unread += step * (not record.is_read)


def reason_of(failed: Any) -> str:
    """Return why a message was refused, as a text: the answer has one, or an object."""
    if not isinstance(failed, dict):
        return str(failed)
    said = [str(failed[name]) for name in ("code", "message") if failed.get(name)]
    return ": ".join(said) or ", ".join(f"{name} {value}" for name, value in failed.items())


def _step(counter: Counter[Any], key: Any, step: int) -> None:
    counter[key] += step
    if not counter[key]:
        # So that what has come and gone takes no room.
        del counter[key]
