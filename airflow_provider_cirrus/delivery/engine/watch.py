"""What comes back, watched: a run stops by itself where that says that something is wrong with all of it."""

from __future__ import annotations

import heapq
import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator

from airflow_provider_cirrus.api.codes import meaning_of
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker
from airflow_provider_cirrus.delivery.ledger.base import Entry

log = logging.getLogger(__name__)

# Of what earlier tries left, so many are followed at least, in the order in which they came.
_REPLAYED = 1_000
_DIGITS = re.compile(r"\d+")
_GO_ON = (
    "Mend the cause, then clear the task (where Airflow asks, keep its task state): whoever was sent it stays settled, "
    "the rest is sent, and the circuit breaker counts anew from the clear. What Cirrus has rejected stays rejected. "
    "Where so many are to be expected, give delivery a circuit_breaker with another limit, or False."
)


class Outcomes:
    """
    What came back, counted.

    :ivar total: accepted, rejected and unknown
    """

    def __init__(self) -> None:
        self.total = self.rejected = self.unknown = 0

    def add(self, outcome: Outcome, by: int = 1) -> None:
        """Count one, or take it back."""
        self.total += by
        if outcome is Outcome.REJECTED:
            self.rejected += by
        elif outcome is Outcome.UNKNOWN:
            self.unknown += by


class Watch:
    """
    Watches what comes back, for a circuit breaker and for a canary. Used by one thread at a time.

    :param breaker: the limits; None: there are none
    :param canary: messages whose outcomes are looked at before the others leave; 0: none
    :param since: the last try before the task was last cleared: what it and those before it brought is not counted
    :param repeat_unknown: whether what is unknown is sent again, so that an earlier try's counts for nothing
    """

    def __init__(
        self, breaker: CircuitBreaker | None, canary: int = 0, since: int = 0, repeat_unknown: bool = False
    ) -> None:
        self._breaker = breaker
        self._canary = canary
        self._since = since
        self._repeat_unknown = repeat_unknown
        self._run = Outcomes()
        self._latest: deque[Outcome] = deque()
        self._window = Outcomes()
        self._in_a_row = 0
        self._row_reason: object = None
        self._row_entry: Entry | None = None
        self._has_warned = False
        #: Messages that earlier tries were about to send, and never said whether they did.
        self._interrupted = 0

    def remember(self, entries: Iterable[tuple[bytes, Entry]]) -> Iterator[tuple[bytes, Entry]]:
        """Yield what earlier tries left, and count it, as if it came now."""
        latest: list[tuple[float, int, Entry]] = []
        # What was in flight when a row was complete stands after it.
        kept = max(self._breaker.window, _REPLAYED) if self._breaker else 0
        for place, (key, entry) in enumerate(entries):
            if self._counts(entry):
                self._run.add(entry.outcome)
                if kept:
                    (heapq.heappush if len(latest) < kept else heapq.heappushpop)(latest, (entry.time, place, entry))
            yield key, entry
        for *_, entry in sorted(latest, key=lambda one: one[:2]):
            self._follow(entry)

    def interrupted(self, count: int) -> None:
        """Take note of how many messages earlier tries were about to send when they were cut off."""
        # Of which of the tries it was is not kept.
        self._interrupted = 0 if self._since else count

    def _counts(self, entry: Entry) -> bool:
        # An intent alone has no time: that a task was killed says nothing of its messages.
        if not entry.time or entry.attempt <= self._since:
            return False
        if entry.outcome is Outcome.UNKNOWN:
            return not self._repeat_unknown
        return entry.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)

    def add(self, entry: Entry) -> None:
        """Count what came back for a message: accepted, rejected, or that it is unknown."""
        self._run.add(entry.outcome)
        self._follow(entry)

    def _follow(self, entry: Entry) -> None:
        breaker = self._breaker
        if breaker is None:
            return
        outcome = entry.outcome
        self._window.add(outcome)
        self._latest.append(outcome)
        if len(self._latest) > breaker.window:
            self._window.add(self._latest.popleft(), -1)
        if self._is_in_a_row:
            # It stays so: what was in flight by then changes nothing.
            return
        if outcome is Outcome.ACCEPTED:
            self._in_a_row, self._row_reason = 0, None
        elif outcome is Outcome.REJECTED:
            reason = _DIGITS.sub("#", entry.reason or "") if entry.code is None else entry.code
            self._in_a_row = self._in_a_row + 1 if reason == self._row_reason else 1
            self._row_reason, self._row_entry = reason, entry

    @property
    def _is_in_a_row(self) -> bool:
        most = self._breaker.max_in_a_row if self._breaker else None
        return most is not None and self._in_a_row >= most

    def why_not_on(self) -> tuple[str, str] | None:
        """Return why nothing more is to be sent, and the remedy; None: nothing speaks against it."""
        breaker = self._breaker
        if breaker is None:
            return None
        if self._is_in_a_row:
            return f"{in_numbers(self._in_a_row, 'message')} in a row came back rejected: {self._reason()}.", _GO_ON
        if self._run.total < breaker.min_outcomes and not self._ends_canary:
            return None
        for outcomes, of in ((self._run, "all"), (self._window, "the latest")):
            if found := _too_much(breaker, outcomes, of):
                return found, _GO_ON
        self._warn(breaker)
        return None

    @property
    def stops_for_unknown(self) -> bool:
        """Whether it stops only as too much is unknown."""
        rejected = self._breaker.max_rejected if self._breaker else None
        parts = (self._run, self._window)
        return not self._is_in_a_row and not any(_reaches(one.rejected, one.total, rejected) for one in parts)

    @property
    def canary_left(self) -> int:
        """How many messages are still to be looked at before the others leave; 0: none."""
        return max(0, self._canary - self._run.total - self._interrupted)

    @property
    def _ends_canary(self) -> bool:
        return bool(self._canary) and not self.canary_left

    def _reason(self) -> str:
        entry = self._row_entry
        assert entry is not None
        meaning = meaning_of(entry.code)
        text = meaning.says if meaning else entry.reason or "no reason given"
        return text if entry.code is None else f"{text} (code {entry.code})"

    def _warn(self, breaker: CircuitBreaker) -> None:
        for outcomes, of in ((self._run, "all"), (self._window, "the latest")):
            if not self._has_warned and _reaches(outcomes.rejected, outcomes.total, breaker.warn_rejected):
                self._has_warned = True
                stops = (
                    "" if breaker.max_rejected is None else f" At {breaker.max_rejected:.0%} the run stops by itself."
                )
                log.warning("%s.%s", _said(outcomes.rejected, outcomes.total, of, "rejected"), stops)


def _too_much(breaker: CircuitBreaker, outcomes: Outcomes, of: str) -> str:
    for count, most, what in (
        (outcomes.rejected, breaker.max_rejected, "rejected"),
        (outcomes.unknown, breaker.max_unknown, "unknown"),
    ):
        if _reaches(count, outcomes.total, most):
            said = _said(count, outcomes.total, of, what)
            return f"{said}; the circuit breaker stops at {most:.4g} (max_{what})."
    return ""


def _reaches(count: int, total: int, share: float | None) -> bool:
    # A share such as 0.07 is a little more, or less, than what it is written as.
    return share is not None and count > 0 and count >= share * total - 1e-9


def _said(count: int, total: int, of: str, what: str) -> str:
    verb = "is" if count == 1 else "are"
    return f"{count} of {of} {total} messages that Cirrus was sent {verb} {what} ({count / total:.1%})"
