"""A model of Airflow's task state store, with all that can happen between a task and it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.delivery.ledger import LedgerSuperseded, LedgerUnavailable

if TYPE_CHECKING:
    from tests.simulation.world import World


class Killed(BaseException):
    """The process was killed in the middle of a call."""


class Shelf:
    """What Airflow's database keeps of one task: it outlives every try."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.written = 0
        self._epoch = 0

    def empty(self) -> None:
        """Forget everything, as a clear on Airflow 3.4 does."""
        self.kept.clear()
        self._epoch += 1

    def late(self, key: str, text: str) -> Callable[[], None]:
        """
        Return a write that lands at some later time, though not in an emptied shelf.

        A clear gives the task instance another id, by which alone a write finds it.
        """
        epoch = self._epoch

        def land() -> None:
            if epoch == self._epoch:
                self.put(key, text)

        return land

    def put(self, key: str, text: str) -> None:
        """Write."""
        self.kept[key] = text
        self.written += len(text)


class SimulatedStore:
    """
    What one try sees of its shelf: ``context["task_state_store"]``.

    :param world: the choices, the clock and the faults
    :param shelf: what is kept
    """

    def __init__(self, world: World, shelf: Shelf) -> None:
        self._world = world
        self._shelf = shelf
        #: Set when a newer try has begun, or the supervisor is gone: nothing can be written from here any more.
        self.is_cut_off = False

    def get(self, key: str) -> Any:
        """Return a value, as a copy."""
        self._check()
        if self._world.strikes("store_get_fails", 2):
            raise LedgerUnavailable("the store did not answer")
        text = self._shelf.kept.get(key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value, which may come late, twice or not at all."""
        self._check()
        assert key.isascii()
        assert len(key) <= 200
        text = json.dumps(value)
        world, shelf = self._world, self._shelf
        if world.strikes("store_lost", 3):
            raise LedgerUnavailable("the write was lost")
        if world.strikes("store_late", 3):
            # Given up on, and held up on its way: it lands after newer ones, or never.
            world.after(world.choices.seconds(90), shelf.late(key, text), "a late write lands")
            raise LedgerUnavailable("the write took too long")
        if world.strikes("kill_before_write", 1):
            raise Killed
        if world.strikes("store_twice", 3):
            world.after(world.choices.seconds(90), shelf.late(key, text), "a repeated write lands")
        shelf.put(key, text)
        if world.strikes("store_answer_lost", 3):
            raise LedgerUnavailable("the answer was lost")
        if world.strikes("kill_after_write", 1):
            raise Killed

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._check()
        if self._world.strikes("store_lost", 3):
            raise LedgerUnavailable("the write was lost")
        if self._world.strikes("kill_before_write", 1):
            raise Killed
        self._shelf.kept.pop(key, None)

    def _check(self) -> None:
        if self.is_cut_off:
            raise LedgerSuperseded("a newer try of this task has begun")
