"""The kinds of ledger that worlds are run with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_cirrus.delivery.ledger import (
    CUT_OFF,
    NOBODY,
    Entry,
    LedgerSuperseded,
    LedgerUnavailable,
    TaskTry,
)
from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger
from tests.simulation.store import Killed, Shelf, SimulatedStore
from tests.simulation.world import RETRIES, Codec, Process, Task, World


class TaskStateCodec(Codec):
    """The ledger in Airflow's task state store."""

    def tasks(self, world: World) -> list[Task]:
        """Return one task: the store is nobody else's."""
        options = {"repeat_unknown": world.choices.below(8) == 7}
        return [Task(Shelf(), options, self.audience(world))]

    def open_store(self, world: World, task: Task) -> SimulatedStore:
        return SimulatedStore(world, task.shelf)

    def open_ledger(self, world: World, process: Process) -> TaskStateLedger:
        return TaskStateLedger(process.store)

    def empty(self, task: Task) -> None:
        task.shelf.kept.clear()

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        world.heal_at = -1.0
        ledger = TaskStateLedger(SimulatedStore(world, task.shelf))
        ledger.open(TaskTry(task.try_number + 1, task.max_tries, RETRIES))
        return list(ledger.load())


class IdealLedger:
    """A ledger that is right by being simple: what the others must agree with."""

    keeps_persons = False

    def __init__(self, world: World, store: SimulatedStore, kept: dict[str, Any]) -> None:
        self._world, self._store, self._kept = world, store, kept

    def open(self, task: TaskTry) -> None:
        if task.resend and task.clear and self._kept.get("clear") != task.clear:
            self._kept.clear()
            self._kept["clear"] = task.clear
        elif "mark" not in self._kept and task.was_cleared:
            from airflow_provider_cirrus.delivery.ledger import LedgerIncomplete

            raise LedgerIncomplete("what was recorded is gone")
        self._kept["mark"] = True

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        yield from list(self._kept.get("entries", {}).items())

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        return {}

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
    ) -> Mapping[bytes, Entry]:
        world = self._world
        if self._store.is_cut_off:
            raise LedgerSuperseded("a newer try has begun")
        if world.strikes("store_lost", 3):
            raise LedgerUnavailable("lost")
        if world.strikes("kill_before_write", 1):
            raise Killed
        entries = self._kept.setdefault("entries", {})
        entries.update(outcomes)
        entries.update(dict.fromkeys(intents, CUT_OFF))
        if world.strikes("store_answer_lost", 3):
            raise LedgerUnavailable("the answer was lost")
        if world.strikes("kill_after_write", 1):
            raise Killed
        return {}

    def tidy(self) -> bool:
        return False


class IdealCodec(TaskStateCodec):
    """The ledger that is right by being simple."""

    def open_ledger(self, world: World, process: Process) -> Any:
        return IdealLedger(world, process.store, process.task.shelf.kept)

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        return list(task.shelf.kept.get("entries", {}).items())
