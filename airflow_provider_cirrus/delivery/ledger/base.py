"""
What was sent, remembered beyond the process that sent it.

Cirrus has no idempotency key, so this is what stands between a retry and a second message: what is about
to be sent is recorded before the request leaves, and what came back is recorded after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

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


@dataclass(frozen=True)
class TaskTry:
    """
    Which try of which task opens a ledger, as far as Airflow says.

    :ivar try_number: from 1 on; it grows with every retry and every clear
    :ivar max_tries: the task's retries until it is cleared; every clear raises it to the try number plus the retries
    :ivar retries: of the task
    :ivar resend: whether the user wants to send again what was sent before the last clear
    :ivar resumed: whether this try goes on after it was deferred
    :ivar audience: what this task's part of the audience is (shards, mapping), as JSON has it; a ledger that cannot
        see the other mapped tasks refuses where it has changed
    :ivar run_was_cleared: whether anything of the DAG run was ever cleared
    :ivar retry_rejected_after: seconds after which a message that another run was refused for a time only is free;
        None: it never is
    """

    try_number: int = 1
    max_tries: int = 0
    retries: int = 0
    resend: bool = False
    resumed: bool = False
    audience: Mapping[str, Any] = field(default_factory=dict)
    run_was_cleared: bool = False
    retry_rejected_after: float | None = None

    @property
    def was_cleared(self) -> bool:
        """Whether the task was ever cleared: nothing else moves ``max_tries`` away from the task's retries."""
        return self.try_number > 1 and self.max_tries != self.retries

    @property
    def cleared_after(self) -> int:
        """The last try before the task was last cleared; 0: it never was."""
        return self.max_tries - self.retries if self.was_cleared else 0

    @property
    def clear(self) -> int:
        """The name of the last clear: 0 where there was none. It grows with every clear."""
        return self.max_tries if self.was_cleared else 0


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
INTERRUPTED = Entry(Outcome.UNKNOWN, reason="an earlier try was cut off while it was being sent")


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


class Claims(Protocol):
    """
    What the messages of a commit take in the database of the ledger, where rules count there how often and to how many
    something is sent: taken, and given back, in the very transaction of the commit.
    """

    def take(self, connection: Any) -> Mapping[bytes, Entry]:
        """Take it, of messages that are about to be sent; return those of them that must not be, with their outcome."""

    def give_back(self, connection: Any, keys: Collection[bytes]) -> None:
        """Give back what messages took that were certainly not sent."""


class Ledger(Protocol):
    """
    Where outcomes are kept. One process writes to it at a time; one thread calls it at a time.

    Every method returns only once its work is durable, or raises: then nothing may be sent that it was to record.

    :ivar keeps_persons: whether it keeps whose each message is, by which it can be erased
    """

    keeps_persons: bool

    def open(self, task: TaskTry) -> None:
        """
        Take over from earlier tries; called once, before anything else.

        With ``task.resend`` it forgets what was recorded before the last clear, and remembers that it has: the tries
        that follow go on from there.

        :raises LedgerIncomplete: what earlier tries recorded is gone, so whom they messaged is not known
        :raises LedgerUnavailable: it does not answer
        """

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield what earlier tries of the same task left, as a stream; of one key, the last overrules the others."""

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """
        Return those of the keys that other tasks hold, with what a send of them would come to.

        A way to learn in bulk what :meth:`commit` would say; that a key is not in it promises nothing.
        """

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
        claims: Claims | None = None,
    ) -> Mapping[bytes, Entry]:
        """
        Record outcomes, and messages that are about to be sent. The same call may be repeated after an error.

        :param intents: keys that were not named before, or whose outcome was unsent, or unknown and to be repeated
        :param outcomes: of keys whose intent was committed
        :param persons: of the intents' keys, whose they are (:func:`person_of`)
        :param claims: of the intents; only a ledger in a database is given any
        :return: those of the intents that are somebody else's, with their outcome for this task: ``duplicate``, or
            ``unknown`` where whoever held it ended without saying; they must not be sent
        :raises LedgerUnavailable: it may be written or not
        :raises LedgerError: nothing may be written any more
        """

    def tidy(self) -> bool:
        """Do a little housekeeping while nothing waits to be written; return whether more is left to do."""
