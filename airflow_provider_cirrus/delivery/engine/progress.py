"""Progress in the task log, at a pace that a person can follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

# Seconds between two lines.
_EVERY = 10.0


class Progress:
    """
    Tells how far a run has come.

    :param total: messages of the audience, where known
    :param clock: seconds that only grow
    """

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._told = clock()
        self._told_done = 0

    def tell(self, counts: Mapping[str, int]) -> None:
        """
        Log a line, if the last one is long enough ago.

        :param counts: messages by outcome so far
        """
        now = self._clock()
        if now - self._told < _EVERY:
            return
        done = sum(counts.values())
        rate = (done - self._told_done) / (now - self._told)
        self._told, self._told_done = now, done
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        if self._total is None:
            log.info("%d messages so far, %.0f a second: %s.", done, rate, outcomes)
        else:
            left = f"{(self._total - done) / rate:.0f} s left" if rate else "waiting"
            log.info("%d of %d messages, %.0f a second, %s: %s.", done, self._total, rate, left, outcomes)
