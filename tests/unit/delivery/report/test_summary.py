from __future__ import annotations

import json

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.report import summary as report


def delivery(accepted: int, rejected: int = 0) -> DeliveryResult:
    found = DeliveryResult(seconds=1.5)
    for index in range(accepted):
        found.add(MessageOutcome(index, b"k", "447700900123", Entry(Outcome.ACCEPTED, "m")))
    for index in range(accepted, accepted + rejected):
        found.add(MessageOutcome(index, b"k", "447700900124", Entry(Outcome.REJECTED, reason="no user +447700900124")))
    return found


def test_the_counts_add_up_and_the_outcomes_are_plain() -> None:
    found = report.summary(delivery(2, 1))
    assert found["total"] == 3 == sum(found[outcome.value] for outcome in Outcome)
    assert json.loads(json.dumps(found)) == found
    assert found["outcomes"][2] == {
        "index": 2,
        "recipient": "447700900124",
        "outcome": "rejected",
        "message_id": None,
        "object_id": None,
        "code": None,
        "reason": "no user +447700900124",
    }


def test_outcomes_are_left_out_of_a_large_summary() -> None:
    assert len(report.summary(delivery(100))["outcomes"]) == 100
    assert "outcomes" not in report.summary(delivery(101))


def test_words_for_people_are_masked_and_short() -> None:
    assert report.in_words(delivery(2, 1)) == "3 messages: 2 accepted, 1 rejected"
    said = report.complaints(delivery(0, 8))
    assert "447700900124" not in said
    assert said.endswith("and 3 more")
    assert report.complaints(delivery(3)) == ""
