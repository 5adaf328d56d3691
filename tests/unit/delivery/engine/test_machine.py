"""The machine driven by hand, with a clock that stands still until a test moves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.delivery.engine import machine as module
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.parts import Batch, Commit, Item, Options
from airflow_provider_cirrus.delivery.engine.reader import Reader
from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
from airflow_provider_cirrus.delivery.errors import LedgerSuperseded, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules.policy import NO_RULES, Timing

WALL = 1_800_000_000.0
EN = {"name": "order_update", "language": "en"}
Answer = Callable[[Batch, Sequence[Message]], SendResult]


def item(index: int, to: str | None = None, earlier: Entry | None = None, language: str = "en", **rest: Any) -> Item:
    to = to or f"4477009{index:05d}"
    message = Message.build(to, {"name": "order_update", "language": language}, **rest)
    return Item(index, to, message, index.to_bytes(12), to, earlier=earlier)


def people(count: int, start: int = 0, **rest: Any) -> list[Item]:
    return [item(index, **rest) for index in range(start, start + count)]


def all_of(outcome: Outcome, error: errors.CirrusError | None = None, **rest: Any) -> Answer:
    def answer(batch: Batch, messages: Sequence[Message]) -> SendResult:
        return SendResult(tuple(Result(one.to, outcome) for one in messages), error, **rest)

    return answer


accept = all_of(Outcome.ACCEPTED)
refuse_connection = all_of(Outcome.UNSENT, errors.NotConnected("refused"))
fail = all_of(Outcome.UNKNOWN, errors.ServerError("500"))


def bad_for(*wrong: str) -> Answer:
    """400 without a list for a request with one of these in it."""

    def answer(batch: Batch, messages: Sequence[Message]) -> SendResult:
        if not any(one.to in wrong for one in messages):
            return accept(batch, messages)
        several = len(messages) > 1
        outcome = Outcome.UNSENT if several else Outcome.REJECTED
        return all_of(outcome, errors.BadRequest("400"), split=several)(batch, messages)

    return answer


class Hand:
    """Brings the machine events one by one, and keeps what it asks for."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        # What the wall clock was set ahead by.
        self.shift = 0.0
        self.is_all_read = False
        given: dict[str, Any] = {"messages_per_second": 10_000, "pause": 0.01, **options}
        self.machine = Machine(Options(**given), 0.0)
        self.told: list[MessageOutcome] = []
        self.handed: list[Batch] = []
        self.wants_write = False
        self.commits: list[Commit] = []
        self.left: list[tuple[float, list[Message]]] = []
        self.in_flight: list[tuple[float, Batch, Sequence[Message]]] = []

    @property
    def wall(self) -> float:
        return WALL + self.now + self.shift

    def take(self) -> None:
        effects = self.machine.effects()
        self.told += effects.tell
        self.handed += effects.send
        self.wants_write |= effects.write

    def rows(self, items: Sequence[Item], is_all: bool = True) -> None:
        self.machine.rows(items, self.now, self.wall)
        self.is_all_read = is_all
        if is_all:
            self.machine.end_of_audience(self.now, self.wall)
        self.take()

    def begin_write(self) -> Commit:
        assert self.wants_write
        self.wants_write = False
        commit = self.machine.next_write(self.now)
        assert commit is not None
        return commit

    def write(self, held: Mapping[bytes, Entry] | None = None) -> None:
        commit = self.begin_write()
        self.commits.append(commit)
        self.machine.committed(held or {}, self.now, self.wall)
        self.take()

    def fail_write(self, error: Exception, passes: bool = True) -> Commit:
        commit = self.begin_write()
        self.machine.write_failed(error, passes, self.now, self.wall)
        self.take()
        return commit

    def depart(self, place: int = 0) -> list[Message]:
        batch = self.handed.pop(place)
        messages = self.machine.depart(batch, self.now, self.wall)
        self.take()
        if messages:
            self.left.append((self.now, messages))
            self.in_flight.append((self.now, batch, messages))
        return messages

    def answer(self, answer: Answer = accept) -> None:
        _, batch, messages = self.in_flight.pop(0)
        self.machine.answered(batch, answer(batch, messages), self.now, self.wall)
        self.take()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.machine.tick(self.now, self.wall)
        self.take()

    def run(self, answer: Answer = accept, takes: float = 0.1, until: float = 600.0) -> None:
        """Go on by itself: writes and senders are quick, and answers take their time."""
        while not self.machine.is_done and self.now < until:
            if self.wants_write:
                self.write()
            elif self.handed:
                self.depart()
            elif self.in_flight and self.in_flight[0][0] + takes <= self.now:
                self.answer(answer)
            else:
                moments = [at for at in [self.machine.wake_at(self.now)] if at is not None]
                moments += [at + takes for at, _, _ in self.in_flight[:1]]
                if not moments:
                    assert not self.is_all_read, "it waits for nothing, and is not done"
                    return
                self.pass_time(max(min(moments) - self.now, 0.001))

    @property
    def counts(self) -> dict[str, int]:
        assert len({one.index for one in self.told}) == len(self.told), "told twice"
        return dict(Counter(one.entry.outcome.value for one in self.told))

    @property
    def recorded(self) -> dict[bytes, Entry]:
        return {item.key: entry for commit in self.commits for item, entry in commit.outcomes}

    def most_in_a_second(self) -> int:
        return max(sum(len(m) for at, m in self.left if start <= at < start + 1) for start, _ in self.left)


