"""Who may send how much: tasks that come, go, stall and die, on a clock that the test holds."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.delivery.engine.machine import _size_of_requests
from airflow_provider_cirrus.delivery.engine.rate_limit import RateLimit
from airflow_provider_cirrus.delivery.shared_rate.book import FREE, PERIOD, VALID, Lease, Pace, renewed

STEP = 0.005


@dataclass
class Task:
    """
    One task: its own limit, and what it has left to send.

    :ivar begins: when; ``dies``: when nothing of it happens any more; ``stalls``: between which it asks nothing
    :ivar latency: seconds that a question takes to the book, and its answer back
    """

    name: str
    left: int
    begins: float = 0.0
    dies: float = math.inf
    stalls: tuple[float, float] = (math.inf, math.inf)
    latency: float = 0.005
    limit: RateLimit | None = None
    next_ask: float = 0.0
    answers: deque[tuple[float, int, float]] = field(default_factory=deque)
    sent: list[tuple[float, int]] = field(default_factory=list)


class World:
    """All tasks of a stream, and its book."""

    def __init__(self, per_second: int, tasks: list[Task]) -> None:
        self.per_second = per_second
        self.tasks = tasks
        self.rows: dict[str, Lease] = {}
        self.pace = Pace()
        self.questions: deque[tuple[float, Task, float, int]] = deque()
        self.now = 0.0

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP)):
            self.now += STEP
            for task in self.tasks:
                if task.begins <= self.now < task.dies:
                    self._live(task)
            while self.questions and self.questions[0][0] <= self.now:
                self._answer(*self.questions.popleft())

    def _live(self, task: Task) -> None:
        now = self.now
        if task.limit is None:
            task.limit = RateLimit(self.per_second, now)
            task.limit.grant(0, math.inf)
            task.next_ask = now
        if now >= task.next_ask and not task.stalls[0] <= now < task.stalls[1]:
            demand = max(task.left, task.limit.recent(now))
            task.limit.want(demand)
            self.questions.append((now + task.latency, task, now, demand))
            task.next_ask = now + PERIOD + 2 * task.latency
        while task.answers and task.answers[0][0] <= now:
            _, granted, until = task.answers.popleft()
            task.limit.grant(granted, until)
        if not (rate := task.limit.rate(now)):
            return
        size = min(_size_of_requests(20, rate), task.left)
        while size and task.limit.wait(size, now) <= 0:
            task.limit.leave(task.limit.reserve(size, now), size, now)
            task.sent.append((now, size))
            task.left -= size
            size = min(size, task.left)

    def _answer(self, at: float, task: Task, asked: float, demand: int) -> None:
        new = Lease(task.name, self.per_second, demand, 0, at, (), at)
        mine = self.rows.pop(task.name, new)
        if mine.is_dead(at):
            mine = new
        mine = replace(mine, limit=self.per_second, demand=demand)
        made = self.rows[task.name] = renewed(mine, self.rows.values(), self.pace, at)
        task.answers.append((at + task.latency, made.granted, asked + VALID))

    @property
    def sent(self) -> list[tuple[float, int]]:
        return sorted(one for task in self.tasks for one in task.sent)

    def most_in_a_second(self) -> int:
        return most_in_a_second(self.sent)


def most_in_a_second(sent: list[tuple[float, int]]) -> int:
    most = inside = 0
    window: deque[tuple[float, int]] = deque()
    for at, count in sent:
        window.append((at, count))
        inside += count
        while window[0][0] <= at - 1:
            inside -= window.popleft()[1]
        most = max(most, inside)
    return most


def between(sent: list[tuple[float, int]], start: float, end: float) -> int:
    return sum(count for at, count in sent if start < at <= end)


tasks = st.lists(
    st.builds(
        Task,
        st.uuids().map(str),
        st.sampled_from([1, 7, 60, 400, 3_000]),
        st.floats(0, 8),
        st.one_of(st.just(math.inf), st.floats(1, 12)),
        st.one_of(st.just((math.inf, math.inf)), st.tuples(st.floats(1, 6), st.floats(6, 10))),
        st.sampled_from([0.001, 0.02, 0.15, 0.4]),
    ),
    min_size=1,
    max_size=9,
    unique_by=lambda task: task.name,
)


@given(tasks, st.sampled_from([1, 3, 10, 80, 250]))
@settings(max_examples=60, deadline=None)
def test_no_second_holds_more_than_the_rate_whatever_happens(several: list[Task], per_second: int) -> None:
    world = World(per_second, several)
    world.run(14)
    assert world.most_in_a_second() <= per_second


@pytest.mark.parametrize(("count", "per_second"), [(1, 80), (2, 80), (3, 80), (8, 80), (5, 3), (40, 20)])
def test_the_whole_rate_is_used_and_shared_fairly(count: int, per_second: int) -> None:
    world = World(per_second, [Task(f"{n}", 100_000, begins=n / 10) for n in range(count)])
    world.run(60)
    used = between(world.sent, 10, 60) / 50 / per_second
    # Where there are more tasks than messages, whoever gives up its turn is waited for.
    assert used >= (0.95 if count <= per_second else 0.6)
    each = [between(task.sent, 10, 60) for task in world.tasks]
    if count <= per_second:
        assert max(each) - min(each) <= 0.1 * max(each) + 50
    assert min(each) > 0


def test_what_one_cannot_use_is_the_others() -> None:
    slow = Task("slow", 1_000_000)
    world = World(80, [slow, Task("fast", 1_000_000)])
    for _ in range(30):
        slow.left = 5
        world.run(1)
    fast = between(world.tasks[1].sent, 5, 30) / 25
    assert fast >= 0.9 * 75


def test_the_tail_of_the_last_shard_gets_all_of_it() -> None:
    world = World(80, [Task(f"{n}", 800 if n else 2_400) for n in range(4)])
    world.run(80)
    total = 2_400 + 3 * 800
    last = max(at for at, _ in world.sent)
    assert sum(count for _, count in world.sent) == total
    assert total / last >= 0.94 * 80


def test_a_dead_tasks_part_is_free_within_its_time() -> None:
    world = World(80, [Task("dies", 100_000, dies=10), Task("lives", 100_000)])
    world.run(20)
    lives = world.tasks[1].sent
    assert between(lives, 5, 10) <= 5 * 42
    # Its last question was answered by then, and it asks anew every PERIOD.
    assert between(lives, 10 + FREE + PERIOD, 20) >= 0.95 * 80 * (20 - 10 - FREE - PERIOD)


def test_a_stalled_task_sends_nothing_once_its_lease_is_over() -> None:
    world = World(80, [Task("stalls", 100_000, stalls=(5, 12)), Task("goes on", 100_000)])
    world.run(20)
    stalled = world.tasks[0].sent
    assert between(stalled, 5 + VALID, 12) == 0
    assert between(stalled, 15, 20) >= 5 * 35
    assert world.most_in_a_second() <= 80


def test_many_tasks_of_one_message_do_not_wait_for_each_other() -> None:
    world = World(80, [Task(f"{n}", 1, begins=n / 20) for n in range(60)])
    world.run(6)
    waited = [task.sent[0][0] - task.begins for task in world.tasks]
    assert max(waited) < 0.5


def test_a_429_slows_everybody_down_and_passes() -> None:
    world = World(80, [Task("a", 100_000), Task("b", 100_000)])
    world.run(10)
    world.pace = world.pace.slowed(80, 2.0, world.now)
    world.run(30)
    sent = world.sent
    assert between(sent, 10 + 2 * PERIOD, 12) == 0
    assert 0 < between(sent, 12 + PERIOD, 13 + PERIOD) <= 50
    assert between(sent, 35, 40) >= 5 * 80 * 0.95


def test_the_least_that_somebody_was_told_counts() -> None:
    other = Lease("other", 20, 100, 10, 0.0, (), 0.0)
    mine = Lease("mine", 80, 100, 0, 0.0, (), 0.0)
    assert renewed(mine, [other], Pace(), 0.5).granted == 10


def test_a_lease_from_the_future_is_that_of_a_clock_that_was_set_back() -> None:
    other = Lease("other", 80, 100, 80, 1_000.0, (), 0.0)
    mine = Lease("mine", 80, 100, 0, 0.0, (), 0.0)
    assert renewed(mine, [other], Pace(), 0.5).granted == 80


@pytest.mark.parametrize("latency", [0.05, 0.2, 0.45])
def test_who_hears_late_that_their_part_is_smaller_is_waited_for(latency: float) -> None:
    for offset in range(14):
        world = World(
            80, [Task("hears late", 100_000, latency=latency), Task("asks", 100_000, 5 + offset / 20, latency=0.001)]
        )
        world.run(10)
        assert world.most_in_a_second() <= 80


def test_one_alone_is_as_fast_as_it_would_be_by_itself() -> None:
    world = World(80, [Task("alone", 400)])
    world.run(10)
    assert world.tasks[0].left == 0
    assert max(at for at, _ in world.sent) <= 400 / 80 * 1.06
