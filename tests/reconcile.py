"""After a send of several tasks: inbox, reports, ledger and XComs must tell the same of everybody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_provider_cirrus.delivery.sql.store import scope_of
from airflow_provider_cirrus.sandbox import Sandbox

OUTCOMES = ("accepted", "rejected", "unknown", "suppressed", "duplicate", "unsent")


def people(count: int) -> list[str]:
    """Return numbers with which the sandbox does nothing special."""
    return [f"4477009{place // 90:03d}{place % 90:02d}" for place in range(count)]


def fill_shop(database: str, count: int) -> None:
    """Make the table that the DAG reads, of as many customers."""
    engine = sa.create_engine(database)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE customers (phone TEXT, name TEXT, number TEXT)"))
            rows = [{"phone": f"+{one}", "number": f"A-{place}"} for place, one in enumerate(people(count))]
            connection.execute(sa.text("INSERT INTO customers VALUES (:phone, 'Ann', :number)"), rows)
    finally:
        engine.dispose()


def reconcile(
    sandbox: Sandbox,
    reports: Iterable[Path],
    summaries: Iterable[dict[str, Any]],
    ledger: str,
    task: str,
    customers: list[str],
) -> Counter[str]:
    """
    Compare what Cirrus has with what each place says; return the outcomes.

    :param summaries: the XCom of each task
    :param ledger: the URI of the ledger's database
    :param task: ``dag_id/run_id/task_id``
    :param customers: the digits of everybody, each of whom gets one message
    """
    known = set(customers)
    arrived: dict[str, str] = {}
    for message in sandbox.messages:
        if message["recipient"] in known:
            assert message["recipient"] not in arrived, "somebody was messaged twice"
            arrived[message["recipient"]] = message["id"]

    lines = [json.loads(line) for report in reports for line in report.read_text().splitlines()]
    outcomes = Counter(line["outcome"] for line in lines)
    assert sorted(line["recipient"] for line in lines) == sorted(customers), "not everybody stands in one report"
    assert sorted(line["index"] for line in lines) == list(range(len(customers)))

    said: Counter[str] = Counter()
    for summary in summaries:
        said.update({outcome: summary[outcome] for outcome in OUTCOMES})
    assert +said == outcomes, "the XComs tell another story than the reports"

    accepted = {line["recipient"]: line["message_id"] for line in lines if line["outcome"] == "accepted"}
    unknown = {line["recipient"] for line in lines if line["outcome"] == "unknown"}
    assert accepted.items() <= arrived.items(), "what was called accepted did not arrive, or as another message"
    assert arrived.keys() <= accepted.keys() | unknown, "what arrived is called neither accepted nor unknown"

    wanted = {name: count for name, count in outcomes.items() if name in ("accepted", "rejected")}
    # A killed try leaves an intent, which reports call unknown.
    wanted["open"] = outcomes["unknown"]
    assert _kept(ledger, task) == Counter(wanted), "the ledger tells another story than the reports"
    return outcomes


def _kept(ledger: str, task: str) -> Counter[str]:
    kept: Counter[str] = Counter()
    engine = sa.create_engine(ledger)
    try:
        with engine.connect() as connection:
            statement = sa.text("SELECT state, count(*) FROM cirrus_ledger WHERE scope = :scope GROUP BY state")
            for state, count in connection.execute(statement, {"scope": scope_of(f"{task}/-1")}):
                kept["open" if state in ("intent", "unknown") else state] += count
    finally:
        engine.dispose()
    return kept
