"""How fast messages leave: never above the account's limit, and slower where the server asks for it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

# Seconds by which the window is wider than one: what leaves evenly arrives unevenly.
_MARGIN = 0.02
# Seconds after which to ask again where only another's departure can tell.
_SOON = 0.05
# Seconds that nobody can wait for: a limit of millions is none.
_NOTHING = 1e-4
# Of the full rate, gained back in each second after a 429 (additive increase).
_RECOVERY = 0.05


@dataclass(slots=True)
class Permit:
    """
    Messages that leave together.

    :ivar count: how many
    :ivar at: when they left; None: they have not yet, so they count as leaving this very moment
    """

    count: int
    at: float | None = None


class RateLimit:
    """
    At most so many messages in any one second.

    Pure: whoever asks says what time it is. A permit counts from when its messages *leave*, however long that took
    after it was given: a stall in between must not end in a burst.

    A 429 halves the rate (multiplicative decrease) and holds everything for as long as the server asks; from
    then on it grows again, by a twentieth of the full rate each second.

    :param per_second: messages; the full rate. It may be a fraction, as a shard's part of it is
    :param now: seconds on any clock that only grows; so is every other ``now``
    :param not_before: when the first may leave; None: now
    """

    def __init__(self, per_second: float, now: float, not_before: float | None = None) -> None:
        self.full = per_second
        self._rate = per_second
        self._changed = now
        self._not_before = now if not_before is None else not_before
        self._permits: deque[Permit] = deque()
        self._in_window = 0
        self._last = now - 1.0 / per_second - 1.0
        self._granted = self._granted_until = math.inf
        #: How often the server has asked for less.
        self.throttled = 0

    def rate(self, now: float) -> float:
        """Return the messages a second that are allowed now; 0: none, as others have all of them."""
        if now >= self._granted_until:
            return 0.0
        return min(self._own(now), self._granted)

    def _own(self, now: float) -> float:
        recovering = max(0.0, now - max(self._changed, self._not_before))
        return min(self.full, self._rate + recovering * self.full * _RECOVERY)

    def wait(self, count: int, now: float) -> float:
        """
        Return the seconds after which so many messages may leave together; 0: now.

        :param count: messages of one request; more than the limit leave alone, and with so much more time after them
        """
        if now < self._not_before:
            return self._not_before - now
        rate = self.rate(now)
        if not rate:
            return math.inf
        permits = self._permits
        if self.recent(now) + count > rate and permits:
            first = permits[0].at
            return _SOON if first is None else max(first + 1 + _MARGIN - now, 1e-4)
        pause = self._last + self._spacing(count, rate) - now
        return pause if pause > _NOTHING else 0.0

    def recent(self, now: float) -> int:
        """Return how many messages left within the last second, or are about to."""
        permits = self._permits
        while permits and permits[0].at is not None and permits[0].at <= now - 1 - _MARGIN:
            self._in_window -= permits.popleft().count
        return self._in_window

    def forecast(self, count: int, ahead: int, now: float) -> float:
        """Return the seconds after which so many messages may leave where ``ahead`` others leave before them."""
        rate = self.rate(now)
        return self.wait(count, now) + self._spacing(ahead, rate) if rate else math.inf

    def reserve(self, count: int, now: float) -> Permit:
        """Give a permit; only where :meth:`wait` has just returned 0."""
        permit = Permit(count)
        self._permits.append(permit)
        self._in_window += count
        self._last = now
        return permit

    def limit_to(self, per_second: float, now: float) -> None:
        """Take another full rate; what a 429 has halved grows towards it as before."""
        was_full = self._own(now) >= self.full
        self._rate = per_second if was_full else min(self._own(now), per_second)
        self._changed, self.full = now, per_second

    def grant(self, per_second: float, until: float) -> None:
        """
        Take a part of a rate that is shared with others.

        :param per_second: messages; 0: none
        :param until: when it is over, on the clock of every ``now``; after that nothing leaves until the next
        """
        self._granted, self._granted_until = per_second, until

    def want(self, per_second: float) -> None:
        """Hold to no more than is wanted of a shared rate, until the next grant."""
        self._granted = min(self._granted, per_second)

    @property
    def not_before(self) -> float:
        """When the next message may leave as far as the server is concerned."""
        return self._not_before

    def leave(self, permit: Permit, count: int, now: float) -> None:
        """
        Take note that the messages of a permit leave now.

        :param count: how many of them; 0 gives the permit back
        """
        self._in_window += count - permit.count
        permit.count, permit.at = count, now
        if count:
            self._last = max(self._last, now)

    def slow_down(self, retry_after: float | None, now: float) -> None:
        """
        Take note of a 429.

        :param retry_after: seconds that the server asked for, if it did
        """
        if now >= self._not_before:
            # The answers to what was in flight with the first 429 say nothing new.
            self._rate = max(min(1.0, self.full), self._own(now) / 2)
            self._changed = now
            self.throttled += 1
        self._not_before = max(self._not_before, now + (1.0 if retry_after is None else retry_after))

    def _spacing(self, count: int, rate: float) -> float:
        # Spread over the second, as a burst at its beginning is the likeliest to be refused; where few fit into one,
        # the window cannot see to the rate by itself.
        return count / rate * (0.9 if 2 * count <= rate else 1.0)


class Frequency:
    """How often something happens, in the last moments."""

    _SECONDS = 0.2

    def __init__(self, now: float) -> None:
        self._rate = 0.0
        self._at = now

    def rate(self, now: float) -> float:
        """Return how often it happens in a second."""
        return self._rate * math.exp((self._at - now) / self._SECONDS)

    def count(self, now: float) -> None:
        """Take note that it happened."""
        self._rate, self._at = self.rate(now) + 1 / self._SECONDS, now
