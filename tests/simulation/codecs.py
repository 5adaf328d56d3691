"""The kinds of ledger that worlds are run with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

from airflow_provider_cirrus.api.errors import LATER_CODES, Disposition, disposition
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.audience.shards import in_shard
from airflow_provider_cirrus.delivery.ledger import (
    INTERRUPTED,
    NOBODY,
    Claims,
    Entry,
    LedgerIncomplete,
    LedgerSuperseded,
    LedgerUnavailable,
    TaskTry,
    is_global,
)
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.ledger.task_state import Sizes, TaskStateLedger
from airflow_provider_cirrus.delivery.rules.daily_budget import DAY, DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from tests.simulation.cirrus import BAD_ENDING
from tests.simulation.store import Killed, Shelf, SimulatedStore
from tests.simulation.world import RETRIES, Codec, Process, Rules, Task, World, pool

#: So little that a commit of many messages is written in parts, and gathered with few others.
LITTLE = Sizes(value=900, commit=600, gathered=1_400, writes=4)


class TaskStateCodec(Codec):
    """The ledger in Airflow's task state store."""

    def tasks(self, world: World) -> list[Task]:
        """Return one task: the store is nobody else's."""
        options = {"repeat_unknown": world.choices.below(8) == 7}
        return [Task(Shelf(), options, self.audience(world))]

    def open_store(self, world: World, task: Task) -> SimulatedStore:
        return SimulatedStore(world, task.shelf)

    def open_ledger(self, world: World, process: Process) -> TaskStateLedger:
        return TaskStateLedger(process.store, reads_ahead=False, sizes=LITTLE)

    def empty(self, task: Task) -> None:
        task.shelf.empty()

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        world.heal_at = -1.0
        ledger = TaskStateLedger(SimulatedStore(world, task.shelf), reads_ahead=False, sizes=LITTLE)
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
        claims: Claims | None = None,
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
        entries.update(dict.fromkeys(intents, INTERRUPTED))
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


class ShardsCodec(TaskStateCodec):
    """The shards of one run, each with a task state store of its own; cleared together, there may be more or fewer."""

    is_shared = True

    def __init__(self) -> None:
        self._everybody: list[Message] = []
        self._shards = 0
        self._was_cleared = False

    def tasks(self, world: World) -> list[Task]:
        self._everybody = [self.message(world, at) for at in range(2 + world.choices.below(14))]
        self._shards = 1 + world.choices.below(3)
        return [self._task(number) for number in range(self._shards)]

    def message(self, world: World, at: int) -> Message:
        return pool()[at]

    def _task(self, number: int) -> Task:
        # Nobody clears one of them alone.
        return Task(Shelf(), {}, self._part(number), number=number, clears=2)

    def _part(self, number: int) -> list[tuple[int, Any]]:
        return list(in_shard(enumerate(self._everybody), (number, self._shards)))

    def identity(self, task: Task) -> dict[str, Any]:
        return {"shards": self._shards, "shard": task.number}

    def remap(self, world: World, task: Task) -> bool:
        return True

    def clear_run(self, world: World) -> bool:
        over = ("success", "failed", "refused", "superseded")
        if self._was_cleared or any(task.state not in over for task in world.tasks):
            return True
        if not world.strikes("cleared", 60):
            return True
        self._was_cleared = True
        self._shards = 1 + world.choices.below(4)
        for task in world.tasks[: self._shards]:
            task.max_tries = task.try_number + RETRIES
            if world.strikes("cleared_and_emptied", 20):
                self.empty(task)
                task.was_emptied = True
        world.tasks += [self._task(number) for number in range(len(world.tasks), self._shards)]
        for task in world.tasks[: self._shards]:
            task.run_was_cleared, task.resumed, task.state = True, False, "scheduled"
            task.audience = self._part(task.number)
            world.schedule(task, 1.0)
        return True

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        return []


