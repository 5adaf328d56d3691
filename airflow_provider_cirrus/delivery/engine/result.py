"""What became of an audience, counted as it comes; the results themselves only of a few messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord
from airflow_provider_cirrus.delivery.ledger.base import Entry

#: Up to so many messages the results themselves are kept.
KEPT = 100


# Not frozen, which takes three times as long to make; one is made for every message.
@dataclass(slots=True)
class MessageOutcome:
    """What became of one message of the audience; ``proof``: of the recipient's opt-in."""

    index: int
    key: bytes
    recipient: str
    entry: Entry
    consent: ConsentRecord = NO_RECORD


@dataclass
class DeliveryResult:
    """
    What became of an audience.

    :ivar counts: the number of messages by outcome, all outcomes named; they add up to the audience
    :ivar kept: all messages in the order of the audience, where there are at most 100
    :ivar complaints: some that were not accepted, for people
    :ivar error: the last error of a whole request, for its hint and its ``retry_after``
    :ivar seconds: how long it took
    :ivar deferred: how many of the unsent wait for the end of quiet hours
    :ivar resume_at: Unix seconds of the first of these ends
    :ivar report_uri: where the report is, if there is one
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((o.value for o in Outcome), 0))
    kept: dict[int, MessageOutcome] = field(default_factory=dict)
    complaints: list[MessageOutcome] = field(default_factory=list)
    error: CirrusError | None = None
    seconds: float = 0.0
    deferred: int = 0
    resume_at: float | None = None
    report_uri: str | None = None

    @property
    def total(self) -> int:
        """The number of messages of the audience."""
        return sum(self.counts.values())

    @property
    def results(self) -> list[Result]:
        """The results in the order of the audience; empty where there are more than 100."""
        if self.total > KEPT:
            return []
        return [self.kept[index].entry.result(self.kept[index].recipient) for index in sorted(self.kept)]

    def add(self, settled: MessageOutcome) -> None:
        """Count one more message."""
        self.counts[settled.entry.outcome] += 1
        if len(self.kept) < KEPT:
            self.kept[settled.index] = settled
        if settled.entry.outcome is not Outcome.ACCEPTED and len(self.complaints) < KEPT:
            self.complaints.append(settled)
