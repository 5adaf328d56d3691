"""The counters of a sandbox in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.controlled import Controlled


def metrics(app: Controlled) -> str:
    """Return the metrics; counters begin anew with a reset."""
    return "\n".join([*_lines(app), ""])


def _lines(app: Controlled) -> Iterator[str]:
    counts = app.store.counts()
    said = {
        "accepted": "Messages that were accepted.",
        "refused": "Messages that were refused.",
        "requests": "Requests to the API.",
        "uploads": "Files that were uploaded.",
        "validations": "Numbers that were checked.",
        "duplicates": "Messages that repeat an earlier one.",
    }
    for name, text in said.items():
        yield from _metric(f"{name}_total", "counter", text, counts[name])
    tally = app.store.tally()
    yield from _metric("kept_messages", "gauge", "Messages that are remembered.", sum(tally.templates.values()))
    yield from _metric("unread_messages", "gauge", "Messages that nobody has looked at.", tally.unread)
    struck = sum(fault["struck"] for fault in app.faults.listing())
    yield from _metric("faults_struck", "gauge", "How often the faults that are set have struck.", struck)
    if app.webhook is not None:
        yield from _metric("webhook_posted_total", "counter", "Events that the webhook took.", app.webhook.posted)
        yield from _metric("webhook_failed_total", "counter", "Events that it did not take.", app.webhook.failed)


def _metric(name: str, kind: str, text: str, value: int) -> Iterator[str]:
    yield f"# HELP cirrus_sandbox_{name} {text}"
    yield f"# TYPE cirrus_sandbox_{name} {kind}"
    yield f"cirrus_sandbox_{name} {value}"
