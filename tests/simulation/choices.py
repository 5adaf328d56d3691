"""
One source of every choice that a world makes: drawn from a seed, written down, replayed, and shrunk.

A choice is a small whole number below a bound, and 0 is always the dullest: no fault, no delay, the first of a list. So
a history is a list of numbers, and a shorter list with smaller numbers is a simpler history. A replay that runs out of
numbers goes on with 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """
    The choices of one world.

    :param seed: to draw from; or
    :param replay: the numbers to use again
    """

    def __init__(self, seed: int | None = None, replay: Sequence[int] | None = None) -> None:
        self.made: list[int] = []
        self._random = random.Random(seed) if replay is None else None
        self._replay = list(replay or ())

    def below(self, bound: int) -> int:
        """Return a number from 0 to below ``bound``."""
        if self._random is not None:
            # Three times as fast as randrange, and there are thousands to a world.
            found = int(self._random.random() * bound)
        else:
            at = len(self.made)
            found = min(self._replay[at], bound - 1) if at < len(self._replay) else 0
        self.made.append(found)
        return found

    def chance(self, percent: int) -> bool:
        """Return True in so many cases of a hundred; 0 in the history means False."""
        return self.below(100) >= 100 - percent

    def of(self, values: Sequence[T]) -> T:
        """Return one of the values."""
        return values[self.below(len(values))]

    def seconds(self, most: float) -> float:
        """Return a span of time up to ``most``."""
        return most * self.below(64) / 64


def shrink(history: Sequence[int], fails: Callable[[Sequence[int]], bool], tries: int = 400) -> list[int]:
    """
    Return a shorter and duller history that still fails.

    :param fails: runs a world on a history
    :param tries: worlds to run at most
    """
    best = list(history)
    left = [tries]

    def attempt(candidate: list[int]) -> bool:
        nonlocal best
        if candidate == best or left[0] <= 0:
            return False
        left[0] -= 1
        if fails(candidate):
            best = candidate
            return True
        return False

    while best and best[-1] == 0:
        best.pop()
    size = max(1, len(best) // 2)
    while size and left[0] > 0:
        start = 0
        while start < len(best) and left[0] > 0:
            cut = best[:start] + best[start + size :]
            dull = best[:start] + [0] * len(best[start : start + size]) + best[start + size :]
            if not attempt(cut) and not attempt(dull):
                start += size
        size //= 2
    for at in range(len(best)):
        if at < len(best) and best[at]:
            attempt([*best[:at], best[at] // 2, *best[at + 1 :]])
    while best and best[-1] == 0:
        best.pop()
    return best
