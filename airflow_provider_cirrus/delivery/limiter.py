"""How fast messages leave: never above the account's limit, and slower where the server asks for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

# Seconds by which the window is wider than one: what is sent evenly arrives unevenly.
_MARGIN = 0.04
# Seconds after which a wait looks whether it is still wanted.
_LOOK = 0.2
_TICK = 0.0001
# Of the full rate, gained back in each second after a 429 (additive increase).
_RECOVERY = 0.05


@dataclass(slots=True)
class Departure:
    """
    Messages that leave together, and when.

    :ivar at: on the limit's clock
    :ivar count: how many
    """

    at: float
    count: int


class RateLimit:
    """
    At most so many messages in any one second, over all threads.

    A 429 halves the rate (multiplicative decrease) and holds everything for as long as the server asks; from
    then on it grows again, by a twentieth of the full rate each second.

    :param per_second: messages; the full rate
    :param clock: seconds that only grow
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.full = per_second
        self._rate = per_second
        self._clock = clock
        self._changed = clock()
        self._not_before = 0.0
        self._left: deque[Departure] = deque()
        self._in_window = 0
        self._last = 0.0
        self._lock = Lock()
        # One thread waits for its turn at a time: those behind it would have to wait longer anyway.
        self._turn = Lock()

    @property
    def rate(self) -> float:
        """Messages a second that are allowed now."""
        with self._lock:
            return self._current(self._clock())

    def acquire(self, count: int, is_over: Callable[[], bool]) -> Departure | None:
        """
        Wait until so many messages may leave.

        :param count: messages of one request; a request above the limit leaves alone in its window
        :param is_over: asked now and then; ends the wait
        :return: what to hand to :meth:`leaves` when they do; None where it was ended
        """
        with self._turn:
            while not is_over():
                wait = self._try(count)
                if isinstance(wait, Departure):
                    return wait
                # Rounding may leave a wait of nothing, and that is not a place.
                time.sleep(min(max(wait, _TICK), _LOOK))
        return None

    def leaves(self, departure: Departure) -> None:
        """Take note that messages leave now: between their turn and this, their intent was made durable."""
        with self._lock:
            departure.at = self._clock()

    def slow_down(self, retry_after: float | None) -> None:
        """
        Take note of a 429.

        :param retry_after: seconds that the server asked for, if it did
        """
        with self._lock:
            now = self._clock()
            if now >= self._not_before:
                # The answers to what was in flight with the first 429 say nothing new.
                self._rate = max(1.0, self._current(now) / 2)
                self._changed = now
            self._not_before = max(self._not_before, now + (1.0 if retry_after is None else retry_after))

    def _try(self, count: int) -> Departure | float:
        """Take a place, or return the seconds after which to try again."""
        with self._lock:
            now = self._clock()
            if now < self._not_before:
                return self._not_before - now
            while self._left and self._left[0].at <= now - 1 - _MARGIN:
                self._in_window -= self._left.popleft().count
            rate = self._current(now)
            if self._left and self._in_window + count > rate:
                return self._left[0].at + 1 + _MARGIN - now
            # Spread over the second, as a burst at its beginning is the likeliest to be refused.
            spacing = count / rate * 0.9
            if self._left and now < self._last + spacing:
                return self._last + spacing - now
            departure = Departure(now, count)
            self._last = now
            self._left.append(departure)
            self._in_window += count
            return departure

    def _current(self, now: float) -> float:
        recovering = max(0.0, now - max(self._changed, self._not_before))
        return min(self.full, self._rate + recovering * self.full * _RECOVERY)
