"""
Who may send how much of a stream's rate in the coming moment: the rules, with neither clock nor database.

Each task holds a *lease*: so many messages a second, for :data:`VALID` seconds from when it asked. It asks anew every
:data:`PERIOD` seconds, one at a time. What it gets is its fair share of the rate (max-min: nobody gets more than they
can use, and what is left is divided among the others), as far as the others hold no more than theirs. What somebody had
within the last second counts as theirs still, so that no second holds more than the rate, however shares have changed
in it; and who asks for less than they have keeps to that from that moment on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

#: Seconds between two questions of a task.
PERIOD = 0.65
#: Seconds from when it asked for which a task may send what it got.
VALID = 1.0
#: Seconds that what somebody had counts as theirs: a second in which it left, and what a wire takes.
WINDOW = 1.02
#: Seconds after its last question at which nothing of a dead task's lease counts any more.
FREE = VALID + WINDOW
#: Seconds that a task keeps its message a second where there are more tasks than messages.
TURN = 5.0
# Of the full rate, gained back in each second after a 429 (additive increase), as each task by itself does.
_RECOVERY = 0.05


@dataclass(frozen=True)
class Lease:
    """
    What one task holds.

    :ivar holder: whose it is
    :ivar limit: messages a second of the stream, as this task was told
    :ivar demand: how many it could send in the coming second
    :ivar granted: how many it may
    :ivar asked_at: when it asked last
    :ivar held: what it had before that was more, each with when that counts no more
    :ivar served_at: since when it has had something; while it has nothing: until when it had
    """

    holder: str
    limit: int
    demand: int
    granted: int
    asked_at: float
    held: tuple[tuple[int, float], ...]
    served_at: float

    def counts(self, now: float) -> int:
        """Return how many of the stream's messages a second are this task's."""
        return max([self.granted, *(granted for granted, until in self.held if now < until)])

    def is_dead(self, now: float) -> bool:
        """Return whether the task has asked no more for so long that nothing of it can be under way."""
        # One from the future is that of a clock that was set back.
        return not -FREE <= now - self.asked_at < FREE


@dataclass(frozen=True)
class Pace:
    """
    What the server said of the stream's rate.

    :ivar rate: messages a second after the last 429; None: there was none that still counts
    :ivar since: when that was
    :ivar not_before: when the next message may leave
    """

    rate: float | None = None
    since: float = 0.0
    not_before: float = 0.0

    def limit(self, full: int, now: float) -> int:
        """Return the messages a second that are allowed now, of so many in full."""
        if now < self.not_before:
            return 0
        return full if self.rate is None else min(full, int(self.rate + self._recovered(full, now)))

    def slowed(self, full: int, retry_after: float, now: float) -> Pace:
        """Return the pace after a 429: half of it, and nothing for so many seconds."""
        if now < self.not_before:
            # The answers to what was in flight with the first 429 say nothing new.
            return replace(self, not_before=max(self.not_before, now + retry_after))
        return Pace(max(1.0, self.limit(full, now) / 2), now, now + retry_after)

    def _recovered(self, full: int, now: float) -> float:
        return max(0.0, now - max(self.since, self.not_before)) * full * _RECOVERY


def renewed(lease: Lease, others: Iterable[Lease], pace: Pace, now: float) -> Lease:
    """
    Return what a task gets that asks for the coming moment.

    :param lease: its own, with its new ``limit`` and ``demand``; ``granted``, ``asked_at`` and the rest are those of
        its last question
    :param others: those of all other tasks of the stream
    :param pace: of the stream
    :param now: seconds on the clock that they all share
    """
    alive = [one for one in others if not one.is_dead(now)]
    # The least that somebody was told: whoever was told more may be wrong.
    limit = pace.limit(min([lease.limit, *(one.limit for one in alive)]), now)
    free = limit - sum(one.counts(now) for one in alive)
    granted = max(0, min(_share(lease, alive, limit, now), free))
    held = tuple(one for one in lease.held if now < one[1] and one[0] > granted)
    if granted < lease.granted:
        # What left until now counts for its second. What leaves until it hears of this is a third of a second's at
        # most, as then its last lease is over: by the time at which others have sent as much, that is long past.
        held = (*held, (lease.granted, now + WINDOW))
    has_changed = bool(granted) != bool(lease.granted)
    served_at = now if has_changed else lease.served_at
    return replace(lease, granted=granted, asked_at=now, held=held, served_at=served_at)


def _share(lease: Lease, others: Sequence[Lease], limit: int, now: float) -> int:
    """Return the fair share of a task, in whole messages a second."""
    wanting = [one for one in (lease, *others) if one.demand > 0]
    if not lease.demand or not wanting:
        return 0
    left, found = limit, 0
    if len(wanting) > limit:
        # Not one for each: they take turns, and whoever has waited longest is next.
        return int(lease in sorted(wanting, key=lambda one: _turn(one, now))[:limit])
    by_demand = sorted(wanting, key=lambda one: (one.demand, one.holder))
    for place, one in enumerate(by_demand):
        # Who wants least is served first; what does not divide evenly goes to those who want most.
        found = min(one.demand, left // (len(by_demand) - place))
        if one.holder == lease.holder:
            return found
        left -= found
    return found


def _turn(lease: Lease, now: float) -> tuple[bool, float, str]:
    has_turn = lease.granted > 0 and now - lease.served_at < TURN
    return not has_turn, now if lease.granted and not has_turn else lease.served_at, lease.holder
