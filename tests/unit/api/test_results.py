"""What is known of each outcome, which ledgers, caps and the end of a task go by."""

from __future__ import annotations

import copy
import pickle

import pytest

from airflow_provider_cirrus.api.results import Outcome, Sent


def test_the_letters_are_those_that_are_stored() -> None:
    assert {outcome.value: outcome.letter for outcome in Outcome} == {
        "accepted": "a",
        "rejected": "r",
        "suppressed": "s",
        "duplicate": "d",
        "unknown": "u",
        "unsent": "n",
    }


def test_no_letter_is_given_twice() -> None:
    assert len({outcome.letter for outcome in Outcome} - {""}) == len(Outcome)


def test_only_what_is_certainly_not_sent_frees_a_slot_under_a_cap() -> None:
    assert {outcome for outcome in Outcome if outcome.sent is not Sent.NO} == {Outcome.ACCEPTED, Outcome.UNKNOWN}


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_its_name(outcome: Outcome) -> None:
    assert Outcome(outcome.value) is outcome
    assert copy.deepcopy(outcome) is outcome
    assert pickle.loads(pickle.dumps(outcome)) is outcome
    assert f"{outcome}" == outcome == outcome.value
