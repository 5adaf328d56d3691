from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.delivery.engine.rate_limit import Permit, RateLimit


def departures(limit: RateLimit, size: int, seconds: float, now: float = 0.0) -> list[tuple[float, int]]:
    """Ask as often as the limit says, and leave at once."""
    found, end = [], now + seconds
    while now < end:
        if pause := limit.wait(size, now):
            # As a real clock: never less than a tick.
            now += max(pause, 1e-6)
            continue
        limit.leave(limit.reserve(size, now), size, now)
        found.append((now, size))
    return found


def most_in_a_second(found: Sequence[tuple[float, int]]) -> int:
    return max((sum(count for at, count in found if start <= at < start + 1) for start, _ in found), default=0)


@pytest.mark.parametrize(
    ("rate", "size"), [(80, 20), (80, 7), (5, 5), (3, 1), (1000, 20), (50, 20)], ids=lambda value: str(value)
)
def test_no_second_has_more_than_the_limit_and_little_is_lost(rate: int, size: int) -> None:
    found = departures(RateLimit(rate, 0.0), size, 30)
    assert most_in_a_second(found) <= rate
    # What does not fill a second with whole batches is lost to their size, not to the limit.
    possible = rate // size * size
    assert sum(count for _, count in found) >= 0.97 * possible * 30


@given(
    rate=st.integers(1, 200),
    steps=st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 9), st.integers(1, 20), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 6.0])
        ),
        max_size=150,
    ),
)
def test_whatever_stalls_between_a_permit_and_its_departure_no_second_has_more(
    rate: int, steps: list[tuple[bool, int, int, float]]
) -> None:
    limit, now = RateLimit(rate, 0.0), 0.0
    waiting: list[Permit] = []
    found: list[tuple[float, int]] = []
    for reserves, which, count, pause in steps:
        if reserves and not limit.wait(size := min(count, rate), now):
            waiting.append(limit.reserve(size, now))
        elif not reserves and waiting:
            permit = waiting.pop(which % len(waiting))
            # A part of it may have been held at the last moment, or all of it.
            leaving = max(0, permit.count - which % 3)
            limit.leave(permit, leaving, now)
            found.append((now, leaving))
        now += pause
    assert most_in_a_second(found) <= rate


@pytest.mark.parametrize("shards", [3, 128])
def test_shards_together_stay_within_the_limit(shards: int) -> None:
    seconds = 60
    limit = RateLimit(80 / shards, 0.0)
    found = departures(limit, max(1, int(80 / shards)), seconds)
    in_all = shards * sum(count for _, count in found)
    # Whatever each of them sends in its very first moment comes on top.
    assert 0.9 * 80 * (seconds - 2) <= in_all <= 80 * seconds + shards * found[0][1]


def test_more_shards_than_messages_a_second_take_turns_from_the_first_on() -> None:
    found = [
        departure
        for shard in range(128)
        for departure in departures(RateLimit(80 / 128, 0.0, not_before=shard / 80), 1, 20)
    ]
    # A hundredth of a second for the wait between two looks at a clock.
    assert most_in_a_second(sorted(found)) <= 81


def test_a_fraction_of_a_message_a_second_is_kept() -> None:
    found = departures(RateLimit(0.625, 0.0), 1, 60)
    assert all(later - earlier >= 1.6 - 1e-9 for (earlier, _), (later, _) in pairwise(found))


def test_batches_are_spread_over_the_second() -> None:
    found = departures(RateLimit(80, 0.0), 20, 2)
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(found)) > 0.2


def test_a_permit_that_is_given_back_makes_room() -> None:
    limit = RateLimit(20, 0.0)
    limit.leave(limit.reserve(20, 0.0), 0, 0.0)
    assert limit.wait(20, 1.0) == 0


def test_a_429_halves_the_rate_and_it_grows_again() -> None:
    limit = RateLimit(100, 0.0)
    limit.slow_down(None, 0.0)
    assert limit.rate(0.0) == 50
    assert limit.rate(1 + 5) == pytest.approx(75)
    assert limit.rate(60) == 100


def test_answers_to_what_was_in_flight_halve_it_once() -> None:
    limit = RateLimit(100, 0.0)
    for _ in range(8):
        limit.slow_down(None, 0.0)
    assert limit.rate(0.0) == 50


def test_nothing_leaves_before_the_time_that_the_server_asks_for() -> None:
    limit = RateLimit(100, 0.0)
    limit.slow_down(7, 0.0)
    assert limit.wait(1, 0.0) == 7
    assert limit.wait(1, 6.9) > 0
    assert limit.wait(1, 7.0) == 0


def test_a_share_below_one_message_a_second_is_not_raised_by_a_429() -> None:
    limit = RateLimit(0.625, 0.0)
    limit.slow_down(None, 0.0)
    assert limit.rate(0.0) <= 0.625
