"""Outcomes as plain JSON-able values, for XCom and for people."""

from __future__ import annotations

from typing import Any

from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.dispatch import Delivery

#: Up to so many messages the summary carries every outcome.
OUTCOMES_UP_TO = 100

# Enough to see the pattern, few enough to be read.
_SHOWN = 5


def summary(delivery: Delivery) -> dict[str, Any]:
    """
    Return the summary of a delivery.

    :return: ``{"total": int, "accepted": int, "rejected": int, …, "seconds": float, "outcomes": [...]}``; there is
        a count for every outcome, and they add up to the total; the outcomes stand there for up to 100
        messages, each with ``index, recipient, outcome, message_id, object_id, code, reason``
    """
    total = len(delivery.results)
    found: dict[str, Any] = {"total": total, **delivery.counts, "seconds": round(delivery.seconds, 3)}
    if total <= OUTCOMES_UP_TO:
        found["outcomes"] = [{"index": index, **result.as_dict()} for index, result in enumerate(delivery.results)]
    return found


def in_words(delivery: Delivery) -> str:
    """Return the counts as a sentence: ``3 messages: 2 accepted, 1 rejected``."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in delivery.counts.items() if count)
    return f"{len(delivery.results)} messages: {counts}"


def complaints(delivery: Delivery) -> str:
    """Return what kept messages from being accepted, with masked numbers; empty where nothing did."""
    bad = [r for r in delivery.results if r.outcome in (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNSENT)]
    shown = "; ".join(
        f"{mask(r.recipient)} {r.outcome}: {mask_all(r.reason or 'no reason given')}" for r in bad[:_SHOWN]
    )
    return shown + (f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
