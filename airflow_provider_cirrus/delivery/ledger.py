"""
What was sent, remembered beyond the process that sent it.

Cirrus has no idempotency key, so this is what stands between a retry and a second message: what is about
to be sent is recorded before the request leaves, and what came back is recorded after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of, mask_all
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.api.wire import encode_id

#: Bytes of a key. With a hundred million messages, two share a key with a chance of one in ten billion.
KEY_BYTES = 12

# Keeps the hash of a person apart from the hashes of other things.
_PERSON = b"cirrus person"

#: Persons where nobody asked for them.
NOBODY: Mapping[bytes, bytes] = {}

# A key's last byte as it is to be, without and with a ``message_key``.
_MARKED = [[bytes([byte & ~1 | with_key]) for byte in range(256)] for with_key in (0, 1)]

# Characters of a reason that are kept: enough for what Cirrus says, little enough for a million of them.
_REASON = 160


class LedgerError(CirrusError):
    """The ledger cannot be used; to send without it could message people twice."""


class Entry(NamedTuple):
    """
    What is remembered of one message.

    :ivar outcome: ``unknown`` where there is an intent and no outcome
    :ivar reason: without phone numbers
    :ivar attempt: the try of the task that sent it
    :ivar time: Unix seconds of the outcome
    """

    outcome: Outcome
    message_id: str | None = None
    object_id: str | None = None
    code: int | None = None
    reason: str | None = None
    attempt: int = 0
    time: float = 0.0

    @classmethod
    def of(cls, result: Result, attempt: int, time: float) -> Entry:
        """Return what is remembered of a result: all but the recipient."""
        reason = None if result.reason is None else mask_all(result.reason)[:_REASON]
        return cls(result.outcome, result.message_id, result.object_id, result.code, reason, attempt, time)

    def result(self, recipient: str) -> Result:
        """Return the result that it stands for."""
        return Result(
            recipient=recipient,
            outcome=self.outcome,
            message_id=self.message_id,
            object_id=self.object_id,
            code=self.code,
            reason=self.reason,
        )


#: What an intent without an outcome comes to: the process ended between the two.
CUT_OFF = Entry(Outcome.UNKNOWN, reason="an earlier try was cut off while it was being sent")


def key_of(message: Message, stream_id: str) -> bytes:
    """
    Return the stable name of a message: a hash, from which no phone number can be read.

    Both spellings of one account share a key. When it is sent and what conversation it opens are not part of
    it. With a ``message_key`` neither are its parameters: an order is reported once, however it is worded.

    :param message: what is sent
    :param stream_id: the stream that it is sent through
    :return: :data:`KEY_BYTES` bytes; the last bit says whether there is a ``message_key``, see :func:`is_global`
    """
    said = message.template.wire_text
    if message.message_key is not None:
        said = json.dumps([message.template.name, message.message_key], ensure_ascii=False)
    # An encoded id and digits hold nothing that JSON would escape.
    text = f'["{encode_id(stream_id)}", "{account_of(message.to)}", {said}]'
    key = hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()
    return key[:-1] + _MARKED[message.message_key is not None][key[-1]]


def is_global(key: bytes) -> bool:
    """Return whether a key is that of a message with a ``message_key``: one for all runs and DAGs."""
    return bool(key[-1] & 1)


def person_of(digits: str) -> bytes:
    """
    Return the name of a person: a hash, the same for both spellings of one account.

    Pseudonymous, not anonymous: there are so few phone numbers that whoever has the hash can try them all.

    :param digits: as :func:`~airflow_provider_cirrus.api.phone.to_digits` returns them
    :return: 16 bytes
    """
    return hashlib.blake2b(account_of(digits).encode(), digest_size=16, person=_PERSON).digest()


class Ledger(Protocol):
    """
    Where outcomes are kept. One process writes to it at a time; one thread calls it at a time.

    Every method returns only once its work is durable, or raises: then nothing more may be sent.

    :ivar keeps_persons: whether it keeps whose each message is, by which it can be erased
    """

    keeps_persons: bool

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield what earlier tries of the same task left, as a stream; of one key, the last overrules the others."""

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
    ) -> Mapping[bytes, Entry]:
        """
        Record outcomes, and messages that are about to be sent.

        :param intents: keys that were not named before, or whose outcome was unsent, or unknown and to be repeated
        :param outcomes: of keys whose intent was committed
        :param persons: of the intents' keys, whose they are (:func:`person_of`)
        :return: those of the intents that are somebody else's, with what is known of them; they must not be sent
        """

    def forget(self) -> None:
        """Forget what earlier tries left, for a deliberate re-send."""
