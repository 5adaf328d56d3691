"""Group commit: every request waits for its own intent, and one write serves all that are waiting."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock

from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.ledger import Entry, Ledger


class _Waiting:
    """The intents of one request, until they are durable."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = keys
        self.held: Mapping[bytes, Entry] | None = None


class GroupCommit:
    """
    Lets many threads write to one ledger.

    Whoever comes first writes for all that have come by then; the others wait, and mostly find their work done.
    After a write that failed nothing is written any more, and whoever asks gets that error: an intent that could
    not be made durable is never sent.

    :param ledger: where to; None: nothing is remembered, and nothing waits
    :param attempt: the try of the task, kept with each outcome
    """

    def __init__(self, ledger: Ledger | None, attempt: int) -> None:
        self._ledger = ledger
        self._attempt = attempt
        self._lock = Lock()
        self._writing = Lock()
        self._waiting: list[_Waiting] = []
        self._outcomes: list[tuple[bytes, Entry]] = []
        self.error: Exception | None = None

    def intend(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """
        Record that these messages are about to be sent; return once that is durable.

        :return: the keys that are somebody else's, which must not be sent
        :raises Exception: the ledger's own; nothing may be sent
        """
        if self._ledger is None:
            return {}
        mine = _Waiting(keys)
        with self._lock:
            self._waiting.append(mine)
        with self._writing:
            if mine.held is None:
                self._write()
        assert mine.held is not None
        return mine.held

    def settle(self, keys: Sequence[bytes], results: Sequence[Result]) -> list[Entry]:
        """
        Record what became of messages, soon: with the next write, or now if nobody is writing.

        :return: what is remembered of them
        :raises Exception: the ledger's own
        """
        now = time.time()
        entries = [Entry.of(result, self._attempt, now) for result in results]
        if self._ledger is None:
            return entries
        with self._lock:
            self._outcomes += zip(keys, entries, strict=True)
        if self._writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self._writing.release()
        return entries

    def flush(self) -> None:
        """
        Make durable what is left.

        :raises Exception: the ledger's own
        """
        if self._ledger is not None:
            with self._writing:
                self._write()

    def _write(self) -> None:
        """Write what has gathered. The caller holds the writing lock."""
        if self.error is not None:
            raise self.error
        with self._lock:
            waiting, self._waiting = self._waiting, []
            outcomes, self._outcomes = self._outcomes, []
        if not waiting and not outcomes:
            return
        assert self._ledger is not None
        try:
            held = self._ledger.commit([key for one in waiting for key in one.keys], outcomes)
        except Exception as error:
            # Kept for those that wait, who would otherwise try again; the raise is for this thread.
            self.error = error
            raise
        for one in waiting:
            one.held = {key: held[key] for key in one.keys if key in held}


def as_held(entry: Entry) -> Entry:
    """Return the outcome of a message that another task has taken: it is not sent again."""
    known = entry.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
    reason = f"another task sent it: {entry.outcome}" if known else entry.reason or "another task is sending it"
    return replace(entry, outcome=Outcome.DUPLICATE, reason=reason)
