"""
Messages a second, and processor time for a million, beside what a task could do without this package.

    python benchmarks/alternatives.py [--messages 20000] [--seconds 20]

All send to the same sandbox in a process of its own that limits nothing: `curl` once for each message, as a
BashOperator would; a loop of `requests.post`, as in a PythonOperator; the same with one Session; a pool of 16 threads
that posts ready-made bodies of 20 messages; and a delivery of this package, with audience, ledger in SQLite and report.
The others remember nothing: a retry sends everything again. Then the processor time of a delivery that keeps to 80 and
to 1,000 messages a second, in seconds for a million.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
from _common import DEFAULT_TOKEN, STREAM, UNLIMITED, client, read, sandbox, sql_ledger, write_audience
from throughput import BATCH, bare

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.wire import send_request
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile

HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Content-Type": "application/json"}
# Of those that take a request for each message: enough to tell.
FEW = 1_000
FEWER = 100


def bodies(messages: list[Message], at_once: int) -> list[tuple[str, bytes]]:
    parts = [messages[start : start + at_once] for start in range(0, len(messages), at_once)]
    return [(made.path, made.body) for made in (send_request(part, STREAM) for part in parts)]


def curl(url: str, messages: list[Message]) -> int:
    words = ["curl", "--silent", "--fail", "--output", "/dev/null"]
    words += [part for name, value in HEADERS.items() for part in ("--header", f"{name}: {value}")]
    for path, body in bodies(messages[:FEWER], 1):
        subprocess.run([*words, "--data-binary", "@-", url + path], input=body, check=True)
    return FEWER


def loop(url: str, messages: list[Message], post: Callable[..., requests.Response]) -> int:
    for path, body in bodies(messages[:FEW], 1):
        assert post(url + path, data=body, headers=HEADERS, timeout=30).status_code == 200
    return FEW


def with_session(url: str, messages: list[Message]) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return loop(url, messages, session.post)


def pool(url: str, messages: list[Message]) -> int:
    bare(url, bodies(messages, BATCH), 16)
    return len(messages)


def deliver(url: str, audience: Path, folder: Path, rate: float) -> tuple[float, float]:
    """Deliver an audience; return the seconds that it took, and those of a processor."""
    with client(url, 24) as cirrus, ReportFile(folder / "report.jsonl") as report:
        begun, worked = time.perf_counter(), time.process_time()
        ledger = sql_ledger(folder / "ledger.db")
        dispatcher = Dispatcher(cirrus.send, STREAM, ledger, messages_per_second=rate, listener=lines_to(report))
        sent = dispatcher.run(read(audience))
        took = time.perf_counter() - begun, time.process_time() - worked
    assert sent.counts["accepted"] == sent.total, sent.counts
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with sandbox() as url, tempfile.TemporaryDirectory() as place:
        audience = write_audience(Path(place) / "audience.jsonl", options.messages)
        messages = [message for _, message in read(audience)]
        others: dict[str, Callable[[], int]] = {
            "a loop of requests.post": lambda: loop(url, messages, requests.post),
            "a loop with one Session": lambda: with_session(url, messages),
            "a bare pool of 16 threads, 20 messages at once": lambda: pool(url, messages),
        }
        if shutil.which("curl"):
            others = {"curl for each message": lambda: curl(url, messages), **others}
        for name, send in others.items():
            requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
            begun, worked = time.perf_counter(), time.process_time()
            count = send()
            seconds, processor = time.perf_counter() - begun, time.process_time() - worked
            own = "" if name.startswith("curl") else f", {processor / count * 1e6:6.0f} s of a processor for a million"
            print(f"{name:47} {count / seconds:7.0f} messages/s{own}", flush=True)
        for rate in (UNLIMITED, 1_000, 80):
            requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
            count = options.messages if rate == UNLIMITED else rate * options.seconds
            with tempfile.TemporaryDirectory() as folder:
                part = write_audience(Path(folder) / "audience.jsonl", int(count))
                seconds, processor = deliver(url, part, Path(folder), rate)
            name = "this package" + ("" if rate == UNLIMITED else f", at most {rate:,} a second")
            print(
                f"{name:47} {count / seconds:7.0f} messages/s, {processor / count * 1e6:6.0f} s of a processor "
                "for a million",
                flush=True,
            )


if __name__ == "__main__":
    main()