class _Faulty:
    """A ledger in a database that is away, slow to answer, or kills whoever asks."""

    keeps_persons = True

    def __init__(self, world: World, ledger: SqlLedger) -> None:
        self._world, self._ledger = world, ledger

    def _call(self, work: Callable[[], Any]) -> Any:
        world = self._world
        if world.strikes("store_lost", 3):
            raise LedgerUnavailable("the database is away")
        if world.strikes("kill_before_write", 1):
            raise Killed
        found = work()
        if world.strikes("store_answer_lost", 3):
            raise LedgerUnavailable("the answer to the commit was lost")
        if world.strikes("kill_after_write", 1):
            raise Killed
        return found

    def open(self, task: TaskTry) -> None:
        self._call(lambda: self._ledger.open(task))

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        if self._world.strikes("store_get_fails", 2):
            raise LedgerUnavailable("the database is away")
        return self._ledger.load()

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        return self._ledger.look_up(keys)

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
        claims: Claims | None = None,
    ) -> Mapping[bytes, Entry]:
        found: Mapping[bytes, Entry] = self._call(lambda: self._ledger.commit(intents, outcomes, persons, claims))
        return found

    def tidy(self) -> bool:
        return False

    def people(self) -> Any:
        return DailyBudgetStore.beside(self._ledger)

    def slots(self) -> Any:
        return FrequencyCapStore.beside(self._ledger)


class SqlAloneCodec(TaskStateCodec):
    """One task with a ledger in a database, to be compared with the other kinds."""

    _worlds = count()

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or memory_engine()
        self._name = f"alone{next(self._worlds)}"

    def open_ledger(self, world: World, process: Process) -> Any:
        owner = f"{self._name}-{process.number}"
        return SqlLedger(self._engine, f"{self._name}/run/task", owner, is_global=is_global, clock=lambda: world.wall)

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        ledger = SqlLedger(self._engine, f"{self._name}/run/task", "afterwards", clock=lambda: world.wall)
        ledger.open(TaskTry(task.try_number + 1, task.max_tries, RETRIES))
        return list(ledger.load())


REFUSED_FOR_GOOD = next(at for at, message in enumerate(pool()) if message.to.endswith(BAD_ENDING))


