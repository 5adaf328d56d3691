"""
How long a retry takes until it sends again, where 90 % of 100,000 recipients were sent before.

    python benchmarks/resume.py [--recipients 100000]

From the start of Dispatcher.run to the first new request; the report is written, as in a task. Nothing is sent over
HTTP. The store takes 10 ms to read a value and 13 ms to write one, as Airflow's was measured to; what it takes
Airflow to start a task comes on top. Ends with status 1 above 4 s.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

from _common import (
    STREAM,
    UNLIMITED,
    MemoryStore,
    accept_all,
    fill,
    read,
    sql_ledger,
    state_ledger,
    write_audience,
)

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.ledger.base import key_of
from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile

LIMIT_SECONDS = 4.0
GET_SECONDS, SET_SECONDS = 0.010, 0.013


def resume(audience: Path, sent_before: int, second: Any, folder: Path) -> tuple[float, int]:
    """Return the seconds until the first new request, and how many lines the report then held."""
    stop = Event()
    moments: list[float] = []

    def send(messages: Sequence[Message]) -> SendResult:
        moments.append(time.perf_counter())
        stop.set()
        return accept_all(messages)

    path = folder / "report.jsonl"
    begun = time.perf_counter()
    with ReportFile(path) as report:
        dispatcher = Dispatcher(
            send, STREAM, second(), attempt=2, stop=stop, messages_per_second=UNLIMITED, listener=lines_to(report)
        )
        found = dispatcher.run(read(audience))
    # Every batch in flight at the stop was one of the new ones.
    assert sent_before < found.counts["accepted"] <= sent_before + 16 * 20, found.counts
    return min(moments) - begun, path.read_bytes().count(b"\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipients", type=int, default=100_000)
    count = parser.parse_args().recipients
    missed = False
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        audience = write_audience(folder / "audience.jsonl", count)
        store = MemoryStore()
        tries: list[int] = []

        def slow() -> TaskStateLedger:
            store.get_seconds, store.set_seconds = GET_SECONDS, SET_SECONDS
            tries.append(len(tries) + 2)
            return state_ledger(store, tries[-1])

        sent = itertools.islice(read(audience), count * 9 // 10)
        keys = [key_of(message, STREAM) for _, message in sent]
        fill(state_ledger(store), keys, 20)
        fill(sql_ledger(folder / "ledger.db", "one"), keys, 1000)
        ledgers = {"task state": slow, "SQLite": lambda: sql_ledger(folder / "ledger.db", "two")}
        for name, second in ledgers.items():
            seconds, lines = resume(audience, len(keys), second, folder)
            scratch = TempIndex()
            begun = time.perf_counter()
            known = scratch.load(second().load())
            loading = time.perf_counter() - begun
            scratch.close()
            print(
                f"{name:10}  {seconds:5.2f} s to the first new request, of which about {loading:.2f} s load the ledger"
                f" ({known} keys{f', {len(store.kept)} values' if name == 'task state' else ''}; {lines} lines)",
                flush=True,
            )
            missed = missed or seconds > LIMIT_SECONDS
    print(f"target: at most {LIMIT_SECONDS:g} s: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
