"""How a task ends, by what became of its messages."""

from __future__ import annotations

import pytest

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.verdict import Verdict, verdict


def of(
    counts: dict[str, int],
    *,
    deferred: int = 0,
    was_stopped: bool = False,
    is_called_off: bool = False,
    repeats_unknown: bool = False,
    allowed: float = 0,
) -> Verdict:
    return verdict(
        counts,
        deferred=deferred,
        was_stopped=was_stopped,
        is_called_off=is_called_off,
        repeats_unknown=repeats_unknown,
        allowed=allowed,
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_one_message_ends_the_task_by_its_outcome(outcome: Outcome) -> None:
    expected = {
        Outcome.ACCEPTED: Verdict.SUCCESS,
        Outcome.REJECTED: Verdict.FAIL,
        Outcome.SUPPRESSED: Verdict.SUCCESS,
        Outcome.DUPLICATE: Verdict.SUCCESS,
        Outcome.UNKNOWN: Verdict.FAIL,
        Outcome.UNSENT: Verdict.RETRY,
    }
    assert of({outcome.value: 1}) is expected[outcome]


def test_rejected_and_unknown_count_together_against_what_is_allowed() -> None:
    counts = {"accepted": 8, "rejected": 1, "unknown": 1}
    assert of(counts, allowed=2) is Verdict.SUCCESS
    assert of(counts, allowed=1.9) is Verdict.FAIL


def test_unknown_is_retried_only_where_it_is_repeated() -> None:
    assert of({"unknown": 1}, repeats_unknown=True) is Verdict.RETRY
    assert of({"rejected": 1}, repeats_unknown=True) is Verdict.FAIL


def test_the_task_waits_only_where_all_that_is_left_waits_for_quiet_hours() -> None:
    assert of({"unsent": 2, "rejected": 5}, deferred=2) is Verdict.DEFER
    assert of({"unsent": 2}, deferred=1) is Verdict.RETRY


def test_a_task_that_was_stopped_did_not_read_to_its_end() -> None:
    assert of({"accepted": 3}, was_stopped=True) is Verdict.RETRY


def test_a_run_that_its_circuit_breaker_stopped_is_not_retried_as_that_would_find_the_same() -> None:
    assert of({"accepted": 1, "unsent": 9}) is Verdict.RETRY
    assert of({"accepted": 1, "unsent": 9}, is_called_off=True) is Verdict.FAIL
    # Airflow told it to end, so it goes on elsewhere, and stops there.
    assert of({"accepted": 1, "unsent": 9}, is_called_off=True, was_stopped=True) is Verdict.RETRY
    assert of({"accepted": 10}, is_called_off=True) is Verdict.SUCCESS
