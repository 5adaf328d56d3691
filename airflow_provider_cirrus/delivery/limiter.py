"""How fast messages leave: never above the account's limit, and slower where the server asks for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

# Seconds by which the window is wider than one: what is sent evenly arrives unevenly.
_MARGIN = 0.04
# Seconds after which a wait looks whether it is still wanted.
_LOOK = 0.2
_TICK = 0.0001
# Of the full rate, gained back in each second after a 429 (additive increase).
_RECOVERY = 0.05


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
        self._left: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._lock = Lock()
        # One thread waits for its turn at a time: those behind it would have to wait longer anyway.
        self._turn = Lock()

    @property
    def rate(self) -> float:
        """Messages a second that are allowed now."""
        with self._lock:
            return self._current(self._clock())

    def acquire(self, count: int, is_over: Callable[[], bool]) -> bool:
        """
        Wait until so many messages may leave.

        :param count: messages of one request; a request above the limit leaves alone in its window
        :param is_over: asked now and then; ends the wait
        :return: False where it was ended
        """
        with self._turn:
            while not is_over():
                wait = self._try(count)
                if wait is None:
                    return True
                # Rounding may leave a wait of nothing, and that is not a place.
                time.sleep(min(max(wait, _TICK), _LOOK))
        return False

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

    def _try(self, count: int) -> float | None:
        """Take a place and return None, or return the seconds after which to try again."""
        with self._lock:
            now = self._clock()
            if now < self._not_before:
                return self._not_before - now
            while self._left and self._left[0][0] <= now - 1 - _MARGIN:
                self._in_window -= self._left.popleft()[1]
            rate = self._current(now)
            if self._left and self._in_window + count > rate:
                return self._left[0][0] + 1 + _MARGIN - now
            # Spread over the second, as a burst at its beginning is the likeliest to be refused.
            spacing = count / rate * 0.9
            if self._left and now < self._left[-1][0] + spacing:
                return self._left[-1][0] + spacing - now
            self._left.append((now, count))
            self._in_window += count
            return None

    def _current(self, now: float) -> float:
        recovering = max(0.0, now - max(self._changed, self._not_before))
        return min(self.full, self._rate + recovering * self.full * _RECOVERY)
