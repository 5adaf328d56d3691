"""Progress and troubles in the task log, at a pace that a person can follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping

from airflow_provider_cirrus.api.text import in_numbers

log = logging.getLogger(__name__)

# Seconds between two lines: of progress, and of one kind of trouble.
_EVERY = 10.0
_TROUBLE_EVERY = 60.0


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
            log.info("%s so far, %.0f a second: %s.", in_numbers(done, "message"), rate, outcomes)
        else:
            left = f"{(self._total - done) / rate:.0f} s left" if rate else "waiting"
            log.info("%d of %d messages, %.0f a second, %s: %s.", done, self._total, rate, left, outcomes)


class Troubles:
    """Tells what goes wrong again and again: once at first, then once a minute, and at the end how often it was."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        # For each kind: how often it was, how often by the last line, and when that was.
        self._seen: dict[Hashable, tuple[int, int, float]] = {}
        self._last: dict[Hashable, str] = {}

    def say(self, kind: Hashable, text: str, now: float) -> None:
        """
        Take note of something that went wrong.

        :param kind: what is one and the same trouble
        :param text: for the log
        :param now: seconds on a clock that only grows
        """
        times, told, at = self._seen.get(kind, (0, 0, 0.0))
        times += 1
        if told and now - at < _TROUBLE_EVERY:
            self._seen[kind] = times, told, at
            self._last[kind] = text
            return
        more = f" ({times - told} times since it was last said here)" if told else ""
        self._seen[kind] = times, times, now
        self._last.pop(kind, None)
        self._log.warning("%s%s", text, more)

    def sum_up(self) -> None:
        """Say how often it was that was not said each time."""
        for kind, text in self._last.items():
            times, told, _ = self._seen[kind]
            self._log.warning("%s (%s in all; %d not said here)", text, in_numbers(times, "time"), times - told)
        self._last.clear()