def test_everybody_is_sent_once_and_recorded() -> None:
    hand = Hand()
    hand.rows(people(150))
    hand.run()
    assert hand.counts == {"accepted": 150}
    assert sum(len(messages) for _, messages in hand.left) == 150
    assert len(hand.recorded) == 150
    assert hand.machine.is_done


# ---- what an earlier try left


@pytest.mark.parametrize("how", ["no-connection", "stopped", "armed"])
def test_what_may_have_been_sent_is_never_called_unsent(how: str) -> None:
    hand = Hand(repeat_unknown=True)
    hand.rows(people(1, earlier=Entry(Outcome.UNKNOWN)))
    if how == "no-connection":
        hand.run(refuse_connection)
    else:
        if how == "armed":
            hand.write()
        hand.machine.stop(hand.now, hand.wall)
        hand.take()
        if how == "armed":
            assert hand.depart() == []
            hand.write()
    assert hand.counts == {"unknown": 1}
    assert {entry.outcome for entry in hand.recorded.values()} <= {Outcome.UNKNOWN}


def test_what_may_have_been_sent_is_accepted_by_a_good_answer() -> None:
    hand = Hand(repeat_unknown=True)
    hand.rows(people(1, earlier=Entry(Outcome.UNKNOWN)))
    hand.run()
    assert hand.counts == {"accepted": 1}


def test_without_at_least_once_what_is_unknown_is_left_alone() -> None:
    hand = Hand()
    hand.rows(people(3, earlier=Entry(Outcome.UNKNOWN)))
    assert hand.counts == {"unknown": 3}
    assert hand.machine.is_done


def test_settled_rows_cost_no_permit_and_no_write() -> None:
    hand = Hand(messages_per_second=1)
    hand.rows([*people(500, earlier=Entry(Outcome.ACCEPTED, "m")), *people(1, 500)])
    assert hand.counts == {"accepted": 500}
    hand.run(until=1.0)
    assert hand.counts == {"accepted": 501}
    assert hand.machine.is_done


def test_what_others_claimed_is_told_without_a_permit() -> None:
    hand = Hand(messages_per_second=20)
    hand.rows(people(40))
    hand.write({index.to_bytes(12): Entry(Outcome.DUPLICATE) for index in range(20)})
    assert hand.counts == {"duplicate": 20}
    assert hand.handed == []
    hand.run(until=0.9)
    assert hand.counts == {"duplicate": 20, "accepted": 20}


def test_what_is_known_to_be_claimed_waits_for_nothing() -> None:
    hand = Hand(messages_per_second=1)
    items = people(1000)
    for one in items:
        one.taken = Entry(Outcome.DUPLICATE)
    hand.rows(items)
    assert hand.counts == {"duplicate": 1000}


