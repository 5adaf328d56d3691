"""What a server says and nobody could write down is a normal outcome in every report and every ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api import wire
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.exchange import Response
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Result
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger
from airflow_provider_cirrus.delivery.report.formats import Line
from airflow_provider_cirrus.delivery.report.writer import ReportFile
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.stores import Store

SAID = "Refused \N{REPLACEMENT CHARACTER} on\N{REPLACEMENT CHARACTER} demand"
MESSAGE = Message.build("447700900101", {"name": "order_update", "language": "en"})
KEY = b"k" * 12


@pytest.fixture
def refused(sandbox: Sandbox) -> Result:
    sandbox.add_fault("strange_refusal")
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1) as client:
        (result,) = client.send([MESSAGE]).results
    return result


def accepted_strangely() -> Result:
    entry = {"recipient": MESSAGE.to, "status": 200, "id": "a\ud83d\x00" * 500, "object_id": 10**400}
    body = json.dumps({"status": "200", "data": [entry]}).encode()
    return wire.read_send([MESSAGE], Response(200, {}, body)).results[0]


def stores(folder: Path) -> Iterator[Any]:
    engine = engine_for(f"sqlite:///{folder}/ledger.db")
    yield lambda number: SqlLedger(engine, "dag/run/task", f"try{number}")
    kept = Store()
    yield lambda number: TaskStateLedger(kept)
    engine.dispose()


def test_it_is_a_normal_refusal(refused: Result) -> None:
    assert (refused.outcome.value, refused.code, refused.reason) == ("rejected", None, SAID)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_report_takes_it(refused: Result, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path) as report:
        report.write(
            [
                Line(index, one.recipient, "6b", one.outcome, one.message_id, one.object_id, one.code, one.reason, 1, 5)
                for index, one in enumerate([refused, accepted_strangely()])
            ]
        )
    if ending == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(path).column("reason").to_pylist() == [SAID, None]
    else:
        assert path.read_text(encoding="utf-8").count(SAID) == 1


def test_every_ledger_takes_it_and_gives_it_back(refused: Result, tmp_path: Path) -> None:
    for make in stores(tmp_path):
        for number, result in enumerate((refused, accepted_strangely()), 1):
            entry = Entry.of(result, 1, 5.0)
            ledger = make(2 * number - 1)
            ledger.open(TaskTry(2 * number - 1, 9, 9))
            list(ledger.load())
            ledger.commit([KEY], [])
            ledger.commit([], [(KEY, entry)])
            again = make(2 * number)
            again.open(TaskTry(2 * number, 9, 9))
            assert dict(again.load())[KEY] == entry
