"""Group commit: every request waits for its own intent, and one write serves all that are waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.background import Background
from airflow_provider_cirrus.delivery.ledger.base import NOBODY, Entry, Ledger

# Seconds: a write takes as long for one as for all that come a moment later.
_COMPANY = 0.004

#: Keys that are somebody else's, where there are none.
NOTHING_HELD: Mapping[bytes, Entry] = {}

#: Takes over once an intent is durable, or could not be made so.
Then: TypeAlias = "Callable[[Mapping[bytes, Entry] | None], None]"


class _Intent(NamedTuple):
    """That the messages of one request are about to be sent."""

    keys: Sequence[bytes]
    persons: Mapping[bytes, bytes]
    then: Then


_Outcomes: TypeAlias = "list[tuple[bytes, Entry]]"


class GroupCommit:
    """
    Lets many threads write to one ledger: a thread of its own writes all that has come since its last write.

    After a write that failed nothing is written any more, and whoever writes gets that error: an intent that could
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
        self._writer: Background[_Intent | _Outcomes] = Background(
            "cirrus-ledger", self._write, _let_go, company=_COMPANY
        )

    @property
    def error(self) -> BaseException | None:
        """What ended the writing, if anything did."""
        return self._writer.error

    def intend(self, keys: Sequence[bytes], then: Then, persons: Mapping[bytes, bytes] = NOBODY) -> None:
        """
        Record that these messages are about to be sent, with the next write.

        :param then: called once: when that is durable, with the keys that are somebody else's, which must not be
            sent; or with None after an error, where nothing may be sent. It is called from the thread that writes,
            and must neither keep it nor raise; without a ledger, from this one
        :param persons: whose each key is, where the ledger keeps that
        :raises BaseException: the ledger's own, of an earlier write; ``then`` is not called
        """
        if self._ledger is None:
            then(NOTHING_HELD)
        else:
            self._writer.put(_Intent(keys, persons, then))

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

    def _write(self, gathered: list[_Intent | _Outcomes]) -> None:
        assert self._ledger is not None
        intents = [one for one in gathered if isinstance(one, _Intent)]
        outcomes = [outcome for one in gathered if not isinstance(one, _Intent) for outcome in one]
        persons = {key: person for one in intents for key, person in one.persons.items()}
        held = self._ledger.commit([key for one in intents for key in one.keys], outcomes, persons)
        if outcomes:
            self._recorded(outcomes)
        # Last, as whoever was told that they may send must not be told otherwise by an error.
        for one in intents:
            one.then({key: held[key] for key in one.keys if key in held} if held else NOTHING_HELD)


def _let_go(gathered: list[_Intent | _Outcomes]) -> None:
    for one in gathered:
        if isinstance(one, _Intent):
            one.then(None)


def as_held(entry: Entry) -> Entry:
    """Return the outcome of a message that another task has taken: it is not sent again."""
    known = entry.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
    reason = f"another task sent it: {entry.outcome}" if known else entry.reason or "another task is sending it"
    return entry._replace(outcome=Outcome.DUPLICATE, reason=reason)
