"""Outcomes as plain JSON-able values, for XCom and for people; the report file is in ``report_file``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.result import KEPT, DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.report.formats import Line

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.report.writer import ReportFile

# Enough to see the pattern, few enough to be read.
_SHOWN = 5


def summary(delivery: DeliveryResult) -> dict[str, Any]:
    """
    Return the summary of a delivery.

    :return: ``{"total": int, "accepted": int, "rejected": int, …, "seconds": float, "messages_per_second": float,
        "report": str | None, "outcomes": [...]}``; there is a count for every outcome, and they add up to the
        total; the outcomes stand there for up to 100 messages, each with
        ``index, recipient, outcome, message_id, object_id, code, reason``
    """
    total = delivery.total
    found: dict[str, Any] = {
        "total": total,
        **delivery.counts,
        "seconds": round(delivery.seconds, 3),
        "messages_per_second": round(total / delivery.seconds, 1) if delivery.seconds else 0.0,
        "report": delivery.report_uri,
    }
    if total <= KEPT:
        found["outcomes"] = [
            {"index": index, **settled.entry.result(settled.recipient).as_dict()}
            for index, settled in sorted(delivery.kept.items())
        ]
    return found


def in_words(delivery: DeliveryResult) -> str:
    """Return the counts as a sentence: ``3 messages: 2 accepted, 1 rejected``."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in delivery.counts.items() if count)
    return f"{delivery.total} messages: {counts}"


def complaints(delivery: DeliveryResult) -> str:
    """Return what kept messages from being accepted, with masked numbers; empty where nothing did."""
    bad = (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNSENT)
    found = [settled for settled in delivery.complaints if settled.entry.outcome in bad]
    shown = "; ".join(
        f"{mask(settled.recipient)} {settled.entry.outcome}: {mask_all(settled.entry.reason or 'no reason given')}"
        for settled in found[:_SHOWN]
    )
    more = sum(delivery.counts[outcome] for outcome in bad) - _SHOWN
    return shown + (f"; and {more} more" if more > 0 else "")


def lines_to(report_file: ReportFile) -> Callable[[Sequence[MessageOutcome]], None]:
    """Return a listener for a dispatcher that writes every outcome to a report file."""

    def listener(settled: Sequence[MessageOutcome]) -> None:
        report_file.write([_line(one) for one in settled])

    return listener


def _line(settled: MessageOutcome) -> Line:
    entry = settled.entry
    # By place: by name it takes a third more.
    return Line(
        settled.index,
        settled.recipient,
        settled.key.hex(),
        entry.outcome,
        entry.message_id,
        entry.object_id,
        entry.code,
        entry.reason,
        entry.attempt,
        entry.time,
        settled.consent,
    )
