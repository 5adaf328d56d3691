"""
Messages a second of a whole delivery (audience, keys, ledger, report) against a bare ``requests`` thread pool.

    python benchmarks/throughput.py [--messages 16000] [--rounds 5] [--concurrency 4 8 16]

Both post the same bodies, 20 messages each, from the same number of threads to a sandbox in a process of its own
that limits nothing. The bare pool has its bodies ready made and one Session per thread; it keeps nothing and reads
nothing of the answer but its status. The variants take turns; each figure is the median over the rounds.
Ends with status 1 where a delivery with the default ledger, at the default concurrency, is below 55 % of the bare pool:
without any limit, it is the few intents that wait for a write that hold it up, and a kill leaves these unknown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from _common import (
    DEFAULT_TOKEN,
    STREAM,
    UNLIMITED,
    MemoryStore,
    client,
    read,
    sandbox,
    sql_ledger,
    state_ledger,
    write_audience,
)

from airflow_provider_cirrus.api.wire import send_request
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile

TARGET = 0.55
DEFAULT_LEDGER = "task state (13 ms a write)"
DEFAULT_CONCURRENCY = 16
BATCH = 20


def bare(url: str, bodies: list[tuple[str, bytes]], threads: int) -> float:
    """Post the bodies; return seconds."""
    mine = threading.local()

    def post(body: tuple[str, bytes]) -> None:
        if not hasattr(mine, "session"):
            mine.session = requests.Session()
            mine.session.trust_env = False
            mine.session.headers.update(
                {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Content-Type": "application/json"}
            )
        assert mine.session.post(url + body[0], data=body[1], timeout=30).status_code == 200

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(post, bodies))
    return time.perf_counter() - begun


def delivery(url: str, audience: Path, count: int, threads: int, folder: Path, ledger: Any) -> float:
    """Deliver the audience; return seconds, from the opening of the report to its closing."""
    with client(url, threads * 3 // 2) as cirrus:
        begun = time.perf_counter()
        with ReportFile(folder / "report.jsonl") as report:
            dispatcher = Dispatcher(
                cirrus.send,
                STREAM,
                ledger,
                messages_per_second=UNLIMITED,
                concurrency=threads,
                listener=lines_to(report),
            )
            sent = dispatcher.run(read(audience))
        seconds = time.perf_counter() - begun
    assert sent.counts["accepted"] == count, sent.counts
    assert (folder / "report.jsonl").read_bytes().count(b"\n") == count
    return seconds


LEDGERS: dict[str, Callable[[Path], Any]] = {
    # What a write takes in Airflow, measured.
    DEFAULT_LEDGER: lambda folder: state_ledger(MemoryStore(0.010, 0.013)),
    "SQLite": lambda folder: sql_ledger(folder / "ledger.db"),
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[DEFAULT_CONCURRENCY])
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as place, sandbox() as url:
        audience = write_audience(Path(place) / "audience.jsonl", options.messages)
        messages = [message for _, message in read(audience)]
        parts = [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]
        bodies = [(made.path, made.body) for made in (send_request(part, STREAM) for part in parts)]
        for threads in options.concurrency:
            taken: dict[str, list[float]] = {"bare requests": [], **{name: [] for name in LEDGERS}}
            # The first round only warms up.
            for turn in range(options.rounds + 1):
                for name, seconds in taken.items():
                    requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
                    if name == "bare requests":
                        took = bare(url, bodies, threads)
                    else:
                        with tempfile.TemporaryDirectory() as folder:
                            ledger = LEDGERS[name](Path(folder))
                            took = delivery(url, audience, options.messages, threads, Path(folder), ledger)
                    if turn:
                        seconds.append(took)
            for name, seconds in taken.items():
                # Round by round: what else the machine does then weighs on both.
                ratio = statistics.median(b / s for b, s in zip(taken["bare requests"], seconds, strict=True))
                rate = options.messages / statistics.median(seconds)
                print(f"concurrency {threads:2}  {name:27} {rate:7.0f} messages/s, ratio {ratio:5.2f}", flush=True)
                missed = missed or (ratio < TARGET and threads == DEFAULT_CONCURRENCY and name == DEFAULT_LEDGER)
    verdict = "missed" if missed else "met"
    print(f"target: at least {TARGET:.2f} with {DEFAULT_LEDGER} at concurrency {DEFAULT_CONCURRENCY}: {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
