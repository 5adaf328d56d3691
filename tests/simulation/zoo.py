"""
Bugs to be found: each breaks one rule of the engine or of a ledger, and most were once in this project or in others.

What a simulator finds is what it is worth: a planted bug that it does not find within a thousand worlds says that the
worlds, or their oracle, do not look there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import inf
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from airflow_provider_cirrus.api import wire
from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine import machine as engine
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.parts import Batch, Item
from airflow_provider_cirrus.delivery.engine.rate_limit import Permit, RateLimit
from airflow_provider_cirrus.delivery.engine.recorder import Recorder
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.ledger import (
    INTERRUPTED,
    NOBODY,
    Claims,
    Entry,
    LedgerSuperseded,
    LedgerUnavailable,
    TaskTry,
    marks,
    person_of,
    sql,
    task_state,
)
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules import daily_budget_store as budget_store
from airflow_provider_cirrus.delivery.rules import frequency_cap_store as cap_store
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.statements import upsert
from tests import places
from tests.simulation.codecs import IdealCodec, IdealLedger, ShardsCodec, SqlCodec, TaskStateCodec
from tests.simulation.store import SimulatedStore
from tests.simulation.world import Codec, Process

Zoo = dict[str, tuple[Callable[[], Codec], Callable[[], Any]]]
ZOO: Zoo = {}
FIRST: dict[str, int] = {}


def planted(make: Callable[[], Codec], first: int = 0) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """
    Put a bug into the zoo: a function that returns a context manager in which it is there.

    :param first: of the thousand worlds in which it is looked for, where those from 0 on happen not to have it
    """

    def put(bug: Callable[[], Any]) -> Callable[[], Any]:
        ZOO[bug.__name__] = (make, bug)
        FIRST[bug.__name__] = first
        return bug

    return put


@planted(SqlCodec)
def a_place_in_the_budget_is_taken_without_counting() -> Any:
    return patch.object(DailyBudget, "limit", lambda self, since, now: 10**6)


@planted(SqlCodec)
def whom_a_budget_was_spent_on_is_not_counted_along() -> Any:
    real = DailyBudgetStore.claim

    def claim(self: DailyBudgetStore, connection: Any, *arguments: Any) -> Any:
        found = real(self, connection, *arguments)
        connection.execute(sa.update(budget_store._budgets).values(people=0))
        return found

    return patch.object(DailyBudgetStore, "claim", claim)


def _whoever_takes_it_last_has_it(store: Any, table: sa.Table) -> Any:
    real = store.__init__

    def init(self: Any, *arguments: Any, **rest: Any) -> None:
        real(self, *arguments, **rest)
        self._take = upsert(table, self._dialect)

    return patch.object(store, "__init__", init)


# It takes a clear with `resend` and a budget that is full: one world in some thousands.
@planted(SqlCodec, first=5500)
def a_later_try_gives_back_what_an_earlier_one_had() -> Any:
    return _whoever_takes_it_last_has_it(DailyBudgetStore, budget_store._places)


# As above, and a cap that is reached.
@planted(SqlCodec, first=4500)
def a_later_try_gives_back_the_slot_of_an_earlier_one() -> Any:
    return _whoever_takes_it_last_has_it(FrequencyCapStore, cap_store._slots)


# ---- the engine's rules


@planted(TaskStateCodec)
def nobody_waits_for_the_canary() -> Any:
    return patch.object(Machine, "_canary_room", lambda self: self._size)


@planted(TaskStateCodec)
def a_restart_forgets_what_was_sent_of_the_canary() -> Any:
    return patch.object(Watch, "interrupted", lambda self, count: None)


@planted(TaskStateCodec)
def a_restart_forgets_what_came_back() -> Any:
    return patch.object(Watch, "remember", lambda self, entries: iter(entries))


@planted(TaskStateCodec)
def an_open_circuit_lets_what_is_intended_leave() -> Any:
    return patch.object(Machine, "_end", lambda self, stopped="", remedy="": setattr(self, "stopped", stopped))


@planted(TaskStateCodec)
def accepted_messages_do_not_end_a_row() -> Any:
    real = Watch._follow

    def follow(self: Watch, entry: Entry) -> None:
        row, reason = self._in_a_row, self._row_reason
        real(self, entry)
        if entry.outcome is Outcome.ACCEPTED:
            self._in_a_row, self._row_reason = row, reason

    return patch.object(Watch, "_follow", follow)


# It takes a task that sends again what may have been sent: one world in some hundreds.
@planted(TaskStateCodec, first=2000)
def unknown_is_overwritten_by_unsent() -> Any:
    return patch.object(Machine, "_forward", lambda self, item, entry: entry)


@planted(TaskStateCodec)
def unknown_is_sent_again() -> Any:
    return patch.object(
        Machine, "_is_to_repeat", lambda self, earlier: earlier.outcome in (Outcome.UNKNOWN, Outcome.UNSENT)
    )


@planted(TaskStateCodec)
def a_lost_answer_means_unsent() -> Any:
    real = wire.outcome_of

    def outcome_of(error: CirrusError) -> Outcome:
        found = real(error)
        return Outcome.UNSENT if found is Outcome.UNKNOWN else found

    return patch.object(wire, "outcome_of", outcome_of)


@planted(TaskStateCodec)
def what_is_not_mentioned_is_rejected() -> Any:
    def unknown(message: Any, reason: str) -> Any:
        return wire.Result(recipient=message.to, outcome=Outcome.UNSENT, reason=reason)

    return patch.object(wire, "_unknown", unknown)


@planted(TaskStateCodec)
def a_permit_counts_from_when_it_was_given() -> Any:
    real = RateLimit.reserve

    def reserve(self: RateLimit, count: int, now: float) -> Permit:
        permit = real(self, count, now)
        permit.at = now
        return permit

    def leave(self: RateLimit, permit: Permit, count: int, now: float) -> None:
        self._in_window += count - permit.count
        permit.count = count

    return patch.multiple(RateLimit, reserve=reserve, leave=leave)


@planted(TaskStateCodec)
def schedules_and_quiet_hours_are_not_looked_at_at_departure() -> Any:
    return patch.object(Machine, "_check_at_departure", lambda self, batch, wall: None)


@planted(TaskStateCodec)
def who_is_awake_when_read_is_awake_for_ever() -> Any:
    real = Machine._held_back

    def held_back(self: Machine, item: Item, wall: float) -> Any:
        if item.awake[1]:
            item.awake = (0.0, inf)
        return real(self, item, wall)

    return patch.object(Machine, "_held_back", held_back)


@planted(TaskStateCodec)
def a_stopped_run_lets_what_was_handed_over_leave() -> Any:
    real = Machine.depart

    def depart(self: Machine, batch: Batch, now: float, wall: float) -> Any:
        was_over, self._is_over = self._is_over, False
        try:
            return real(self, batch, now, wall)
        finally:
            self._is_over = was_over

    # Alone it harms nobody; where the ledger was lost meanwhile, or a newer try began, it does.
    return patch.multiple(Machine, depart=depart, break_off=lambda self, error, now, wall: self._go_on(now, wall))


@planted(TaskStateCodec)
def an_intent_that_failed_is_sent_all_the_same() -> Any:
    def write_failed(self: Machine, error: BaseException, passes: bool, now: float, wall: float) -> None:
        self.committed({}, now, wall)

    return patch.object(Machine, "write_failed", write_failed)


@planted(TaskStateCodec)
def messages_leave_before_their_intent() -> Any:
    real = Machine.next_write

    def next_write(self: Machine, now: float) -> Any:
        commit = real(self, now)
        if commit is not None and commit.batches:
            self._armed.extend(commit.batches)
            commit.batches = []
            self._hand_over(now)
        return commit

    return patch.object(Machine, "next_write", next_write)


@planted(TaskStateCodec)
def answers_are_not_recorded() -> Any:
    return patch.object(Machine, "_record", lambda self, entries: None)


@planted(TaskStateCodec)
def what_was_intended_and_did_not_leave_is_not_taken_back() -> Any:
    def recall(self: Machine, batch: Batch, wall: float) -> None:
        self._effects.tell += [self._settled(item, Outcome.UNSENT, "late", wall) for item in batch.items]
        batch.items = []

    return patch.object(Machine, "_recall", recall)


@planted(TaskStateCodec)
def those_who_wait_to_be_tried_again_are_lost_with_the_run() -> Any:
    real = Machine._account_for_the_rest

    def account(self: Machine, wall: float) -> None:
        self._again.clear()
        real(self, wall)

    return patch.object(Machine, "_account_for_the_rest", account)


@planted(TaskStateCodec)
def those_in_flight_are_lost_when_a_run_is_abandoned() -> Any:
    def abandon(self: Machine, wall: float) -> None:
        self._in_flight.clear()
        self._may_write = False

    real = Process._give_up

    def give_up(self: Process) -> None:
        was = dict.fromkeys(self.told)
        flying = [] if self.machine is None else [i.index for b in self.machine._in_flight.values() for i in b.items]
        real(self)
        self.world.check(set(flying) <= set(self.told) - set(was), "nobody said what became of what was in flight")

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(Machine, "abandon", abandon), patch.object(Process, "_give_up", give_up):
            yield

    return both()


@planted(TaskStateCodec)
def intents_are_made_for_all_that_is_read() -> Any:
    return patch.multiple(Machine, _has_slot=lambda self, now: True, _lead_wait=lambda self, now: 0.0)


@planted(TaskStateCodec)
def a_refused_request_rejects_everybody_in_it() -> Any:
    def halve(self: Machine, batch: Batch) -> None:
        entry = self._entry(Outcome.REJECTED, "Cirrus refused the request (400)", 0.0)
        self._settle_items([(item, entry) for item in batch.items])

    return patch.object(Machine, "_halve", halve)


@planted(TaskStateCodec)
def half_of_a_refused_request_is_forgotten() -> Any:
    def halve(self: Machine, batch: Batch) -> None:
        self._armed.appendleft(Batch(batch.items[: len(batch.items) // 2]))

    return patch.object(Machine, "_halve", halve)


@planted(TaskStateCodec)
def a_refused_request_is_refused_again_for_ever() -> Any:
    def halve(self: Machine, batch: Batch) -> None:
        self._armed.appendleft(Batch(batch.items))

    return patch.object(Machine, "_halve", halve)


@planted(TaskStateCodec)
def one_untranslated_row_stops_everybody() -> Any:
    real = Machine._block

    def block(self: Machine, sent: Any) -> None:
        real(self, sent)
        if sent.blocked:
            self._end()

    return patch.object(Machine, "_block", block)


@planted(TaskStateCodec)
def a_run_gives_up_at_its_first_failure_after_silence() -> Any:
    real = Machine._learn

    def learn(self: Machine, batch: Batch, sent: Any, now: float) -> None:
        if sent.error is None:
            self.last_good = now  # type: ignore[attr-defined]
        elif self._unreached_since is None:
            self._unreached_since = getattr(self, "last_good", 0.0)
        real(self, batch, sent, now)

    return patch.object(Machine, "_learn", learn)


@planted(TaskStateCodec)
def one_failure_ends_a_run() -> Any:
    return patch.object(engine, "_FAILURES", 1)


@planted(TaskStateCodec)
def duplicates_are_sent() -> Any:
    real = TempIndex.check_and_mark

    def check_and_mark(self: TempIndex, keys: Sequence[bytes], claims: Any = None) -> Any:
        return [True if known is False else known for known in real(self, keys, claims)]

    return patch.object(TempIndex, "check_and_mark", check_and_mark)


@planted(TaskStateCodec)
def two_writes_at_once() -> Any:
    real = Machine.next_write

    def next_write(self: Machine, now: float) -> Any:
        found = real(self, now)
        self._is_writing = False
        return found

    return patch.object(Machine, "next_write", next_write)


@planted(TaskStateCodec)
def a_paused_run_goes_on() -> Any:
    real = Process._depart

    def depart(self: Process, batch: Batch) -> None:
        was = self.machine is not None and self.machine._is_paused
        before = len(self.departures)
        real(self, batch)
        self.world.check(not was or len(self.departures) == before, "something left while the run was paused")

    @contextmanager
    def both() -> Iterator[None]:
        can = lambda self: not (self._is_over or self._ledger_failing is not None)  # noqa: E731
        with patch.object(Machine, "_can_send", can), patch.object(Process, "_depart", depart):
            yield

    return both()


# ---- the ledgers' rules


@planted(TaskStateCodec)
def an_orphan_can_write() -> Any:
    return patch.object(SimulatedStore, "_check", lambda self: None)


@planted(TaskStateCodec)
def an_emptied_store_means_that_nobody_was_messaged() -> Any:
    real = marks.next_mark

    def next_mark(task: TaskTry, newest: Any, **more: Any) -> Any:
        if newest is None and not task.resumed:
            return marks.Mark(task.try_number, task.try_number, task.clear, dict(task.audience))
        return real(task, newest, **more)

    return patch.object(task_state, "next_mark", next_mark)


@planted(ShardsCodec)
def another_number_of_shards_is_taken_for_the_same() -> Any:
    real = marks.next_mark

    def next_mark(task: TaskTry, newest: Any, **more: Any) -> Any:
        return real(replace(task, audience={}), newest and replace(newest, audience={}), **more)

    return patch.object(task_state, "next_mark", next_mark)


@planted(ShardsCodec)
def a_shard_that_is_new_in_a_cleared_run_sends() -> Any:
    real = marks.next_mark

    def next_mark(task: TaskTry, newest: Any, **more: Any) -> Any:
        return real(replace(task, run_was_cleared=False), newest, **more)

    return patch.object(task_state, "next_mark", next_mark)


@planted(TaskStateCodec)
def every_try_forgets_what_is_to_be_sent_again() -> Any:
    real = marks.next_mark

    def next_mark(task: TaskTry, newest: Any, **more: Any) -> Any:
        if task.resend and task.was_cleared:
            return marks.Mark(task.try_number, task.try_number, task.clear, dict(task.audience))
        return real(task, newest, **more)

    return patch.object(task_state, "next_mark", next_mark)


@planted(TaskStateCodec)
def a_hole_is_taken_for_the_end() -> Any:
    real = task_state.TaskStateLedger._gather

    def gather(self: Any, log: str) -> bool:
        is_in_it = real(self, log)
        # What was gathered is deleted, and what was written of it is not read: as if it began at nothing.
        self._gathered -= 1
        self._store.delete(f"{self._prefix}c{self._gathered}")
        return is_in_it

    return patch.object(task_state.TaskStateLedger, "_gather", gather)


# It takes a write that was given up, is done in another way, and lands after that: one world in some thousands.
@planted(TaskStateCodec, first=2500)
def what_is_gathered_anew_comes_to_something_else() -> Any:
    real = task_state.TaskStateLedger._gather

    def gather(self: Any, log: str) -> bool:
        try:
            return real(self, log)
        except LedgerUnavailable:
            self._shrinks = 0.4 if self._shrinks > 1 else 2.5
            raise

    return patch.object(task_state.TaskStateLedger, "_gather", gather)


@planted(TaskStateCodec)
def what_is_written_among_others_is_left_out() -> Any:
    real = task_state.TaskStateLedger._gather
    return patch.object(task_state.TaskStateLedger, "_gather", lambda self, log: real(self, "[]"))


class _Rewriting(IdealLedger):
    """Keeps its last segment under one key, and writes it again with each commit; the store may be late."""

    def __init__(self, world: Any, store: SimulatedStore) -> None:
        super().__init__(world, store, {})
        self._all: dict[str, Any] = {}

    def open(self, task: TaskTry) -> None:
        if self._store.get("mark") is None and task.was_cleared and not task.resend:
            raise marks.incomplete("the mark is gone")
        self._store.set("mark", True)

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        self._all = self._store.get("segment") or {}
        for key, (outcome, message_id) in self._all.items():
            yield bytes.fromhex(key), Entry(Outcome(outcome), message_id)

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
        claims: Claims | None = None,
    ) -> Mapping[bytes, Entry]:
        if self._store.is_cut_off:
            raise LedgerSuperseded("a newer try has begun")
        self._all |= {key.hex(): (entry.outcome.value, entry.message_id) for key, entry in outcomes}
        self._all |= {key.hex(): (INTERRUPTED.outcome.value, None) for key in intents}
        self._store.set("segment", self._all)
        return {}


class _RewritingCodec(IdealCodec):
    def open_ledger(self, world: Any, process: Process) -> Any:
        return _Rewriting(world, process.store)

    def remembered(self, world: Any, task: Any) -> Any:
        world.heal_at = -1.0
        return list(_Rewriting(world, SimulatedStore(world, task.shelf)).load())


@planted(_RewritingCodec)
def a_segment_is_rewritten_in_place() -> Any:
    return nullcontext()


@planted(SqlCodec)
def mapped_tasks_have_scopes_of_their_own() -> Any:
    real = sql.SqlLedger.__init__

    def init(self: Any, engine: Any, task: str, owner: str, *, map_index: int = -1, **more: Any) -> None:
        real(self, engine, f"{task}/{map_index}", owner, map_index=map_index, **more)

    return patch.object(sql.SqlLedger, "__init__", init)


@planted(SqlCodec)
def a_superseded_try_can_write_to_the_database() -> Any:
    return patch.object(sql.Fence, "hold", lambda self, connection: None)


@planted(SqlCodec)
def what_others_hold_is_sent_all_the_same() -> Any:
    real = sql.SqlLedger._claim

    def claim(self: Any, connection: Any, intents: Any, persons: Any) -> Any:
        real(self, connection, intents, persons)
        return {}

    return patch.multiple(sql.SqlLedger, _claim=claim, look_up=lambda self, keys: {})


@planted(SqlCodec)
def a_place_is_given_back_to_whoever_asks_for_another() -> Any:
    return patch.object(FrequencyCapStore, "_taken", lambda self, connection, persons, cap, now: {})


@planted(SqlCodec)
def places_are_given_back_with_the_answer_unknown() -> Any:
    real = Recorder.write

    def write(self: Recorder, commit: Any) -> Any:
        found = real(self, commit)
        if (slots := self._policy._counting.slots) is not None:
            gone = [item for item, entry in commit.outcomes if entry.outcome is Outcome.UNKNOWN]
            places.release(slots, [(person_of(item.recipient), item.key) for item in gone])
        return found

    @contextmanager
    def both() -> Iterator[None]:
        # The ledger's own word is asked as well, so both have to be wrong.
        with (
            patch.object(Recorder, "write", write),
            patch.object(cap_store, "may_have_been_sent", lambda key, task: sa.false()),
        ):
            yield

    return both()


@planted(SqlCodec)
def what_is_sent_again_at_once_gives_its_place_back() -> Any:
    real = sql.SqlLedger.commit

    def commit(self: Any, intents: Any, outcomes: Any, persons: Any = NOBODY, claims: Any = None) -> Any:
        found = real(self, intents, outcomes, persons, claims)
        if claims is not None:
            gone = [key for key, entry in outcomes if entry.outcome is Outcome.UNSENT]
            self._transaction(lambda connection: claims.give_back(connection, gone))
        return found

    return patch.object(sql.SqlLedger, "commit", commit)


@planted(SqlCodec)
def what_was_refused_for_a_time_is_tried_at_once() -> Any:
    def may_be_tried_again(self: Any, row: Any) -> bool:
        is_refused = row.state == Outcome.REJECTED and row.code in sql.LATER_CODES
        return self._retry_rejected_after is not None and is_refused and not self._is_own(row)

    return patch.object(sql.SqlLedger, "_may_be_tried_again", may_be_tried_again)


@planted(SqlCodec)
def what_was_refused_for_good_is_tried_again() -> Any:
    return patch.object(sql, "LATER_CODES", (131026, *sql.LATER_CODES))
