"""When what comes back speaks against going on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry

CAME = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN)


def entry(outcome: Outcome, code: int | None = None, attempt: int = 1, time: float = 1.0, reason: str = "no") -> Entry:
    return Entry(outcome, code=code, reason=reason, attempt=attempt, time=time)


ok, unknown = entry(Outcome.ACCEPTED), entry(Outcome.UNKNOWN)


def no(code: int = 131026) -> Entry:
    return entry(Outcome.REJECTED, code)


def stops_after(watch: Watch, came: Sequence[Entry]) -> int | None:
    """Return after how many of them it stops."""
    for place, one in enumerate(came, 1):
        watch.add(one)
        if watch.why_not_on():
            return place
    return None


def test_a_tenth_rejected_stops_from_two_hundred_answers_on() -> None:
    # One in ten, spread evenly.
    came = [no(place) if place % 10 == 0 else ok for place in range(1, 1000)]
    watch = Watch(CircuitBreaker())
    assert stops_after(watch, came) == 200
    why, remedy = watch.why_not_on() or ("", "")
    said = "20 of all 200 messages that Cirrus was sent are rejected (10.0%)"
    assert why == f"{said}; the circuit breaker stops at 0.1 (max_rejected)."
    assert "clear the task" in remedy
    assert "circuit_breaker" in remedy


def test_a_hundredth_unknown_stops() -> None:
    came = [unknown if place in (50, 150) else ok for place in range(1, 1000)]
    watch = Watch(CircuitBreaker())
    assert stops_after(watch, came) == 200
    assert watch.stops_for_unknown
    assert stops_after(Watch(CircuitBreaker(max_unknown=None)), came) is None


def test_what_goes_wrong_late_shows_in_the_latest_thousand() -> None:
    late = [no(place) if place % 8 == 0 else ok for place in range(1000)]
    stopped = stops_after(Watch(CircuitBreaker()), [ok] * 100_000 + late)
    assert stopped is not None
    assert 100_780 < stopped < 100_810
    assert stops_after(Watch(CircuitBreaker(window=1_000_000)), [ok] * 100_000 + late) is None


def test_twenty_in_a_row_for_one_reason_stop_at_once() -> None:
    assert stops_after(Watch(CircuitBreaker()), [no(132000)] * 30) == 20
    assert stops_after(Watch(CircuitBreaker(max_rejected=None)), [no(place % 2) for place in range(500)]) is None
    # Without a code the text counts, whatever number stands in it.
    texts = [entry(Outcome.REJECTED, reason=f"parameter {place} is wrong") for place in range(30)]
    watch = Watch(CircuitBreaker())
    assert stops_after(watch, texts) == 20
    assert "20 messages in a row came back rejected: parameter 19 is wrong." in (watch.why_not_on() or "")[0]
    # A message whose fate is not known says nothing of the others, and one that is accepted does.
    assert stops_after(Watch(CircuitBreaker()), [*[no()] * 19, unknown, no()]) == 21
    assert stops_after(Watch(CircuitBreaker()), [*[no()] * 19, ok, *[no()] * 19]) is None


def test_a_row_stays_one_whatever_comes_after_it() -> None:
    watch = Watch(CircuitBreaker())
    for one in [*[no()] * 20, *[ok] * 20]:
        watch.add(one)
    assert watch.why_not_on()


def test_a_twentieth_rejected_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    assert stops_after(Watch(CircuitBreaker()), [no(place) if place % 15 == 0 else ok for place in range(3000)]) is None
    (text,) = [record.getMessage() for record in caplog.records]
    assert "are rejected" in text
    assert "At 10% the run stops by itself." in text


def test_a_canary_is_looked_at_before_there_are_two_hundred() -> None:
    came = [*[ok] * 8, no(1), no(2)]
    assert stops_after(Watch(CircuitBreaker(), canary=10), came) == 10
    assert stops_after(Watch(CircuitBreaker(), canary=11), came) is None
    watch = Watch(CircuitBreaker(), canary=10)
    assert watch.canary_left == 10
    watch.add(ok)
    assert watch.canary_left == 9
    # Without a circuit breaker there is still something to wait for.
    assert Watch(None, canary=10).canary_left == 10


def test_a_share_is_what_it_is_written_as() -> None:
    assert (
        stops_after(Watch(CircuitBreaker(max_rejected=0.07, min_outcomes=100)), [*[ok] * 93, *map(no, range(7))]) == 100
    )
    assert stops_after(Watch(CircuitBreaker(max_rejected=0, min_outcomes=1)), [ok, ok, no()]) == 3


came_of = st.lists(
    st.builds(
        entry,
        st.sampled_from(CAME),
        code=st.sampled_from([None, 1, 2]),
        attempt=st.integers(1, 4),
    ),
    max_size=60,
)
breakers = st.builds(
    CircuitBreaker,
    max_rejected=st.sampled_from([None, 0.0, 0.1, 0.3, 1.0]),
    max_unknown=st.sampled_from([None, 0.05, 0.3]),
    max_in_a_row=st.sampled_from([None, 1, 3]),
    min_outcomes=st.sampled_from([1, 10, 30]),
    window=st.sampled_from([1, 5, 20, 1000]),
)


@given(breakers, came_of)
def test_it_stops_exactly_where_slow_counting_says_so(breaker: CircuitBreaker, came: list[Entry]) -> None:
    def is_too_much(part: Sequence[Entry]) -> bool:
        for outcome, most in ((Outcome.REJECTED, breaker.max_rejected), (Outcome.UNKNOWN, breaker.max_unknown)):
            count = [one.outcome for one in part].count(outcome)
            if most is not None and count and count / len(part) >= most - 1e-9:
                return True
        return False

    def is_open(so_far: Sequence[Entry]) -> bool:
        known = [one for one in so_far if one.outcome is not Outcome.UNKNOWN]
        if (most := breaker.max_in_a_row) is not None:
            for at in range(len(known) - most + 1):
                row = known[at : at + most]
                if {one.outcome for one in row} == {Outcome.REJECTED} and len({one.code for one in row}) == 1:
                    return True
        if len(so_far) < breaker.min_outcomes:
            return False
        return is_too_much(so_far) or is_too_much(so_far[-breaker.window :])

    watch = Watch(breaker)
    for place, one in enumerate(came, 1):
        watch.add(one)
        assert bool(watch.why_not_on()) == is_open(came[:place])


@given(breakers, came_of, st.integers(0, 3), st.randoms(use_true_random=False))
def test_what_a_ledger_remembers_counts_as_if_it_came_now(
    breaker: CircuitBreaker, came: list[Entry], since: int, chance: random.Random
) -> None:
    came = [one._replace(time=float(place)) for place, one in enumerate(came, 1)]
    live = Watch(breaker)
    for one in came:
        if one.attempt > since:
            live.add(one)
    # A database yields them by their keys, intents among them.
    left = [(bytes([place]), one) for place, one in enumerate([*came, INTERRUPTED, entry(Outcome.UNSENT)])]
    chance.shuffle(left)
    restored = Watch(breaker, since=since)
    assert list(restored.remember(left)) == left
    assert restored.why_not_on() == live.why_not_on()
    assert vars(restored._run) == vars(live._run)
    assert list(restored._latest) == list(live._latest)


def test_what_is_sent_again_counts_for_nothing() -> None:
    left = [(bytes([place]), unknown) for place in range(10)]
    watch = Watch(CircuitBreaker(min_outcomes=1), repeat_unknown=True)
    assert list(watch.remember(left)) == left
    assert watch.why_not_on() is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"max_rejected": 10}, r"max_rejected: 10 is no share.*0\.1", id="percent"),
        pytest.param({"max_unknown": -0.1}, "max_unknown", id="negative"),
        pytest.param({"warn_rejected": True}, "warn_rejected", id="bool"),
        pytest.param({"max_rejected": "10%"}, "max_rejected", id="text"),
        pytest.param({"max_in_a_row": 0}, "max_in_a_row", id="none-in-a-row"),
        pytest.param({"min_outcomes": 0}, "min_outcomes", id="no-outcomes"),
        pytest.param({"window": 1.5}, "window", id="half"),
        pytest.param({"max_reject": 0.1}, "has no 'max_reject'.*max_rejected", id="name"),
        pytest.param(0.1, "is of type float", id="number"),
    ],
)
def test_limits_that_are_none_are_refused(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        CircuitBreaker.of(given)


def test_what_an_argument_may_hold() -> None:
    assert CircuitBreaker.of(None) == CircuitBreaker.of(True) == CircuitBreaker.of({}) == CircuitBreaker()
    assert CircuitBreaker.of(False) is None
    assert CircuitBreaker.of({"max_rejected": 0.3}) == CircuitBreaker(max_rejected=0.3)
