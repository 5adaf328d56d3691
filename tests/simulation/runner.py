"""Running worlds: many, one, and the shortest that fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tests.simulation.choices import Choices, shrink
from tests.simulation.world import Codec, World


@dataclass
class Report:
    """What many worlds came to."""

    worlds: int
    struck: Counter[str]
    refusals: int
    accepted: int
    seconds: float


class Found(AssertionError):
    """A world broke a promise; says which, its seed, and its shortest history."""

    def __init__(
        self, seed: int, error: BaseException, history: Sequence[int], log: Sequence[str], worlds: int
    ) -> None:
        story = "\n".join(log[-120:])
        super().__init__(f"world {seed} failed: {type(error).__name__}: {error}\n{story}\nreplay({list(history)!r})")
        self.seed, self.error, self.history, self.worlds = seed, error, list(history), worlds


def run(make: Callable[[], Codec], choices: Choices, *, keep_log: bool = False, without: Collection[str] = ()) -> World:
    """Run one world; an error in it is raised with the world as ``world``."""
    world = World(choices, make(), keep_log=keep_log, without=without)
    try:
        world.run()
    except Exception as error:
        error.world = world  # type: ignore[attr-defined]
        raise
    return world


def failure(make: Callable[[], Codec], history: Sequence[int]) -> tuple[BaseException, World] | None:
    """Return how a history fails, or None."""
    try:
        run(make, Choices(replay=history), keep_log=True)
    except Exception as error:  # noqa: BLE001  (any error of a world is its finding)
        return error, error.world  # type: ignore[attr-defined]
    return None


def explore(make: Callable[[], Codec], seeds: Sequence[int], *, shrinking: int = 400, seconds: float = 1e9) -> Report:
    """
    Run a world for each seed.

    :param shrinking: worlds to shorten a failing history with
    :param seconds: after which to stop, whatever is left
    :raises Found: a promise was broken
    """
    struck: Counter[str] = Counter()
    refusals = accepted = worlds = 0
    begun = time.monotonic()
    for number, seed in enumerate(seeds):
        if time.monotonic() - begun > seconds:
            break
        choices = Choices(seed)
        try:
            world = run(make, choices)
        except Exception as error:
            kind = _kind(error)

            def fails(history: Sequence[int], kind: str = kind) -> bool:
                found = failure(make, history)
                return found is not None and _kind(found[0]) == kind

            history = shrink(choices.made, fails, shrinking) if shrinking else choices.made
            found = failure(make, history)
            log = found[1].history if found else []
            raise Found(seed, found[0] if found else error, history, log, number + 1) from error
        struck += world.struck_counts
        refusals += world.refusals
        accepted += len(world.cirrus.accepted)
        worlds += 1
    return Report(worlds, struck, refusals, accepted, time.monotonic() - begun)


def _kind(error: BaseException) -> str:
    """Return what two failures share that are the same: shrinking must not slip from one to another."""
    return type(error).__name__ + "".join(c for c in str(error)[:40] if not c.isdigit())