# ---- the limit


def test_a_write_that_stalls_ends_in_no_burst() -> None:
    hand = Hand(messages_per_second=80)
    hand.rows(people(190), is_all=False)
    hand.run(until=1.0)
    while not hand.wants_write:
        hand.pass_time(0.01)
    commit = hand.begin_write()
    for _ in range(60):
        hand.pass_time(0.1)
        while hand.in_flight:
            hand.answer()
        while hand.handed:
            hand.depart()
    hand.commits.append(commit)
    hand.machine.committed({}, hand.now, hand.wall)
    hand.take()
    hand.machine.end_of_audience(hand.now, hand.wall)
    hand.run()
    assert hand.counts == {"accepted": 190}
    assert hand.most_in_a_second() <= 80


def test_senders_that_stall_end_in_no_burst() -> None:
    hand = Hand(messages_per_second=80)
    hand.rows(people(190))
    hand.run(until=1.0)
    for _ in range(60):
        hand.pass_time(0.1)
        if hand.wants_write:
            hand.write()
    assert hand.handed
    hand.run()
    assert hand.counts == {"accepted": 190}
    assert hand.most_in_a_second() <= 80


def test_a_write_waits_for_more_only_where_thousands_leave_in_a_second() -> None:
    def pause(takes: float, write: float) -> float:
        hand = Hand(messages_per_second=1_000_000, concurrency=8)
        hand.rows(people(12_000))
        hand.run(takes=takes, until=0.5)
        hand.machine.write_took = write
        return hand.machine.worth_waiting(hand.now)

    # 80 requests a second are 1,600 messages, more than WhatsApp takes of a number.
    assert pause(takes=0.1, write=0.012) == 0
    assert pause(takes=0.01, write=0.012) == pytest.approx(0.006)
    assert pause(takes=0.01, write=5) == 0.02


# ---- schedules and quiet hours


def test_a_schedule_is_looked_at_when_the_message_leaves() -> None:
    hand = Hand()
    hand.rows([item(0, schedule=int(WALL) + 5), item(1)])
    hand.write()
    hand.now += 5
    assert [one.to for one in hand.depart()] == [item(1).recipient]
    hand.run()
    assert hand.counts == {"rejected": 1, "accepted": 1}
    assert hand.recorded[(0).to_bytes(12)].outcome is Outcome.REJECTED
    assert hand.recorded[(0).to_bytes(12)].reason == "its schedule is past"


def test_quiet_hours_are_looked_at_when_the_message_leaves() -> None:
    def timing(message: Message, wall: float) -> Timing:
        if wall < WALL + 5:
            return Timing(message)
        return Timing(message, Outcome.UNSENT, "quiet_hours: night", WALL + 3600)

    hand = Hand(timing=timing)
    hand.rows(people(2))
    hand.write()
    hand.now += 5
    assert hand.depart() == []
    hand.run()
    assert hand.counts == {"unsent": 2}
    assert (hand.machine.deferred, hand.machine.resume_at) == (2, WALL + 3600)
    assert {entry.outcome for entry in hand.recorded.values()} == {Outcome.UNSENT}


@pytest.mark.parametrize(
    ("passed", "is_asked"),
    [
        pytest.param(4.0, False, id="while-the-answer-holds"),
        pytest.param(5.0, True, id="afterwards"),
        pytest.param(-1.0, True, id="the-clock-was-set-back"),
    ],
)
def test_quiet_hours_are_asked_again_only_where_the_answer_holds_no_longer(passed: float, is_asked: bool) -> None:
    asked: list[float] = []

    def timing(message: Message, wall: float) -> Timing:
        asked.append(wall)
        return Timing(message, holds_until=WALL + 5)

    hand = Hand(timing=timing)
    hand.rows(people(2))
    hand.write()
    assert asked == [WALL] * 2
    hand.shift = passed
    hand.depart()
    assert bool(asked[2:]) == is_asked
    hand.run()
    assert hand.counts == {"accepted": 2}


