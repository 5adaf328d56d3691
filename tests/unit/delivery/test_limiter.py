from __future__ import annotations

import time
from itertools import pairwise
from threading import Thread

import pytest

from airflow_provider_cirrus.delivery import limiter
from airflow_provider_cirrus.delivery.engine.pair_limit import BURST, SPACING, PairLimit
from airflow_provider_cirrus.delivery.engine.rate_limit import RateLimit


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        # As a real clock: never less than a tick.
        self.now += max(seconds, 1e-6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limiter.time, "sleep", made.sleep)
    return made


def never() -> bool:
    return False


def departures(limit: RateLimit, clock: Clock, size: int, until: float) -> list[tuple[float, int]]:
    found = []
    end = clock.now + until
    while clock.now < end:
        limit.acquire(size, never)
        found.append((clock.now, size))
    return found


@pytest.mark.parametrize(
    ("rate", "size"), [(80, 20), (80, 7), (5, 5), (3, 1), (1000, 20), (50, 20)], ids=lambda value: str(value)
)
def test_no_second_has_more_than_the_limit_and_little_is_lost(clock: Clock, rate: int, size: int) -> None:
    found = departures(RateLimit(rate, clock), clock, size, 30)
    for start, _ in found:
        assert sum(count for at, count in found if start <= at < start + 1) <= rate
    # What does not fill a second with whole batches is lost to their size, not to the limiter.
    possible = rate // size * size
    assert sum(count for _, count in found) >= 0.95 * possible * 30


def test_batches_are_spread_over_the_second(clock: Clock) -> None:
    found = departures(RateLimit(80, clock), clock, 20, 2)
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(found)) > 0.2


def test_a_429_halves_the_rate_and_it_grows_again(clock: Clock) -> None:
    limit = RateLimit(100, clock)
    limit.slow_down(None)
    assert limit.rate == 50
    clock.sleep(1 + 5)
    assert limit.rate == pytest.approx(75)
    clock.sleep(60)
    assert limit.rate == 100


def test_answers_to_what_was_in_flight_halve_it_once(clock: Clock) -> None:
    limit = RateLimit(100, clock)
    for _ in range(8):
        limit.slow_down(None)
    assert limit.rate == 50


def test_nothing_leaves_before_the_time_that_the_server_asks_for(clock: Clock) -> None:
    limit, begun = RateLimit(100, clock), clock.now
    limit.slow_down(7)
    limit.acquire(1, never)
    assert clock.now >= begun + 7


def test_a_wait_ends_when_the_run_does(clock: Clock) -> None:
    limit = RateLimit(1, clock)
    limit.slow_down(3600)
    looks = iter([False, False, True])
    assert not limit.acquire(1, lambda: next(looks))
    assert clock.now < 1000 + 3600


def test_threads_share_the_limit() -> None:
    limit, left = RateLimit(200), []

    def send() -> None:
        for _ in range(3):
            limit.acquire(20, never)
            left.append(time.monotonic())

    threads = [Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left.sort()
    assert max(sum(start <= at < start + 1 for at in left) for start in left) <= 10


def burst(pairs: PairLimit, account: str) -> list[float]:
    return [pairs.wait(account) for _ in range(BURST)]


def test_a_recipient_gets_a_burst_and_then_one_message_in_six_seconds() -> None:
    clock = Clock()
    pairs = PairLimit(clock)
    assert burst(pairs, "447700900123") == [0.0] * BURST
    assert pairs.wait("447700900123") == 0.0
    assert pairs.wait("447700900123") == SPACING
    clock.sleep(SPACING)
    assert pairs.wait("447700900123") == 0.0


def test_another_recipient_is_not_slowed_down() -> None:
    pairs = PairLimit()
    burst(pairs, "447700900123")
    assert pairs.wait("447700900124") == 0.0
