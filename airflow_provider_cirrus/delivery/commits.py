"""Group commit: every request waits for its own intent, and one write serves all that are waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import TypeAlias

from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.background import Background
from airflow_provider_cirrus.delivery.ledger import NOBODY, Entry, Ledger

# Seconds: a write takes as long for one as for all that come a moment later.
_COMPANY = 0.004


class _Waiting:
    """The intents of one request, until they are durable."""

    def __init__(self, keys: Sequence[bytes], persons: Mapping[bytes, bytes]) -> None:
        self.keys = keys
        self.persons = persons
        self.held: Mapping[bytes, Entry] | None = None
        self.is_over = Event()


_Outcomes: TypeAlias = "list[tuple[bytes, Entry]]"


class GroupCommit:
    """
    Lets many threads write to one ledger: a thread of its own writes all that has come since its last write.

    After a write that failed nothing is written any more, and whoever asks gets that error: an intent that could
    not be made durable is never sent.

    :param ledger: where to; None: nothing is remembered, and nothing waits
    :param attempt: the try of the task, kept with each outcome
    :param recorded: told of outcomes once they are durable, from the thread that writes
    """

    def __init__(
        self,
        ledger: Ledger | None,
        attempt: int,
        recorded: Callable[[Sequence[tuple[bytes, Entry]]], None] = lambda outcomes: None,
    ) -> None:
        self._ledger = ledger
        self._attempt = attempt
        self._recorded = recorded
        self._writer: Background[_Waiting | _Outcomes] = Background(
            "cirrus-ledger", self._write, _let_go, company=_COMPANY
        )

    @property
    def error(self) -> BaseException | None:
        """What ended the writing, if anything did."""
        return self._writer.error

    def intend(self, keys: Sequence[bytes], persons: Mapping[bytes, bytes] = NOBODY) -> Mapping[bytes, Entry]:
        """
        Record that these messages are about to be sent; return once that is durable.

        :param persons: whose each key is, where the ledger keeps that
        :return: the keys that are somebody else's, which must not be sent
        :raises BaseException: the ledger's own; nothing may be sent
        """
        if self._ledger is None:
            return {}
        mine = _Waiting(keys, persons)
        self._writer.put(mine)
        mine.is_over.wait()
        if mine.held is None:
            assert self.error is not None
            raise self.error
        return mine.held

    def settle(self, keys: Sequence[bytes], results: Sequence[Result]) -> list[Entry]:
        """
        Record what became of messages, with the next write.

        :return: what is remembered of them
        :raises BaseException: the ledger's own, of an earlier write
        """
        now = time.time()
        entries = [Entry.of(result, self._attempt, now) for result in results]
        if self._ledger is not None:
            self._writer.put(list(zip(keys, entries, strict=True)))
        return entries

    def close(self) -> None:
        """Write what is left; :attr:`error` says whether that went well."""
        self._writer.close()

    def _write(self, gathered: list[_Waiting | _Outcomes]) -> None:
        assert self._ledger is not None
        waiting = [one for one in gathered if isinstance(one, _Waiting)]
        outcomes = [outcome for one in gathered if not isinstance(one, _Waiting) for outcome in one]
        persons = {key: person for one in waiting for key, person in one.persons.items()}
        held = self._ledger.commit([key for one in waiting for key in one.keys], outcomes, persons)
        for one in waiting:
            one.held = {key: held[key] for key in one.keys if key in held} if held else {}
            one.is_over.set()
        if outcomes:
            self._recorded(outcomes)


def _let_go(gathered: list[_Waiting | _Outcomes]) -> None:
    for one in gathered:
        if isinstance(one, _Waiting):
            one.is_over.set()


def as_held(entry: Entry) -> Entry:
    """Return the outcome of a message that another task has taken: it is not sent again."""
    known = entry.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
    reason = f"another task sent it: {entry.outcome}" if known else entry.reason or "another task is sending it"
    return entry._replace(outcome=Outcome.DUPLICATE, reason=reason)