def test_a_past_schedule_takes_nothing_from_the_same_message_for_later() -> None:
    past, later = (Message.build("447700900101", EN, schedule=int(WALL) + far) for far in (-60, 3600))
    index = TempIndex()
    items = Reader(index, "s", None, NO_RULES).items([(0, past), (1, later), (2, later)], WALL)
    hand = Hand()
    hand.rows(items)
    hand.run()
    index.close()
    outcomes = {one.index: one.entry.outcome for one in hand.told}
    assert outcomes == {0: Outcome.REJECTED, 1: Outcome.ACCEPTED, 2: Outcome.DUPLICATE}


# ---- failures


def test_patience_counts_from_the_first_failure() -> None:
    hand = Hand(pause=1.0)
    hand.rows(people(20), is_all=False)
    hand.run(until=1.0)
    hand.pass_time(60)
    hand.rows(people(20, 20))
    failing = iter([refuse_connection])
    hand.run(lambda batch, messages: next(failing, accept)(batch, messages))
    assert hand.counts == {"accepted": 40}


def test_a_connection_that_stays_refused_is_given_up_after_ten_seconds() -> None:
    hand = Hand(pause=1.0)
    hand.rows(people(100), is_all=False)
    hand.run(refuse_connection, until=60)
    assert hand.counts == {"unsent": 100}
    assert 10 < hand.left[-1][0] < 20


@pytest.mark.parametrize("takes", [0.1, 5.0, 30.0])
def test_a_server_that_is_down_from_the_start_costs_three_requests(takes: float) -> None:
    hand = Hand(messages_per_second=80)
    hand.rows(people(190))
    hand.run(fail, takes)
    assert len(hand.left) == 3
    assert hand.counts == {"unknown": 60, "unsent": 130}
    assert sum(entry.outcome is Outcome.UNKNOWN for entry in hand.recorded.values()) == 60


def in_flight_together(hand: Hand, step: float = 0.01) -> int:
    """Let everything leave that may, without an answer."""
    for _ in range(20):
        if hand.wants_write:
            hand.write()
        while hand.handed:
            hand.depart()
        hand.pass_time(step)
    return len(hand.in_flight)


def test_the_window_widens_with_good_answers_and_narrows_on_a_failure() -> None:
    hand = Hand(concurrency=4)
    hand.rows(people(2000))
    assert in_flight_together(hand) == 1
    found = []
    for _ in range(6):
        hand.answer()
        found.append(in_flight_together(hand))
    assert found == [2, 3, 4, 4, 4, 4]
    hand.answer(fail)
    assert in_flight_together(hand) == 3, "more left although the window is one"
    while hand.in_flight:
        hand.answer(fail if len(hand.in_flight) == 3 else accept)
    hand.machine.stop(hand.now, hand.wall)


def test_where_hundreds_leave_in_a_second_half_as_many_more_may_be_in_flight() -> None:
    hand = Hand(concurrency=4, messages_per_second=1e9)
    hand.rows(people(9000))
    most = 0
    for _ in range(200):
        most = max(most, in_flight_together(hand, 0.0001))
        hand.answer()
    assert most == 6
    # The server has become slow: what is too much is not made good.
    hand.pass_time(2)
    for _ in range(3):
        hand.answer()
        hand.pass_time(1)
    assert in_flight_together(hand) == 4


def test_a_refused_connection_narrows_the_window() -> None:
    hand = Hand(concurrency=4, pause=0.001)
    hand.rows(people(2000))
    for _ in range(4):
        in_flight_together(hand)
        hand.answer()
    assert in_flight_together(hand) == 4
    while hand.in_flight:
        hand.answer(refuse_connection)
    assert in_flight_together(hand) == 1


