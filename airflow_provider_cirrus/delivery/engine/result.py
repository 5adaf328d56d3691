"""What became of an audience, counted as it comes; the results themselves only of a few messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord
from airflow_provider_cirrus.delivery.ledger.base import Entry

#: Up to so many messages the results themselves are kept.
KEPT = 100
#: Messages of a dry run of which a result shows what their recipients would see.
PREVIEWS = 5
# Reasons that are told apart for each run, texts whose reason is remembered, and recipients named with each.
_PATTERNS, _TEXTS, _RECIPIENTS = 60, 1_000, 3
_DIGITS = re.compile(r"\d+")


# Not frozen, which takes three times as long to make; one is made for every message.
@dataclass(slots=True)
class MessageOutcome:
    """
    What became of one message of the audience.

    :ivar consent: of the recipient's opt-in
    :ivar preview: what the recipient would see, in a dry run of a template that is defined
    """

    index: int
    key: bytes
    recipient: str
    entry: Entry
    consent: ConsentRecord = NO_RECORD
    preview: str = ""


@dataclass(slots=True)
class Reason:
    """
    Messages that were not accepted, all for the same reason.

    :ivar outcome: of all of them
    :ivar code: Meta's, where they have one
    :ivar text: of the first of them, with masked numbers
    :ivar count: how many they are
    :ivar recipients: some of them, masked
    """

    outcome: Outcome
    code: int | None
    text: str
    count: int = 0
    recipients: list[str] = field(default_factory=list)


class Reasons:
    """Counts why messages were not accepted: as many as they are, they have few reasons."""

    def __init__(self) -> None:
        self._by_text: dict[tuple[Outcome, int | None, str | None], Reason] = {}
        self._by_pattern: dict[tuple[Outcome, int | str], Reason] = {}

    def __iter__(self) -> Iterator[Reason]:
        """Yield the reasons, those first that most messages have."""
        return iter(sorted(self._by_pattern.values(), key=lambda reason: -reason.count))

    def add(self, recipient: str, entry: Entry) -> None:
        """Count one more message that was not accepted."""
        text = (entry.outcome, entry.code, entry.reason)
        reason = self._by_text.get(text)
        if reason is None:
            reason = self._reason(entry)
            if len(self._by_text) < _TEXTS:
                self._by_text[text] = reason
        reason.count += 1
        if recipient and len(reason.recipients) < _RECIPIENTS and (masked := mask(recipient)) not in reason.recipients:
            reason.recipients.append(masked)

    def _reason(self, entry: Entry) -> Reason:
        text = mask_all(entry.reason or "no reason given")
        # Texts that differ in a number only, such as a length, say the same; so does whatever has the same code.
        pattern: int | str = _DIGITS.sub("#", text) if entry.code is None else entry.code
        found = self._by_pattern.get((entry.outcome, pattern))
        if found is None and len(self._by_pattern) >= _PATTERNS:
            pattern = text = "other reasons"
            found = self._by_pattern.get((entry.outcome, pattern))
        if found is None:
            found = self._by_pattern[entry.outcome, pattern] = Reason(entry.outcome, entry.code, text)
        return found


@dataclass
class DeliveryResult:
    """
    What became of an audience.

    :ivar counts: the number of messages by outcome, all outcomes named; they add up to the audience
    :ivar kept: all messages in the order of the audience, where there are at most 100
    :ivar previews: what up to five recipients would see, in the order in which they were read
    :ivar reasons: why messages were not accepted, counted
    :ivar error: the last error of a whole request, for its ``retry_after``
    :ivar stopped: why the run stopped before the end of its audience; empty where it did not
    :ivar remedy: what to do about that
    :ivar is_called_off: whether the circuit breaker, or somebody, stopped it, so that a retry would stop at once
    :ivar is_paused: whether it ended as nobody resumed it for long: what is left waits for that
    :ivar seconds: how long it took
    :ivar deferred: how many of the unsent wait for the end of quiet hours, or for another day's budget
    :ivar resume_at: Unix seconds at which the first of them may be messaged
    :ivar waits_for: what they wait for, in words
    :ivar report_uri: where the report is, if there is one
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((o.value for o in Outcome), 0))
    kept: dict[int, MessageOutcome] = field(default_factory=dict)
    previews: list[str] = field(default_factory=list)
    reasons: Reasons = field(default_factory=Reasons)
    error: CirrusError | None = None
    stopped: str = ""
    remedy: str = ""
    is_called_off: bool = False
    is_paused: bool = False
    seconds: float = 0.0
    deferred: int = 0
    resume_at: float | None = None
    waits_for: str = "the end of quiet hours"
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
        if settled.preview and len(self.previews) < PREVIEWS:
            self.previews.append(settled.preview)
        if settled.entry.outcome is not Outcome.ACCEPTED:
            self.reasons.add(settled.recipient, settled.entry)
