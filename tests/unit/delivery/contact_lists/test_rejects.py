from __future__ import annotations

import csv
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template
from airflow_provider_cirrus.delivery.contact_lists.open import open_rejects
from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord
from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.people import ANN, BOB, CAT, MEXICO, Connect, checked, written

REFUSED = [
    (ANN, 131050, "131050: User has stopped marketing messages"),
    (BOB, 131026, f"undeliverable\nto +{BOB}"),
    (CAT, 131049, "not now"),
    (MEXICO[0], None, "invalid — Not a valid WhatsApp user"),
    ("447700900104", None, "=invalid"),
]


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl"])
def test_who_refused_is_left_alone_by_the_next_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        sink = open_rejects(RejectSink.of(path), clock=lambda: 1_772_000_000)
        assert checked(Consent(suppression=path), CAT) == [ConsentRecord()]
        assert sink.add(REFUSED) == 3
        sink.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = checked(Consent(suppression=path), ANN, BOB, CAT, MEXICO[1])
    since = "since 2026-02-25T06:13:20Z)"
    assert found == [
        f"suppression: on the list (131050: User has stopped marketing messages, {since}",
        f"suppression: on the list (undeliverable to +44******0102, {since}",
        ConsentRecord(),
        f"suppression: on the list (invalid — Not a valid WhatsApp user, {since}",
    ]


def test_who_refused_is_left_alone_by_the_next_run_with_a_table(connect: Connect) -> None:
    given = {"conn_id": "crm", "table": "do_not_message"}
    for spelling in MEXICO:
        sink = open_rejects(RejectSink.of(given), connect)
        assert sink.add([*REFUSED[:3], (spelling, None, REFUSED[3][2])]) == 3
        sink.close()
    with connect("crm").connect() as connection:
        numbers = sorted(connection.execute(sa.text("SELECT number FROM do_not_message")).scalars())
    assert numbers == sorted([ANN, BOB, MEXICO[0]])
    found = checked(
        Consent(suppression=[given, {"numbers": [CAT]}], connect=connect), ANN, CAT, MEXICO[1], "447700900104"
    )
    assert [one if isinstance(one, ConsentRecord) else one[:23] for one in found] == [
        *["suppression: on the lis"] * 3,
        ConsentRecord(),
    ]


def test_a_table_of_ones_own_is_taken_if_it_has_the_columns(connect: Connect) -> None:
    with connect("crm").begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE do_not_message (number bigint, code int, reason text, time timestamp, more text)")
        )
    given = {"conn_id": "crm", "table": "do_not_message"}
    sink = open_rejects(RejectSink.of(given), connect)
    assert [sink.add(REFUSED) for _ in range(2)] == [3, 3]
    sink.close()
    with connect("crm").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM do_not_message")).scalar() == 3
    assert checked(Consent(suppression=given, connect=connect), CAT, MEXICO[1])[0] == ConsentRecord()
    with pytest.raises(InvalidInput, match="'people' has no column number, code, reason, time"):
        open_rejects(RejectSink.of({"conn_id": "crm", "table": "people"}), connect)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("s3://bucket/a.csv", "no files that grow"),
        ("a.parquet", "ends in .parquet"),
        ({"table": "t"}, "either a path, or a conn_id and a table"),
        ({"conn_id": "c", "table": " "}, "is empty or no text"),
        ({"name": "t"}, "other names"),
        (3, "of type int"),
    ],
)
def test_a_value_that_is_no_sink(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"on_reject.*{problem}"):
        RejectSink.of(value)


def test_a_list_of_other_columns_is_not_added_to(tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", "phone", ANN)
    with pytest.raises(InvalidInput, match="other columns than number, code, reason, time"):
        open_rejects(RejectSink.of(path))
    with pytest.raises(InvalidInput, match="cannot be written"):
        open_rejects(RejectSink.of(tmp_path / "nowhere" / "list.csv"))


ADDING = """
import sys
from airflow_provider_cirrus.delivery.contact_lists.open import open_rejects
from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
sink = open_rejects(RejectSink.of(sys.argv[1]))
for number in range(200):
    sink.add([(f"4477{int(sys.argv[2]):04d}{number:04d}", 131050, "stopped, " + "x" * 100)] * 2)
"""


def test_several_processes_may_add_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.csv"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    running = [subprocess.Popen([sys.executable, "-c", ADDING, path, str(n)], env=env) for n in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["number", "code", "reason", "time"]
    assert len({row[0] for row in rows}) == 800
    assert {len(row) for row in rows} == {4}


def test_a_line_that_a_killed_process_left_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"
    path.write_text('{"number": "4477')
    sink = open_rejects(RejectSink.of(path))
    sink.add(REFUSED[:1])
    sink.close()
    with pytest.raises(InvalidInput, match=r"1 rows of .* row 1 is not JSON"):
        Consent(suppression=path)
    assert len(path.read_text().splitlines()) == 2


def test_what_cirrus_refuses_is_not_sent_again(sandbox: Sandbox, tmp_path: Path) -> None:
    ends = {"90": True, "91": True, "92": True, "94": False, "01": False}
    numbers = [f"4477009001{end}" for end in ends]
    template = Template(name="order_update", language="en", body=["7"])
    sink = open_rejects(RejectSink.of(tmp_path / "gone.csv"))
    with CirrusClient(token=sandbox.token, stream_id=sandbox.stream_id, base_url=sandbox.base_url) as client:
        sent = client.send([Message.build(number, template) for number in numbers])
    sink.add([(one.recipient, one.code, one.reason) for one in sent.results if one.reason])
    sink.close()
    found = checked(Consent(suppression=tmp_path / "gone.csv"), *numbers)
    assert [isinstance(one, str) for one in found] == list(ends.values())