def test_a_row_that_is_not_translated_blocks_only_its_pair() -> None:
    hand = Hand()

    def answer(batch: Batch, messages: Sequence[Message]) -> SendResult:
        results = [
            Result(m.to, Outcome.REJECTED if m.template.language == "de" else Outcome.ACCEPTED) for m in messages
        ]
        wrong = frozenset({("order_update", "de")} if any(m.template.language == "de" for m in messages) else ())
        return SendResult(tuple(results), blocked=wrong)

    hand.rows([item(0, language="de"), *people(99, 1), *people(50, 100, language="de")])
    hand.run(answer)
    assert hand.counts == {"rejected": 1, "accepted": 99, "unsent": 50}


@pytest.mark.parametrize("wrong", [[3], [0, 19], [4, 5, 6], list(range(20))], ids=str)
def test_a_400_is_halved_until_the_culprits_stand_alone(wrong: list[int]) -> None:
    hand = Hand()
    hand.rows(people(60))
    hand.run(bad_for(*(item(index).recipient for index in wrong)))
    assert {one.index for one in hand.told if one.entry.outcome is Outcome.REJECTED} == set(wrong)
    assert hand.counts == {"accepted": 60 - len(wrong), "rejected": len(wrong)}
    accepted = [one.to for _, messages in hand.left for one in messages]
    assert len(hand.left) <= 3 + 2 * 5 * len(wrong)
    assert set(accepted) == {item(index).recipient for index in range(60)}


def test_sixty_lone_refusals_in_a_row_end_the_run() -> None:
    hand = Hand()
    hand.rows(people(190))
    hand.run(bad_for(*(item(index).recipient for index in range(190))))
    assert hand.counts == {"rejected": 60, "unsent": 130}
    assert isinstance(hand.machine.error, errors.BadRequest)


def test_a_throttled_run_goes_on_and_a_long_retry_after_ends_it() -> None:
    hand = Hand()
    hand.rows(people(40))
    throttled = iter([all_of(Outcome.UNSENT, errors.Throttled("429", retry_after=7))])
    hand.run(lambda batch, messages: next(throttled, accept)(batch, messages))
    assert hand.counts == {"accepted": 40}
    assert hand.left[1][0] >= 7
    much_later = Hand()
    much_later.rows(people(40))
    much_later.run(all_of(Outcome.UNSENT, errors.Throttled("429", retry_after=600)))
    assert much_later.counts == {"unsent": 40}
    assert len(much_later.left) == 1


# ---- the ledger


AWAY = LedgerUnavailable("away")


def failing_hand() -> Hand:
    """Two answers came, one request is in flight, and the ledger goes away."""
    hand = Hand(concurrency=3)
    hand.rows(people(190))
    for _ in range(2):
        in_flight_together(hand)
        hand.answer()
    in_flight_together(hand)
    hand.answer()
    assert hand.in_flight
    return hand


def test_while_a_write_fails_nothing_leaves_and_answers_are_kept() -> None:
    hand = failing_hand()
    departures = len(hand.left)
    failed = hand.fail_write(AWAY)
    while hand.in_flight:
        hand.answer()
    while hand.now < 10:
        hand.pass_time(0.1)
        while hand.handed:
            hand.depart()
            hand.handed.clear()
        if hand.wants_write:
            assert hand.fail_write(AWAY) is failed, "something else was written before it"
    assert len(hand.left) == departures
    hand.run()
    assert hand.counts == {"accepted": 190}
    assert len(hand.recorded) == 190
    assert hand.machine.broken is None


def test_a_ledger_that_stays_away_ends_the_run_after_thirty_seconds() -> None:
    hand = failing_hand()
    began, departures = hand.now, len(hand.left)
    hand.fail_write(AWAY)
    while hand.in_flight:
        hand.answer()
    while hand.machine.broken is None and hand.now < 100:
        hand.pass_time(0.1)
        if hand.wants_write:
            hand.fail_write(AWAY)
    assert hand.machine.broken is AWAY
    assert 30 < hand.now - began < 33
    assert len(hand.left) == departures
    while hand.handed:
        assert hand.depart() == []
    hand.machine.abandon(hand.wall)
    hand.take()
    assert sum(hand.counts.values()) == 190
    assert hand.counts["accepted"] == 20 * departures


