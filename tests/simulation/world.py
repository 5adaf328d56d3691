"""
A whole world in one thread and no time: Airflow, its stores, Cirrus and an audience, with everything that goes wrong.

The engine, the reader, the recorder and the ledgers are the real ones. What is modelled, and what is not, is told in
docs/delivery.md. Every choice comes from one :class:`~tests.simulation.choices.Choices`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from typing import Any

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, SendResult
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.parts import Batch, Commit, Item, Options
from airflow_provider_cirrus.delivery.engine.reader import Reader
from airflow_provider_cirrus.delivery.engine.recorder import Recorder
from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
from airflow_provider_cirrus.delivery.engine.verdict import Verdict, verdict
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.ledger import Entry, LedgerError, LedgerSuperseded, TaskTry, key_of
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules.policy import Policy, Timing
from tests.simulation.choices import Choices
from tests.simulation.cirrus import POISON_ENDING, STREAM, UNTRANSLATED, SimulatedCirrus
from tests.simulation.store import Killed

WALL = 1_800_000_000.0
RETRIES = 5
SUPPRESSED_ENDING = "93"
UNTRANSLATED_NUMBERS = ("447700900050", "447700900051")

#: Every fault, by name: a world switches some of them off.
FAULTS = (
    # Between a task and Cirrus.
    "refused_connection",
    "down_for_minutes",
    "lost_request",
    "lost_answer",
    "server_error_before",
    "server_error_after",
    "throttled",
    "throttled_recipient",
    "refused_for_a_time",
    "unauthorized",
    "account_locked",
    "garbage",
    "missing_entry",
    # Between a task and its ledger.
    "store_get_fails",
    "store_lost",
    "store_late",
    "store_twice",
    "store_answer_lost",
    "store_stalls",
    "kill_before_write",
    "kill_after_write",
    # Of processes.
    "kill",
    "orphan",
    "lost_before_execute",
    "stop",
    "stall",
    # Of people and of Airflow.
    "cleared",
    "cleared_and_emptied",
    "cleared_while_running",
    "resend",
    "audience_changes",
    "quiet_hours",
    "slow_audience",
    "pause",
    "canary",
    "circuit_breaker",
)


class Failed(AssertionError):
    """A world in which a promise was broken."""


@cache
def pool() -> tuple[Message, ...]:
    """Messages to draw an audience from; made once, as checking them takes longer than a world."""
    made = [
        Message.build(f"4477009{number:05d}", {"name": "order_update", "language": "en"})
        for number in (*range(40), 91, 92, 93, 191, 193)
    ]
    for number in UNTRANSLATED_NUMBERS:
        made.append(Message.build(number, {"name": "order_update", "language": UNTRANSLATED}))
    # Two messages to one person, and one account in two spellings.
    made.append(Message.build("447700900001", {"name": "reminder", "language": "en"}))
    made.append(Message.build("5215512345678", {"name": "order_update", "language": "en"}))
    made.append(Message.build("525512345678", {"name": "order_update", "language": "en"}))
    return tuple(made)


class Rules(Policy):
    """Rules of a world: some numbers are suppressed, and some spans of time are quiet."""

    def __init__(self, world: World, **more: Any) -> None:
        super().__init__(**more)
        self._world = world
        self.has_quiet_hours = bool(world.quiet)

    def evaluate(self, messages: Sequence[Message]) -> list[ConsentRecord | str]:
        return ["suppressed by a list" if m.to.endswith(SUPPRESSED_ENDING) else NO_RECORD for m in messages]

    def timing(self, message: Message, now: float | None = None) -> Timing:
        assert now is not None
        moment = now if message.schedule is None else float(message.schedule)
        for begin, end in self._world.quiet:
            if begin <= moment < end:
                return Timing(message, Outcome.UNSENT, "quiet_hours: asleep", end)
        return Timing(message, holds_until=min((begin for begin, _ in self._world.quiet if begin > now), default=inf))


@dataclass
class Task:
    """
    One task instance, as Airflow's database has it.

    :ivar generation: how often what was sent before was to be sent again, on purpose
    """

    shelf: Any
    options: dict[str, Any]
    audience: list[tuple[int, Message | RejectedRow]]
    try_number: int = 0
    max_tries: int = RETRIES
    state: str = "scheduled"
    resend: bool = False
    generation: int = 0
    process: Process | None = None
    resumed: bool = False
    #: Keys of messages that may stay unknown, as something struck while they were under way.
    may_be_unknown: set[bytes] = field(default_factory=set)
    clears: int = 0
    number: int = 0
    run_was_cleared: bool = False
    was_emptied: bool = False
    resend_for: int = 0


class Process:
    """A try of a task: a process on some worker."""

    def __init__(self, world: World, task: Task) -> None:
        self.world, self.task = world, task
        self.is_alive = True
        self.store = world.open_store(task)
        self.told: dict[int, MessageOutcome] = {}
        self.departures: list[tuple[float, int]] = []
        self.machine: Machine | None = None
        self._reading = False
        self._tick_at: float | None = None
        self.began = world.now
        self.audience = list(task.audience)
        self._left = list(task.audience)
        self._was_stopped = False
        self._has_read = False
        #: Messages on their way, and those of this try whose outcome is known.
        self.flying = self.settled = 0
        self.was_called_off = False
        #: What struck before this try began.
        self.struck_before = Counter(world.struck_counts)
        world.processes += 1
        self.number = world.processes
        self.name = f"try {task.try_number}" if len(world.tasks) == 1 else f"task {task.number} try {task.try_number}"

    def start(self) -> None:
        """Open the ledger, and begin."""
        world, task = self.world, self.task
        if not self.is_alive:
            return
        world.log("%s begins", self.name)
        cleared = task.max_tries != RETRIES
        audience = world.codec.identity(task)
        this_try = TaskTry(
            task.try_number,
            task.max_tries,
            RETRIES,
            task.resend,
            task.resumed,
            audience,
            task.run_was_cleared,
            retry_rejected_after=world.codec.retry_rejected_after,
        )
        self.index = TempIndex()
        try:
            ledger = self.ledger = world.open_ledger(self)
            ledger.open(this_try)
            if task.resend and cleared and task.resend_for != task.max_tries:
                task.resend_for = task.max_tries
                task.generation += 1
            self.rules = world.codec.rules(world, ledger)
            self.watch = Watch(
                world.breaker, world.canary, this_try.cleared_after, bool(task.options.get("repeat_unknown"))
            )
            left: dict[bytes, Entry] = {}
            self.reader = Reader(self.index, STREAM, _noting(ledger, left), self.rules, self.watch)
            self.reader.load()
            self.oracle = BreakerOracle(world, task, this_try.cleared_after, left)
            self.canary_left = self.oracle.canary_left
        except Killed:
            self.die("killed while opening")
            return
        except LedgerError as error:
            self.index.close()
            self.is_alive = False
            if not error.retryable:
                may_refuse = cleared or task.run_was_cleared or isinstance(error, LedgerSuperseded)
                world.check(may_refuse, "it refused without a clear: %s", error)
                world.refusals += 1
            world.ended(self, "unavailable" if error.retryable else "refused")
            return
        self.recorder = Recorder(ledger, self.rules)
        timing = self.rules.timing if self.rules.has_quiet_hours else None
        options = Options(**{**world.options, **task.options, "attempt": task.try_number, "timing": timing})
        options = replace(options, watch=self.watch)
        self.machine = Machine(options, world.now)
        self.event(self.machine.begin, False, world.now, world.wall)
        self._read()
        self._do()

    def event(self, happened: Callable[..., Any], *arguments: Any) -> Any:
        """Bring the machine an event, and do what comes of it."""
        found = happened(*arguments)
        self._do()
        return found

    def die(self, why: str) -> None:
        """End at this very moment."""
        self.world.log("%s %s", self.name, why)
        self.is_alive = False
        if self.machine is not None:
            self.expose()
            self.index.close()
        self.world.ended(self, "killed")

    def expose(self) -> None:
        """Take note of what is under way: whatever strikes now may leave it unknown."""
        machine = self.machine
        assert machine is not None
        writing = [] if machine._writing is None else [machine._writing]
        batches: list[Batch] = [*machine._armed, *machine._in_flight.values(), *machine._handed.values()]
        keys = {item.key for batch in batches for item in batch.items}
        for commit in writing:
            keys |= {item.key for item in commit.items} | {item.key for item, _ in commit.outcomes}
        keys |= {item.key for item, _ in machine._outcomes}
        self.task.may_be_unknown |= keys
        limit = (2 * machine._options.concurrency + 1) * machine._options.batch
        under_way = sum(len(batch.items) for batch in batches) + sum(len(commit.items) for commit in writing)
        self.world.check(under_way <= limit, "%d messages were under way", under_way)

    def _do(self) -> None:
        world, machine = self.world, self.machine
        assert machine is not None
        effects = machine.effects()
        for one in effects.tell:
            world.check(one.index not in self.told, "message %d was told twice", one.index)
            self.told[one.index] = one
            world.log("%s tells %d %s", self.name, one.index, one.entry.outcome.value)
        if not self.is_alive:
            return
        for batch in effects.send:
            stall = world.choices.seconds(8) if world.strikes("stall", 3) else 0.001
            world.after(stall, lambda batch=batch: self._depart(batch), "a sender starts")
        if effects.write:
            world.after(world.choices.seconds(0.02), self._write, "the writer starts")
        if machine.wants_rows and not self._reading and not self._has_read:
            self._reading = True
            slow = world.choices.seconds(25) if world.strikes("slow_audience", 10) else 0.001
            world.after(slow, self._read, "rows are read")
        wake = machine.wake_at(world.now)
        if wake is not None and (self._tick_at is None or wake < self._tick_at):
            self._tick_at = max(wake, world.now + 0.0005)
            world.after(self._tick_at - world.now, self._tick, "the clock ticks")
        if machine.is_done or (machine.broken is not None and machine.is_idle):
            self._finish()

    def _read(self) -> None:
        self._reading = False
        if not self.is_alive or self._has_read:
            return
        machine = self.machine
        assert machine is not None
        if self._left:
            size = 1 + self.world.choices.below(12)
            chunk, self._left = self._left[:size], self._left[size:]
            try:
                items = self.reader.items(chunk, self.world.wall)
            except LedgerError as error:
                self._break_off(error)
                return
            self.event(machine.rows, items, self.world.now, self.world.wall)
        else:
            self._has_read = True
            self.event(machine.end_of_audience, self.world.now, self.world.wall)

    def _tick(self) -> None:
        self._tick_at = None
        if self.is_alive and self.machine is not None:
            self.event(self.machine.tick, self.world.now, self.world.wall)

    def _write(self) -> None:
        if not self.is_alive or self.machine is None:
            return
        commit = self.machine.next_write(self.world.now)
        if commit is None:
            self._do()
            return
        takes = self.world.choices.seconds(20) if self.world.strikes("store_stalls", 2) else 0.005
        self.world.after(takes, lambda: self._finish_write(commit), "a write ends")

    def _finish_write(self, commit: Commit) -> None:
        if not self.is_alive or self.machine is None:
            return
        world, machine = self.world, self.machine
        try:
            held = self.recorder.write(commit)
        except Killed:
            self.die("killed while writing")
            return
        except LedgerError as error:
            self.expose()
            self.event(machine.write_failed, error, error.retryable, world.now, world.wall)
            return
        if self.task.process is not self:
            # An orphan whom nothing stops yet: what it does, the next try knows as begun.
            self.task.may_be_unknown |= {item.key for item in commit.items}
        for item in commit.items:
            if item.key not in held:
                world.log("%s intends %s", self.name, item.key.hex()[:8])
        self.event(machine.committed, held, world.now, world.wall)
        try:
            if self.is_alive and world.choices.chance(30):
                self.recorder.tidy()
        except Killed:
            self.die("killed while tidying up")
        except LedgerError as error:
            if not error.retryable and self.is_alive:
                self._break_off(error)

    def _break_off(self, error: LedgerError) -> None:
        assert self.machine is not None
        self.expose()
        self.event(self.machine.break_off, error, self.world.now, self.world.wall)

    def _depart(self, batch: Batch) -> None:
        if not self.is_alive or self.machine is None:
            return
        world, machine = self.world, self.machine
        items: list[Item]
        messages = machine.depart(batch, world.now, world.wall)
        items = list(batch.items)
        if messages:
            self.flying += len(messages)
            is_known = self.settled >= self.canary_left
            world.check(
                is_known or self.flying + self.settled <= self.canary_left, "they left before the canary was in"
            )
            self.oracle.check_departure()
            self.departures.append((world.now, len(messages)))
            self._check_departure(messages)

            def answer(sent: SendResult) -> None:
                self._answer(batch, items, sent)

            world.cirrus.request(self.task, messages, answer)
        self._do()

    def _check_departure(self, messages: Sequence[Message]) -> None:
        world = self.world
        for message in messages:
            schedule = message.schedule
            world.check(schedule is None or schedule > world.wall, "it left after its schedule")
            moment = world.wall if schedule is None else float(schedule)
            world.check(not any(a <= moment < b for a, b in world.quiet), "a quiet hour was broken")
            world.check(not message.to.endswith(SUPPRESSED_ENDING), "somebody suppressed was messaged")
        limit = max(world.options["messages_per_second"], len(messages))
        recent = sum(size for at, size in self.departures if at > world.now - 1.0)
        world.check(recent <= limit + 1e-6, "%d messages left within a second", recent)

    def _answer(self, batch: Batch, items: Sequence[Item], sent: SendResult) -> None:
        unknown = {
            item.key for item, result in zip(items, sent.results, strict=True) if result.outcome is Outcome.UNKNOWN
        }
        self.task.may_be_unknown |= unknown
        if self.is_alive and self.machine is not None:
            self.flying -= len(items)
            if not (sent.split and len(items) > 1):
                self.settled += sum(one.outcome is not Outcome.UNSENT for one in sent.results)
                self.oracle.answered(sent)
            self.event(self.machine.answered, batch, sent, self.world.now, self.world.wall)

    def stop(self) -> None:
        """Be told to end, as by SIGTERM; what is in flight gets three seconds."""
        if not self.is_alive or self.machine is None:
            return
        self._was_stopped = True
        self._has_read = True
        self.event(self.machine.stop, self.world.now, self.world.wall)
        self.world.after(3.0, self._give_up, "the last wait is over")

    def _give_up(self) -> None:
        if self.is_alive and self.machine is not None:
            self.expose()
            self.machine.abandon(self.world.wall)
            for one in self.machine.effects().tell:
                self.world.check(one.index not in self.told, "message %d was told twice", one.index)
                self.told[one.index] = one
            self._finish()

    def _finish(self) -> None:
        machine = self.machine
        assert machine is not None
        if not self.is_alive:
            return
        if self._was_stopped and not machine.is_idle and machine._may_write:
            return
        self.is_alive = False
        self.index.close()
        broken = machine.broken
        if broken is not None:
            passes = bool(getattr(broken, "retryable", False))
            self.world.ended(self, "unavailable" if passes else "superseded")
            return
        if not self._was_stopped:
            missing = {index for index, _ in self.audience} - self.told.keys()
            self.world.check(not missing, "nobody said what became of %s", sorted(missing))
        counts = Counter(one.entry.outcome for one in self.told.values())
        self.oracle.check_end(machine.is_called_off and not (self.was_called_off or machine.is_overspent))
        found = verdict(
            counts,
            deferred=machine.deferred,
            was_stopped=self._was_stopped,
            is_called_off=machine.is_called_off,
            repeats_unknown=machine._options.repeat_unknown,
            allowed=len(self.told),
        )
        self.world.ended(self, found)


class BreakerOracle:
    """
    Says when a circuit breaker must have stopped a try, from lists of all that came: slow, and plain to see.

    Over the whole run it knows what earlier tries left; of the latest, and of those in a row, only a first try's.
    """

    def __init__(self, world: World, task: Task, cleared_after: int, known: Mapping[bytes, Entry]) -> None:
        self._world, self._breaker = world, world.breaker
        self._is_exact = not world.canary
        repeats = bool(task.options.get("repeat_unknown"))
        counted = (Outcome.ACCEPTED, Outcome.REJECTED) if repeats else (*_CAME,)
        self._before = [
            entry.outcome
            for entry in known.values()
            if entry.time and entry.attempt > cleared_after and entry.outcome in counted
        ]
        interrupted = sum(not entry.time and entry.outcome is Outcome.UNKNOWN for entry in known.values())
        #: Messages that go before the others.
        self.canary_left = max(0, world.canary - len(self._before) - (0 if cleared_after else interrupted))
        self._came: list[tuple[Outcome, Any]] = []
        self._is_open = False
        self._look()

    def answered(self, sent: SendResult) -> None:
        """Take what came back."""
        self._came += [(one.outcome, one.code or one.reason) for one in sent.results if one.outcome in _CAME]
        self._look()

    def check_departure(self) -> None:
        """Fail the world where something leaves that must not."""
        self._world.check(not self._is_open, "it left after the circuit breaker had opened")

    def check_end(self, is_called_off: bool) -> None:
        """Fail the world where a try stopped by itself that had no reason to."""
        if is_called_off:
            self._world.struck("tripped")
            is_right = self._is_open or bool(self._before) or not self._is_exact
            self._world.check(is_right, "the circuit breaker opened for nothing")

    def _look(self) -> None:
        breaker = self._breaker
        if breaker is None:
            return
        outcomes = [*self._before, *(outcome for outcome, _ in self._came)]
        if len(outcomes) >= breaker.min_outcomes:
            self._is_open |= _is_too_much(outcomes, breaker)
            if not self._before:
                self._is_open |= _is_too_much(outcomes[-breaker.window :], breaker)
        most = breaker.max_in_a_row
        if most is not None:
            told = [(outcome, why) for outcome, why in self._came if outcome is not Outcome.UNKNOWN]
            rows = (told[at : at + most] for at in range(len(told) - most + 1))
            self._is_open |= any(len(set(row)) == 1 and row[0][0] is Outcome.REJECTED for row in rows)


def _noting(ledger: Any, left: dict[bytes, Entry]) -> Any:
    """Return a ledger that writes down what is loaded from it."""
    load = ledger.load

    def noting() -> Iterator[tuple[bytes, Entry]]:
        for key, entry in load():
            left[key] = entry
            yield key, entry

    ledger.load = noting
    return ledger


_CAME = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN)


def _is_too_much(outcomes: Sequence[Outcome], breaker: CircuitBreaker) -> bool:
    for outcome, most in ((Outcome.REJECTED, breaker.max_rejected), (Outcome.UNKNOWN, breaker.max_unknown)):
        count = sum(one is outcome for one in outcomes)
        if most is not None and count and count + 1e-9 >= most * len(outcomes):
            return True
    return False


class World:
    """
    One history.

    :param choices: where every choice comes from
    :param codec: makes stores and ledgers, and tells of what they hold
    :param keep_log: whether to write the history down
    :param without: faults that never strike here
    """

    def __init__(
        self, choices: Choices, codec: Codec, *, keep_log: bool = False, without: Collection[str] = ()
    ) -> None:
        self.choices = choices
        self.codec = codec
        self.now = 0.0
        self.history: list[str] = []
        self._keep_log = keep_log
        self.struck_counts: Counter[str] = Counter()
        self.refusals = self.processes = 0
        self._events: list[tuple[float, int, Callable[[], None], str]] = []
        self._order = 0
        self._budget = choices.below(12)
        self._mischief: dict[Any, bool] = {}
        off = {fault for fault in FAULTS if choices.below(3) == 0}
        self.on = frozenset(FAULTS) - off - frozenset(without)
        self.heal_at = choices.seconds(400)
        self.quiet: list[tuple[float, float]] = []
        if "quiet_hours" in self.on and choices.chance(30):
            begin = WALL + choices.seconds(30)
            self.quiet.append((begin, begin + 1 + choices.seconds(600)))
            self.struck("quiet_hours")
        self.options: dict[str, Any] = {
            "messages_per_second": choices.of([1000, 80, 20, 7, 3, 0.6]),
            "concurrency": 1 + choices.below(4),
            "batch": 1 + choices.below(5),
            "pause": choices.of([1.0, 0.1, 4.0]),
        }
        self.canary = 0
        self.breaker: CircuitBreaker | None = None
        if "canary" in self.on and choices.chance(20):
            self.canary = 1 + choices.below(10)
            self.struck("canary")
        if "circuit_breaker" in self.on and choices.chance(20):
            self.breaker = CircuitBreaker(
                max_rejected=choices.of([0.3, 0.1, None]),
                max_unknown=choices.of([0.3, 0.1, None]),
                max_in_a_row=choices.of([3, 2, None]),
                min_outcomes=choices.of([8, 4, 1]),
                window=choices.of([10, 5, 1000]),
            )
            self.struck("circuit_breaker")
        self.cirrus = SimulatedCirrus(self)
        self.tasks = codec.tasks(self)

    @property
    def wall(self) -> float:
        """Unix seconds."""
        return WALL + self.now

    def log(self, text: str, *arguments: Any) -> None:
        """Write into the history."""
        if self._keep_log:
            self.history.append(f"{self.now:9.4f} {text % arguments}")

    def check(self, holds: bool, text: str, *arguments: Any) -> None:
        """Fail the world where a promise is broken."""
        if not holds:
            raise Failed(text % arguments)

    # ---- faults

    def strikes(self, fault: str, percent: int) -> bool:
        """Return whether a fault strikes now; they heal in the end, and a world has only so many."""
        if fault not in self.on or self._budget <= 0 or self.now > self.heal_at:
            return False
        if not self.choices.chance(percent):
            return False
        self._budget -= 1
        self.struck(fault)
        self.log("! %s", fault)
        return True

    def struck(self, fault: str) -> None:
        """Count a fault."""
        self.struck_counts[fault] += 1

    # ---- time

    def after(self, seconds: float, work: Callable[[], None], what: str) -> None:
        """Do something later."""
        self._order += 1
        heapq.heappush(self._events, (self.now + seconds, self._order, work, what))

    def run(self) -> None:
        """Run until nothing happens any more, and look whether every promise was kept."""
        for task in self.tasks:
            self.schedule(task, self.choices.seconds(self.codec.spread) if len(self.tasks) > 1 else 0.0)
        steps = 0
        while self._events:
            self.now, _, work, _ = heapq.heappop(self._events)
            work()
            self._misfortune()
            steps += 1
            self.check(steps < 60_000 and self.now < 60 * 86_400, "the world does not come to an end")
        for task in self.tasks:
            self._judge(task)
        self.codec.judge(self)

    def _misfortune(self) -> None:
        """Let something happen to a process between two steps."""
        if self._budget <= 0 or self.now > self.heal_at:
            return
        for task in self.tasks:
            process = task.process
            if process is None or not process.is_alive or process.machine is None:
                continue
            if self.strikes("kill", 1):
                process.die("is killed")
            elif self.strikes("orphan", 1):
                self._orphan(process)
            elif self.strikes("stop", 1):
                process.stop()
            elif self.strikes("cleared_while_running", 1):
                self._clear_running(task, process)
            elif self.strikes("pause", 1):
                self._pause(process)

    def _pause(self, process: Process) -> None:
        """Let somebody pause a run for a while, slow it down, or stop it."""
        machine = process.machine
        assert machine is not None
        wanted = self.choices.below(8)
        if wanted == 1:
            process.was_called_off = True
            process.event(machine.call_off, "somebody stopped it", "", self.now, self.wall)
            return
        if wanted == 2:
            process.event(machine.slow_down, self.options["messages_per_second"] / 3, self.now, self.wall)
            return
        process.event(machine.pause)

        def resume() -> None:
            if process.is_alive:
                process.event(machine.resume, self.now, self.wall)

        self.after(self.choices.seconds(20), resume, "it goes on")

    def _orphan(self, process: Process) -> None:
        """Take the process for dead while it lives on: its store is cut off sooner or later, then the next try runs."""
        self.log("%s is an orphan", process.name)
        process.expose()
        process.store.is_cut_off = True
        task = process.task
        task.process = None
        self._next_try(task)

    def _clear_running(self, task: Task, process: Process) -> None:
        task.clears += 1
        task.max_tries = task.try_number + RETRIES
        task.state = "cleared while running"
        process.stop()

    # ---- Airflow

    def schedule(self, task: Task, seconds: float) -> None:
        """Let the next try of a task begin."""

        def begin() -> None:
            if not task.resumed:
                task.try_number += 1
                if self.strikes("lost_before_execute", 5):
                    self.log("try %d is lost before it begins", task.try_number)
                    self._next_try(task)
                    return
                if "audience_changes" in self.on and task.try_number > 1 and self.choices.chance(40):
                    self.struck("audience_changes")
                    self._change(task)
            task.process = Process(self, task)
            task.state = "running"
            task.process.start()

        self.after(seconds, begin, "a try begins")

    def _change(self, task: Task) -> None:
        """Change an audience between two tries: rows are inserted, removed, doubled and put in another order."""
        if self.codec.remap(self, task):
            return
        messages = [message for _, message in task.audience]
        for _ in range(1 + self.choices.below(4)):
            kind = self.choices.below(4)
            at = self.choices.below(len(messages) + 1)
            if kind == 0:
                messages.insert(at, self.codec.message(self, self.choices.below(len(pool()))))
            elif kind == 1 and len(messages) > 1:
                messages.pop(at % len(messages))
            elif kind == 2:
                messages.insert(at, messages[at % len(messages)])
            else:
                messages = messages[at:] + messages[:at]
        task.audience = list(enumerate(messages))

    def _next_try(self, task: Task) -> None:
        task.resumed = False
        if task.try_number <= task.max_tries:
            self.schedule(task, 1.0)
        else:
            task.state = "failed"
            self._after_the_end(task)

    def ended(self, process: Process, how: str) -> None:
        """Take note of how a try ended."""
        task = process.task
        self.log("%s ends: %s", process.name, how)
        if task.process is not process:
            # A newer try has begun meanwhile, and may have sent what this one did not.
            return
        self._check_truth(task, process)
        if task.state == "cleared while running":
            task.process = None
            self._next_try(task)
        elif how in ("killed", "unavailable", Verdict.RETRY):
            if how == Verdict.RETRY:
                self._check_excuse(process)
            self._next_try(task)
        elif how == Verdict.DEFER:
            assert process.machine is not None
            assert process.machine.resume_at is not None
            task.resumed = True
            self.schedule(task, max(0.0, process.machine.resume_at - self.wall) + 0.001)
        else:
            task.state = {Verdict.SUCCESS: "success"}.get(how, "failed" if how == Verdict.FAIL else how)  # type: ignore[call-overload]
            self._after_the_end(task)

    def _after_the_end(self, task: Task) -> None:
        """Let somebody clear a task that has ended, in one of the ways that there are."""
        if self.codec.clear_run(self) or task.clears >= 2 or task.state == "refused":
            return
        emptied = self.strikes("cleared_and_emptied", 30)
        if not emptied and not self.strikes("cleared", 30):
            return
        task.clears += 1
        task.max_tries = task.try_number + RETRIES
        if emptied:
            self.codec.empty(task)
            task.was_emptied = True
        task.resend = self.strikes("resend", 30)
        task.state = "scheduled"
        self.log("cleared%s%s", ", and the store emptied" if emptied else "", ", to send again" if task.resend else "")
        task.resumed = False
        self.schedule(task, 1.0 + self.choices.seconds(100))

    # ---- promises

    def _check_truth(self, task: Task, process: Process) -> None:
        """Compare what a try said with what Cirrus knows."""
        accepted = Counter(key for _, key, _, _ in self.cirrus.accepted)
        ids = {message_id for _, _, message_id, _ in self.cirrus.accepted}
        for one in process.told.values():
            key, entry = one.key, one.entry
            sent = accepted[key]
            if entry.outcome is Outcome.ACCEPTED:
                self.check(entry.message_id in ids, "accepted under an id that Cirrus never gave")
                self.check(sent > 0, "called accepted, and never sent")
            elif entry.outcome is Outcome.REJECTED and key and "(400)" in (entry.reason or ""):
                self.check(one.recipient.endswith(POISON_ENDING), "rejected for what another message had")
            elif entry.outcome in (Outcome.UNSENT, Outcome.SUPPRESSED) and key and not task.generation:
                self.check(sent == 0 or self.codec.is_shared, "called %s, and Cirrus has it", entry.outcome.value)
            elif entry.outcome is Outcome.UNKNOWN and not self.codec.is_shared:
                self.check(key in task.may_be_unknown, "unknown, and nothing had struck it")

    def _check_excuse(self, process: Process) -> None:
        """A try that leaves somebody unsent must have met something that ends a try."""
        struck = self.struck_counts - process.struck_before
        ends = {"stop", "account_locked", "unauthorized", "throttled", "down_for_minutes", "cleared_while_running"}
        lost = ("lost_request", "lost_answer", "server_error_before", "server_error_after", "garbage", "missing_entry")
        machine = process.machine
        assert machine is not None
        # A server that is down since before this try, and one that refuses for longer than a run is patient.
        is_down = self.cirrus.down_until > process.began or struck["refused_connection"] > 1
        # One person gets a message at a time; a throttle of theirs may outlast a run's tries.
        is_throttled = struck["throttled_recipient"] > 1
        is_blocked = struck["untranslated"] > 0
        in_a_row = sum(struck[fault] for fault in lost) >= 3
        excused = any(struck[fault] for fault in ends) or is_down or is_throttled or in_a_row
        left = [one.recipient for one in process.told.values() if one.entry.outcome is Outcome.UNSENT]
        # Whoever was to get a template that was refused for another; nobody else is left for that.
        excused = excused or (is_blocked and all(to in UNTRANSLATED_NUMBERS for to in left))
        excused = (
            excused or machine.is_called_off or machine.deferred > 0 or bool(process.task.options.get("repeat_unknown"))
        )
        self.check(excused, "somebody was left, and nothing had ended the run: %s", dict(struck))

    def _judge(self, task: Task) -> None:
        """Look whether the promises were kept, once everything has ended."""
        process = task.process
        self.check(task.state in ("success", "failed", "refused", "superseded"), "the task is %s", task.state)
        counts = Counter(key for _, key, _, of in self.cirrus.accepted if of is task or self.codec.is_shared)
        sent = Counter(self.codec.name_of(of, key) for _, key, _, of in self.cirrus.accepted)
        generations = sum(one.generation for one in self.tasks)
        if not any(one.options.get("repeat_unknown") for one in self.tasks):
            for times in sent.values():
                self.check(times <= 1 + generations, "a message was sent %d times", times)
        if task.state == "refused":
            self.check(task.was_emptied or task.clears > 0 or task.run_was_cleared, "refused, and nothing was cleared")
            return
        if process is None or process.machine is None or task.state != "success":
            return
        told = Counter(one.entry.outcome for one in process.told.values())
        self.check(sum(told.values()) == len(process.audience), "the counts do not add up")
        self.check(told[Outcome.UNSENT] == 0, "success, and somebody is left")
        repeats = bool(task.options.get("repeat_unknown"))
        mine: dict[bytes, set[Outcome]] = {}
        for one in process.told.values():
            mine.setdefault(one.key, set()).add(one.entry.outcome)
        said = {Outcome.ACCEPTED, Outcome.UNKNOWN}
        for key, outcomes in mine.items():
            if key and counts[key] and not task.generation and not self.codec.is_shared and not repeats:
                self.check(bool(outcomes & said), "Cirrus has it, and it is called %s", sorted(outcomes))
        known = dict(self.codec.remembered(self, task))
        for key in counts:
            if key in mine and not self.codec.is_shared and not task.generation:
                entry = known.get(key)
                self.check(entry is not None, "Cirrus has it, and the ledger does not know it")

    # ---- codecs

    def open_store(self, task: Task) -> Any:
        """Return what a new try sees of its store."""
        return self.codec.open_store(self, task)

    def open_ledger(self, process: Process) -> Any:
        """Return the ledger of a new try."""
        return self.codec.open_ledger(self, process)


class Codec:
    """A kind of ledger, and the tasks that a world with it has."""

    #: Whether other tasks may hold the same messages.
    is_shared = False
    #: Seconds within which its tasks begin.
    spread = 5.0
    #: Seconds after which what another task was refused for a time is tried again; None: never.
    retry_rejected_after: float | None = None

    def tasks(self, world: World) -> list[Task]:
        """Return the tasks of a world."""
        raise NotImplementedError

    def rules(self, world: World, ledger: Any) -> Rules:
        """Return the rules that a try goes by."""
        return Rules(world)

    def name_of(self, task: Task, key: bytes) -> Any:
        """Return what is to be sent once: a key, which means another message in another task unless it is shared."""
        return key

    def sent_again(self, world: World, task: Task, key: bytes) -> None:
        """Look whether a message may arrive that was refused before."""

    def judge(self, world: World) -> None:
        """Look whether the promises were kept that this kind of ledger makes beside the others."""

    def message(self, world: World, at: int) -> Message:
        """Return a message for an audience; some have a schedule."""
        message = pool()[at]
        if world.choices.below(8) == 7:
            return message.at(int(WALL + world.choices.of([1, 3, 30, 90, 700])))
        return message

    def audience(self, world: World) -> list[tuple[int, Message | RejectedRow]]:
        """Return an audience."""
        count = 1 + world.choices.below(world.choices.of([6, 14, 30]))
        rows: list[Message | RejectedRow] = [
            self.message(world, world.choices.below(len(pool()))) for _ in range(count)
        ]
        if world.choices.below(6) == 5:
            rows.append(RejectedRow(len(rows), "", "row: to is empty"))
        return list(enumerate(rows))

    def identity(self, task: Task) -> dict[str, Any]:
        """Return what a task's part of the audience is."""
        return {}

    def clear_run(self, world: World) -> bool:
        """Clear all tasks at once, where that is how this kind is cleared; return whether it is."""
        return False

    def remap(self, world: World, task: Task) -> bool:
        """Change what the mapped tasks of a run are given, where there are any; return whether it was done."""
        return False

    def open_store(self, world: World, task: Task) -> Any:
        """Return what a new try sees of its store."""
        raise NotImplementedError

    def open_ledger(self, world: World, process: Process) -> Any:
        """Return the ledger of a new try."""
        raise NotImplementedError

    def empty(self, task: Task) -> None:
        """Forget what was kept, as a clear on Airflow 3.4 does."""

    def remembered(self, world: World, task: Task) -> Iterable[tuple[bytes, Any]]:
        """Return what a task's ledger holds, after everything."""
        raise NotImplementedError


__all__ = ["FAULTS", "Codec", "Failed", "Process", "Rules", "Task", "World", "key_of", "pool"]
