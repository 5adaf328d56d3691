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


def test_words_for_people_are_masked_and_grouped() -> None:
    assert report.in_words(delivery(2, 1)) == "3 messages: 2 accepted, 1 rejected"
    assert report.in_words(delivery(1)) == "1 message: 1 accepted"
    assert report.explanation(delivery(0, 8)) == ["8 rejected: no user +44******0124 (+44******0124, …)"]
    assert report.explanation(delivery(3)) == []
    assert report.complaints(delivery(3)) == ""


def of(*entries: Entry) -> DeliveryResult:
    found = DeliveryResult(seconds=1.0)
    for index, entry in enumerate(entries):
        found.add(MessageOutcome(index, b"k", f"447700900{index:03d}", entry))
    return found


def test_reasons_are_counted_by_code_and_by_what_they_say() -> None:
    found = of(
        Entry(Outcome.REJECTED, code=131026, reason="invalid: Not a valid WhatsApp user"),
        Entry(Outcome.REJECTED, code=131026, reason="131026 another text"),
        *[Entry(Outcome.REJECTED, reason=f"body[1]: is {1025 + n} characters long") for n in range(40)],
        Entry(Outcome.UNSENT, reason="the run stopped before its turn"),
    )
    first, second, third = report.explanation(found)
    assert first.startswith("40 rejected: body[1]: is 1025 characters long (")
    assert second.startswith("2 rejected: invalid: Not a valid WhatsApp user (code 131026) [")
    assert "not on WhatsApp" in second, "in words"
    assert third.startswith("1 unsent: the run stopped before its turn (+44")
    assert [(one["outcome"], one["code"], one["count"]) for one in report.summary(found)["reasons"]] == [
        ("rejected", None, 40),
        ("rejected", 131026, 2),
        ("unsent", None, 1),
    ]


def test_the_cause_and_the_remedy_come_first() -> None:
    found = of(*[Entry(Outcome.REJECTED, reason=f"reason {chr(97 + n)}") for n in range(15)])
    found.stopped, found.remedy = "Cirrus refuses all messages of the account (131031): it is locked.", "See there."
    lines = report.explanation(found)
    assert lines[:2] == [f"Stopped: {found.stopped}", "What to do: See there."]
    assert lines[-1] == "and 5 more, for 5 other reasons"


def test_a_million_reasons_take_no_more_memory_than_sixty() -> None:
    found = of(*[Entry(Outcome.REJECTED, reason="x" * (n % 300 + 1)) for n in range(3_000)])
    assert len(list(found.reasons)) == 61
    assert sum(reason.count for reason in found.reasons) == 3_000


def test_a_good_run_says_what_its_counts_are_made_of() -> None:
    found = of(
        Entry(Outcome.ACCEPTED, "m"),
        Entry(Outcome.SUPPRESSED, reason="suppression: it is in unsubscribed.csv"),
        Entry(Outcome.SUPPRESSED, reason="suppression: it is in another.csv"),
        Entry(Outcome.SUPPRESSED, reason="quiet_hours: night"),
        Entry(Outcome.REJECTED, code=131026, reason="x"),
        Entry(Outcome.REJECTED, reason="to: holds a letter"),
    )
    assert report.in_words(found, with_kinds=True) == (
        "6 messages: 1 accepted, 2 rejected (1 code 131026, 1 no code), 3 suppressed (2 suppression, 1 quiet_hours)"
    )
