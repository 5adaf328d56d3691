"""What the machine and its drivers hand to each other: messages on their way, requests, writes, what is to be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.api.wire import MAX_BATCH
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord
from airflow_provider_cirrus.delivery.engine.rate_limit import Permit
from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.rules.claims import Overspent
from airflow_provider_cirrus.delivery.rules.policy import Timing


@dataclass(slots=True, eq=False)
class Item:
    """
    A message of the audience: all that is known of it when it is read, and how it fares.

    :ivar index: its place in the audience
    :ivar recipient: digits, or whatever stood there
    :ivar message: None where the row is no message
    :ivar key: of the ledger; empty where the row is no message
    :ivar account: one spelling of the number, for comparing
    :ivar consent: of the recipient's opt-in
    :ivar earlier: what an earlier try left of it; None: nothing
    :ivar ruled: what it comes to without being sent, and why: no message, a duplicate, held by a rule
    :ivar taken: what it comes to as another task has it
    :ivar maybe: whether an earlier try may have sent it: then it is never called unsent
    :ivar tries: how often it came back as certainly not sent
    :ivar awake: from when to when, in Unix seconds, it is known that its recipient has no quiet hours
    """

    index: int
    recipient: str
    message: Message | None = None
    key: bytes = b""
    account: str = ""
    consent: ConsentRecord = NO_RECORD
    earlier: Entry | None = None
    ruled: tuple[Outcome, str] | None = None
    taken: Entry | None = None
    maybe: bool = False
    tries: int = 0
    awake: tuple[float, float] = (0.0, 0.0)

    @property
    def to_send(self) -> Message:
        """The message of an item that is one."""
        assert self.message is not None
        return self.message


@dataclass(slots=True, eq=False)
class Batch:
    """Messages of one request. It holds one of the run's slots from its intent until its answer."""

    items: list[Item]
    permit: Permit | None = None


Outcomes: TypeAlias = "list[tuple[Item, Entry]]"


@dataclass(slots=True, eq=False)
class Commit:
    """
    What is to be written in one go. After an error the same is written again, and nothing else before it.

    :ivar batches: whose messages are about to be sent
    :ivar outcomes: what became of messages whose intent was written
    :ivar overspent: the day's budget has no room for some of them, which come to ``unsent``
    """

    batches: list[Batch]
    outcomes: Outcomes
    overspent: Overspent | None = None

    @property
    def items(self) -> list[Item]:
        """The messages whose intent it is."""
        return [item for batch in self.batches for item in batch.items]


@dataclass(slots=True)
class Effects:
    """
    What is to be done after an event.

    :ivar send: batches that are to be handed to a sender now, which asks :meth:`Machine.depart` at the last moment
    :ivar tell: messages whose outcome is final
    :ivar write: whether there is something to write and nobody is writing: call :meth:`Machine.next_write`
    """

    send: list[Batch] = field(default_factory=list)
    tell: list[MessageOutcome] = field(default_factory=list)
    write: bool = False


@dataclass(frozen=True)
class Options:
    """
    What a run goes by; see :class:`~.dispatcher.Dispatcher`.

    :ivar timing: when a message may leave, by its recipient's quiet hours; None: at any time
    :ivar batch: most messages of a request
    :ivar preview: of a dry run: what the recipient of a message would see
    :ivar watch: says when what comes back speaks against going on; None: never
    :ivar asks_after_canary: whether the run pauses once the first messages have fared well
    """

    messages_per_second: float = 80
    attempt: int = 1
    repeat_unknown: bool = False
    concurrency: int = 16
    pause: float = 1.0
    timing: Callable[[Message, float], Timing] | None = None
    dry_run: bool = False
    start_after: float = 0.0
    batch: int = MAX_BATCH
    preview: Callable[[Message], str] | None = None
    watch: Watch | None = None
    asks_after_canary: bool = False
