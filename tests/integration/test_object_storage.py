"""Audiences, reports and media in object storage: a real S3 client of Airflow's, and moto's server behind it."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.delivery.report.writer import ReportFile
from airflow_provider_cirrus.sandbox import Sandbox
from tests.integration.test_memory import MEGABYTE, UPLOAD
from tests.unit.delivery.report.test_writer import line

moto_server = pytest.importorskip("moto.server", reason="moto is installed for the newest line of Airflow alone")
boto3 = pytest.importorskip("boto3", reason="Airflow's provider for S3 is installed for the newest line alone")

RunDag = Callable[..., Any]
BUCKET = "shop"
ROOT = Path(__file__).parents[2]

ROWS = [
    {"phone": "+44 7700 900101", "name": "Ann", "order": "A-1"},
    {"phone": "+44 7700 900102", "name": "", "order": "A-2"},
    {"phone": "447700900103", "name": "Cleo", "order": "A-3"},
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 with an empty bucket."""
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the bucket, to which the connection ``aws_default`` leads."""
    extra = {"endpoint_url": server, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    client = boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for one in keys(client):
        client.delete_object(Bucket=BUCKET, Key=one)
    client.delete_bucket(Bucket=BUCKET)


def keys(client: Any) -> list[str]:
    return [one["Key"] for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def body(client: Any, key: str) -> bytes:
    content: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


def encoded(kind: str) -> bytes:
    """Return the rows as a file of that kind."""
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS), file)
        return file.getvalue()
    if kind.startswith("csv"):
        text = "phone,name,order\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)
    else:
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
    return gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode()


def read(kind: str, content: bytes) -> list[dict[str, Any]]:
    """Return the lines of a report, in the order of the audience."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        lines = pq.read_table(io.BytesIO(content)).to_pylist()
    elif kind == "csv":
        import csv

        lines = list(csv.DictReader(io.StringIO(content.decode())))
    else:
        lines = [json.loads(line) for line in content.splitlines()]
    return sorted(lines, key=lambda line: int(line["index"]))


@pytest.mark.parametrize(
    ("audience", "report"),
    [("csv.gz", "jsonl"), ("jsonl.gz", "csv"), ("parquet", "parquet"), ("csv", "jsonl")],
)
def test_an_audience_and_its_report(run_dag: RunDag, sandbox: Sandbox, s3: Any, audience: str, report: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=f"orders.{audience}", Body=encoded(audience))
    place = f"s3://aws_default@{BUCKET}/reports/today.{report}"
    run = run_dag("cirrus_cases", "audience", {"path": f"s3://aws_default@{BUCKET}/orders.{audience}", "report": place})
    assert run.state == "success", run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900101", "447700900103"]
    lines = read(report, body(s3, f"reports/today.{report}"))
    assert [line["outcome"] for line in lines] == ["accepted", "rejected", "accepted"]
    assert lines[0]["message_id"] == sandbox.messages[0]["id"]
    assert keys(s3) == [f"orders.{audience}", f"reports/today.{report}"], "a part of a report was left"


CHILD = """
import sys, time
from airflow_provider_cirrus.delivery.report.writer import ReportFile
from tests.unit.delivery.report.test_writer import line

report = ReportFile(sys.argv[1]).open()
for start in range(0, 60_000, 2_000):
    report.write([line(index) for index in range(start, start + 2_000)])
print("on", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_report_after_a_kill(s3: Any, kind: str) -> None:
    place = f"s3://aws_default@{BUCKET}/report.{kind}"
    with ReportFile(place) as earlier:
        earlier.write([line(0)])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, place],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    # Airflow logs before it.
    assert b"on\n" in child.stdout
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert len(read(kind, body(s3, f"report.{kind}"))) == 1, "a killed try published what it had"

    with ReportFile(place) as report:
        report.write([line(index) for index in range(100)])
    assert [int(row["index"]) for row in read(kind, body(s3, f"report.{kind}"))] == list(range(100))
    assert keys(s3) == [f"report.{kind}"]


def test_a_file_of_100_mb_is_not_held_in_memory(cirrus_default: Sandbox, s3: Any) -> None:
    paths = []
    for name, size in (("small.pdf", 1), ("large.pdf", 100)):
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"%PDF-1.7\n".ljust(size * MEGABYTE, b"\0"))
        paths.append(f"s3://aws_default@{BUCKET}/{name}")
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, *paths], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert cirrus_default.uploads[-1]["size"] == 100 * MEGABYTE
    assert json.loads(done.stdout.splitlines()[-1]) < 16 * MEGABYTE


def test_what_is_not_there_is_told_before_anything_is_sent(run_dag: RunDag, sandbox: Sandbox, s3: Any) -> None:
    run = run_dag(
        "cirrus_cases",
        "audience",
        {"path": f"s3://aws_default@{BUCKET}/none.csv", "report": f"s3://aws_default@{BUCKET}/report.csv"},
    )
    assert run.state == "failed"
    assert sandbox.requests == []
    assert keys(s3) == []
