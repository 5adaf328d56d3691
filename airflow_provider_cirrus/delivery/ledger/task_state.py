"""The ledger in Airflow's task state store (3.3 and later): no set-up, for one task of one run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import CUT_OFF, KEY_BYTES, NOBODY, Entry, LedgerError

_FORMAT = 1
# Airflow warns from 64 KB on; a write costs the same at any size below.
_SEGMENT = 60_000

_LETTER = {
    Outcome.ACCEPTED: "a",
    Outcome.REJECTED: "r",
    Outcome.SUPPRESSED: "s",
    Outcome.DUPLICATE: "d",
    Outcome.UNKNOWN: "u",
    Outcome.UNSENT: "n",
}
_OUTCOME = {letter: outcome for outcome, letter in _LETTER.items()}


class StateStore(Protocol):
    """The part of Airflow's ``context["task_state_store"]`` that is used here."""

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key."""

    def delete(self, key: str) -> None:
        """Forget a key."""


class TaskStateLedger:
    """
    A ledger in the task state store. It survives retries, killed workers and a manual clear.

    It is a log in segments: of intents, which are keys, and of outcomes, which name the place of their key in
    the log. Only the last segment is ever rewritten. A superseded try can no longer write to the store, and a
    task whose supervisor was killed cannot either, so neither can go on sending.

    :param store: ``context["task_state_store"]``
    """

    keeps_persons = False

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._segment = 0
        self._log: list[Any] = []
        self._size = 0
        self._next_place = 0
        # Only of messages in flight: a place is dropped with its outcome.
        self._place: dict[bytes, int] = {}

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """
        Yield what earlier tries left, as it was written: an intent counts as unknown until its outcome.

        :raises LedgerError: another version's format
        """
        keys = bytearray()
        self._segment, self._log, self._size = 0, [], 0
        for log in self._logs():
            for item in log:
                if "i" in item:
                    found = base64.b64decode(item["i"])
                    keys += found
                    for start in range(0, len(found), KEY_BYTES):
                        yield found[start : start + KEY_BYTES], CUT_OFF
                else:
                    for place, letter, *rest in item["o"]:
                        message_id, object_id, code, reason = [*rest, None, None, None, None][:4]
                        yield (
                            bytes(keys[place * KEY_BYTES : (place + 1) * KEY_BYTES]),
                            Entry(_OUTCOME[letter], message_id, object_id, code, reason, item["n"], item["t"]),
                        )
            self._segment += 1
        self._next_place = len(keys) // KEY_BYTES

    def _logs(self) -> Iterator[list[Any]]:
        # The next segment is fetched while this one is read: a fetch is mostly waiting.
        with ThreadPoolExecutor(1, "cirrus-ledger-read") as reader:
            segment = 0
            coming = reader.submit(self._store.get, _name(segment))
            while (value := coming.result()) is not None:
                segment += 1
                coming = reader.submit(self._store.get, _name(segment))
                yield _log_of(value)

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
    ) -> Mapping[bytes, Entry]:
        """Record outcomes and intents in one write; the task is alone here, so all intents are its own."""
        by_try: dict[tuple[int, float], list[list[Any]]] = {}
        for key, entry in outcomes:
            row = [self._place.pop(key), _LETTER[entry.outcome], entry.message_id, entry.object_id, entry.code]
            row.append(entry.reason)
            while row[-1] is None:
                row.pop()
            by_try.setdefault((entry.attempt, round(entry.time, 1)), []).append(row)
        items: list[Any] = [{"n": attempt, "t": time, "o": rows} for (attempt, time), rows in by_try.items()]
        if intents:
            items.append({"i": base64.b64encode(b"".join(intents)).decode()})
            for key in intents:
                self._place[key] = self._next_place
                self._next_place += 1
        if items:
            self._append(items)
        return {}

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        return {}

    def tidy(self) -> bool:
        return False

    def forget(self) -> None:
        """Forget everything, from the end: were it cut short, what is left could still be read."""
        last = 0
        while self._store.get(_name(last)) is not None:
            last += 1
        for segment in reversed(range(last)):
            self._store.delete(_name(segment))
        self._segment, self._log, self._size, self._next_place = 0, [], 0, 0

    def _append(self, items: Sequence[Any]) -> None:
        added = sum(len(json.dumps(item)) + 2 for item in items)
        if self._log and self._size + added > _SEGMENT:
            self._segment += 1
            self._log, self._size = [], 0
        self._log += items
        self._size += added
        self._store.set(_name(self._segment), {"v": _FORMAT, "log": self._log})


def _log_of(value: Any) -> list[Any]:
    if not isinstance(value, Mapping) or value.get("v") != _FORMAT:
        raise LedgerError(
            "What earlier tries of this task recorded is in a format that this version does not read.",
            hint="Use the version that wrote it, or set resend=True if nobody was messaged.",
        )
    log: list[Any] = value["log"]
    return log


def _name(segment: int) -> str:
    return f"cirrus_sent_{segment}"