class SqlCodec(Codec):
    """
    The ledger in a database, shared by several tasks: two DAGs with message_keys and a frequency cap, or the mapped
    tasks of one run, whose audiences overlap and change slots.
    """

    is_shared = True
    _worlds = count()

    def __init__(self, engine: Engine | None = None, name: str | None = None) -> None:
        self._engine = engine or memory_engine()
        # The database outlives a world; its names do not.
        self._name = name or f"world{next(self._worlds)}"
        self._is_mapped = False
        self._cap: FrequencyCap | None = None
        self._budget: DailyBudget | None = None

    def tasks(self, world: World) -> list[Task]:
        choices = world.choices
        self._is_mapped = choices.below(2) == 1
        if not self._is_mapped and choices.below(2) == 1:
            self._cap = FrequencyCap(1 + choices.below(2), days=7)
            # So that one has ended, or is about to, when the next begins.
            self.spread = 120.0
            # People are the same in all worlds, and what they got in one does not count in another.
            FrequencyCapStore(self._engine).purge(before=1e12)
        elif choices.below(6) == 5:
            self._budget = DailyBudget(1 + choices.below(3), on_exceeded=choices.of(["defer", "fail"]))
            self.spread = 120.0
            world.struck("daily_budget")
        elif not self._is_mapped and choices.below(4):
            self.retry_rejected_after = choices.of([2.0, 20.0, 90.0])
            self.spread = 120.0
        return [
            Task(None, {"repeat_unknown": choices.below(12) == 11}, self.audience(world), number=number)
            for number in range(2 + choices.below(2))
        ]

    def message(self, world: World, at: int) -> Message:
        # Some who are refused for good, beside those who are for a time.
        message = super().message(world, REFUSED_FOR_GOOD if self.retry_rejected_after and at == 4 else at)
        if self._is_mapped or (self.retry_rejected_after is None and world.choices.below(2)):
            return message
        return message.to_another(message.to, message.template, message_key=f"{self._name}-{at}")

    def audience(self, world: World) -> list[tuple[int, Any]]:
        # Few people, so that the tasks want the same.
        size = 1 + world.choices.below(10)
        people = 12 if self._cap is None and self.retry_rejected_after is None else 5
        return list(enumerate(self.message(world, world.choices.below(people)) for _ in range(size)))

    def name_of(self, task: Task, key: bytes) -> Any:
        return key if self._is_mapped or is_global(key) else (task.number, key)

    def identity(self, task: Task) -> dict[str, Any]:
        return {"mapped": str(task.number)} if self._is_mapped else {}

    def remap(self, world: World, task: Task) -> bool:
        if not self._is_mapped:
            return False
        # A file more that is sorted first: everybody's file is another one.
        audiences = [one.audience for one in world.tasks]
        for one, audience in zip(world.tasks, audiences[1:] + audiences[:1], strict=True):
            if one.process is None or not one.process.is_alive:
                one.audience = audience
        return True

    def open_store(self, world: World, task: Task) -> Any:
        return SimulatedStore(world, Shelf())

    def open_ledger(self, world: World, process: Process) -> Any:
        number = process.task.number
        name, part = (f"{self._name}/run/task", number) if self._is_mapped else (f"{self._name}-{number}/run/task", -1)
        owner = f"{self._name}-{number}-{process.task.try_number}-{process.number}"
        ledger = SqlLedger(self._engine, name, owner, map_index=part, is_global=is_global, clock=lambda: world.wall)
        return _Faulty(world, ledger)

    def rules(self, world: World, ledger: Any) -> Rules:
        if self._budget is not None:
            # Budgets of other worlds have other names.
            return Rules(world, budget=(self._budget, self._name), people=ledger.people())
        if self._cap is None:
            return Rules(world)
        return Rules(world, cap=self._cap, slots=ledger.slots())

    def sent_again(self, world: World, task: Task, key: bytes) -> None:
        at, code, before = world.cirrus.refused.get(key, (0.0, 0, task))
        anew = any(one.generation or one.options["repeat_unknown"] for one in world.tasks)
        if before is task or not is_global(key) or anew or disposition(code) is Disposition.THROTTLE:
            return
        world.check(code in LATER_CODES, "what another task was refused with %d for good was sent again", code)
        passed = world.now - at
        wait = self.retry_rejected_after
        world.check(wait is not None and passed >= wait - 1e-6, "tried again %.1f s after it was refused", passed)
        world.struck("tried_later")

    def judge(self, world: World) -> None:
        if self._budget is not None:
            for at, _ in world.cirrus.reached:
                people = {who for when, who in world.cirrus.reached if at - DAY < when <= at}
                most = self._budget.people or 0
                world.check(len(people) <= most, "%d people were reached in a day", len(people))
        if self._cap is not None:
            # What is sent again on purpose, or as it may not have been sent, is the same message.
            messages: dict[str, set[Any]] = {}
            for (_, key, _, task), (_, who) in zip(world.cirrus.accepted, world.cirrus.reached, strict=True):
                messages.setdefault(who, set()).add(self.name_of(task, key))
            most = max(map(len, messages.values()), default=0)
            world.check(most <= self._cap.max_messages, "somebody got %d different messages under a cap", most)
        if self._cap is not None and not any(task.generation for task in world.tasks):
            most = max(world.cirrus.people.values(), default=0)
            repeats = any(task.options["repeat_unknown"] for task in world.tasks)
            world.check(repeats or most <= self._cap.max_messages, "somebody got %d messages under a cap", most)

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Entry]]:
        return []


@cache
def memory_engine() -> Engine:
    """Return a database in memory, for all worlds of this process."""
    return new_memory_engine()


def new_memory_engine() -> Engine:
    """Return an empty database in memory."""
    return sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