def test_superseded_ends_the_run_at_once() -> None:
    hand = failing_hand()
    departures = len(hand.left)
    hand.fail_write(LedgerSuperseded("newer"), passes=False)
    assert isinstance(hand.machine.broken, LedgerSuperseded)
    while hand.handed:
        assert hand.depart() == []
    assert hand.machine.next_write(hand.now) is None
    hand.machine.abandon(hand.wall)
    hand.take()
    assert len(hand.left) == departures
    assert sum(hand.counts.values()) == 190
    assert hand.machine.is_done


def test_a_batch_that_was_handed_over_does_not_leave_once_a_write_failed() -> None:
    hand = Hand(concurrency=3)
    hand.rows(people(100))
    in_flight_together(hand)
    hand.answer()
    for _ in range(20):
        if hand.wants_write:
            hand.write()
        hand.pass_time(0.01)
    hand.depart()
    hand.answer()
    assert hand.handed
    hand.fail_write(AWAY)
    assert hand.depart() == []
    hand.run()
    assert hand.counts == {"accepted": 100}, "its turn was lost"


# ---- many messages to one number


def test_messages_to_one_number_are_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PAUSED", 30)
    hand = Hand()
    to = "447700900123"
    read = 0
    while read < 400 and hand.now < 60:
        if hand.machine.wants_rows:
            hand.rows([item(read + n, to, message_key=str(read + n)) for n in range(100)], is_all=False)
            read += 100
        hand.run(until=hand.now + 0.5)
    assert read == 400, "it was not read on"
    waiting = 400 - len(hand.told)
    assert waiting <= 30 + 200 + 20
    hand.machine.end_of_audience(hand.now, hand.wall)
    hand.take()
    hand.run()
    assert sum(hand.counts.values()) == 400
    assert hand.counts["unsent"] >= 400 - 45 - 60 - 30
    assert any("more messages to this number" in (one.entry.reason or "") for one in hand.told)


# ---- stop, pause, abandon


def test_a_stop_records_what_is_armed_as_unsent() -> None:
    hand = Hand(messages_per_second=20)
    hand.rows(people(60))
    hand.write()
    hand.depart()
    while len([key for commit in hand.commits for key in commit.items]) < 40:
        hand.pass_time(0.05)
        if hand.wants_write:
            hand.write()
    assert not hand.handed or hand.machine.undecided
    hand.machine.stop(hand.now, hand.wall)
    hand.take()
    while hand.handed:
        assert hand.depart() == []
    hand.answer()
    hand.write()
    assert hand.counts == {"accepted": 20, "unsent": 40}
    assert Counter(entry.outcome for entry in hand.recorded.values()) == {Outcome.ACCEPTED: 20, Outcome.UNSENT: 20}
    assert hand.machine.is_done


def test_what_is_abandoned_is_unknown_and_its_answer_comes_too_late() -> None:
    hand = Hand()
    hand.rows(people(60))
    in_flight_together(hand)
    hand.machine.stop(hand.now, hand.wall)
    hand.machine.abandon(hand.wall)
    hand.take()
    in_flight = sum(len(messages) for _, _, messages in hand.in_flight)
    assert in_flight >= 20
    assert hand.counts == {"unknown": in_flight, **({"unsent": 60 - in_flight} if in_flight < 60 else {})}
    while hand.in_flight:
        hand.answer()
    assert sum(hand.counts.values()) == 60
    assert hand.machine.next_write(hand.now) is None


def test_a_pause_lets_nothing_leave_and_loses_nothing() -> None:
    hand = Hand()
    hand.rows(people(100))
    hand.write()
    hand.machine.pause()
    assert hand.depart() == []
    for _ in range(50):
        hand.pass_time(0.1)
    assert hand.left == []
    assert not hand.handed
    hand.machine.resume(hand.now, hand.wall)
    hand.take()
    hand.run()
    assert hand.counts == {"accepted": 100}


def test_a_dry_run_sends_and_writes_nothing() -> None:
    hand = Hand(dry_run=True)
    hand.rows(people(100))
    assert hand.counts == {"unsent": 100}
    assert not hand.wants_write
    assert hand.machine.is_done
