from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.delivery.engine.pair_limit import BURST, SPACING, PairLimit

ACCOUNT = "447700900123"


def burst(pairs: PairLimit, account: str = ACCOUNT) -> list[float]:
    return [pairs.wait(account, 0.0) for _ in range(BURST)]


def test_a_recipient_gets_a_burst_and_then_one_message_in_six_seconds() -> None:
    pairs = PairLimit()
    assert burst(pairs) == [0.0] * BURST
    assert pairs.wait(ACCOUNT, 0.0) == 0.0
    assert pairs.wait(ACCOUNT, 1.0) == SPACING - 1.0
    assert pairs.wait(ACCOUNT, SPACING) == 0.0
    assert pairs.wait(ACCOUNT, SPACING) == SPACING


def test_another_recipient_is_not_slowed_down() -> None:
    pairs = PairLimit()
    burst(pairs)
    pairs.wait(ACCOUNT, 0.0)
    assert pairs.wait("447700900124", 0.0) == 0.0


@given(st.lists(st.floats(0, 20), max_size=40))
def test_beyond_the_burst_two_are_never_closer_than_the_spacing(steps: list[float]) -> None:
    pairs, now, left = PairLimit(), 0.0, []
    burst(pairs)
    for step in steps:
        now += step
        if not pairs.wait(ACCOUNT, now):
            left.append(now)
    assert all(later - earlier >= SPACING - 1e-9 for earlier, later in pairwise(left))
