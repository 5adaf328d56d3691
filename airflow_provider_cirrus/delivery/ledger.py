"""
What was sent, remembered beyond the process that sent it.

Cirrus has no idempotency key, so this is what stands between a retry and a second message: what is about
to be sent is recorded before the request leaves, and what came back is recorded after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.api.wire import encode_id, wire_entry

_FORMAT = 1


class LedgerError(CirrusError):
    """The ledger cannot be read; to send without it could message people twice."""


def key_of(message: Message, stream_id: str) -> str:
    """
    Return the stable name of a message: a hash, from which no phone number can be read.

    Both spellings of one account share a key. When it is sent and what conversation it opens are not part of
    it; a ``message_key`` of the user's is.

    :param message: what is sent
    :param stream_id: the stream that it is sent through
    """
    template = wire_entry(message)["template_data"]["template"]
    identity = [encode_id(stream_id), account_of(message.to), template, message.message_key]
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Ledger(Protocol):
    """Where outcomes are kept; every call returns only once it is durable, or raises."""

    def load(self) -> Mapping[str, Result]:
        """Return what is known by key, recipients left out; an intent without an outcome is unknown."""

    def intend(self, batch: int, keys: Sequence[str]) -> None:
        """Record that these messages are about to be sent."""

    def record(self, batch: int, keys: Sequence[str], results: Sequence[Result]) -> None:
        """Record what became of them, in place of the intent."""

    def forget(self) -> None:
        """Forget everything, for a deliberate re-send."""


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
    A ledger in Airflow's task state store (3.3 and later).

    It survives retries, killed workers and a manual clear. One value a batch, in the order in which the
    batches were sent. A superseded try can no longer write to the store, so it can no longer send either.

    :param store: ``context["task_state_store"]``
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._used = 0

    def load(self) -> dict[str, Result]:
        """
        Return what earlier tries left, by key.

        :raises LedgerError: another version's format
        """
        known: dict[str, Result] = {}
        self._used = 0
        while (segment := self._store.get(_name(self._used))) is not None:
            if not isinstance(segment, Mapping) or segment.get("v") != _FORMAT:
                raise LedgerError(
                    "What earlier tries of this task recorded is in a format that this version does not read.",
                    hint="Use the version that wrote it, or set resend=True if nobody was messaged.",
                )
            for key, outcome, *found in segment["messages"]:
                known[key] = _result(outcome, found)
            self._used += 1
        return known

    def intend(self, batch: int, keys: Sequence[str]) -> None:
        """Record that these messages are about to be sent."""
        self._write(batch, [[key, ""] for key in keys])

    def record(self, batch: int, keys: Sequence[str], results: Sequence[Result]) -> None:
        """Record what became of them, in place of the intent."""
        self._write(
            batch,
            [
                [key, result.outcome.value, result.message_id, result.object_id, result.code]
                for key, result in zip(keys, results, strict=True)
            ],
        )

    def forget(self) -> None:
        """Forget everything, for a deliberate re-send."""
        self.load()
        # From the end: were this cut short, what is left could still be read from the beginning.
        for batch in reversed(range(self._used)):
            self._store.delete(_name(batch))
        self._used = 0

    def _write(self, batch: int, messages: Sequence[Sequence[Any]]) -> None:
        self._store.set(_name(self._used + batch), {"v": _FORMAT, "messages": [list(entry) for entry in messages]})


def _name(segment: int) -> str:
    return f"cirrus_sent_{segment}"


def _result(outcome: str, found: Sequence[Any]) -> Result:
    if not outcome:
        return Result(
            recipient="", outcome=Outcome.UNKNOWN, reason="an earlier try was cut off while it was being sent"
        )
    message_id, object_id, code = found
    return Result(
        recipient="",
        outcome=Outcome(outcome),
        message_id=message_id,
        object_id=object_id,
        code=code,
        reason=None if outcome == Outcome.ACCEPTED else "as an earlier try found",
    )
