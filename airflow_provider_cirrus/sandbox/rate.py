"""The throughput limit of an account."""

from __future__ import annotations

import time
from collections import deque


class RateLimit:
    """
    Lets through at most so many messages within any one second.

    :param per_second: the limit, ``None`` for none.
    """

    def __init__(self, per_second: int | None) -> None:
        self._per_second = per_second
        self.reset()

    def reset(self) -> None:
        """Forget what was let through."""
        self._recent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def admit(self, messages: int) -> bool:
        """Say whether ``messages`` more may pass now; all of them or none."""
        if self._per_second is None:
            return True
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] >= 1.0:
            self._sum -= self._recent.popleft()[1]
        if self._sum + messages > self._per_second:
            return False
        self._recent.append((now, messages))
        self._sum += messages
        return True
