"""
How large a ledger gets, and how long it takes to look after it.

    python benchmarks/prune.py [--messages 1000000] [--uri postgresql://...]

A ledger of so many accepted messages, half of them old, in a SQLite file or in the database that is named: bytes a
message, rows a second of ``airflow cirrus ledger prune``, and the longest that one of its transactions kept others
waiting, measured by a task that goes on writing meanwhile. What 100 million rows come to is told beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, is_global
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.maintenance import prune, stats
from airflow_provider_cirrus.delivery.sql.store import engine_for

DAY, PART = 86_400, 1_000


def key(number: int) -> bytes:
    # As hashes are: of no order.
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") + number.to_bytes(3, "big") + b"\0"


def ledger_of(uri: str, task: str) -> SqlLedger:
    made = SqlLedger(engine_for(uri), task, "try1", is_global=is_global)
    made.open(TaskTry())
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--uri")
    options = parser.parse_args()
    now = time.time()
    with tempfile.TemporaryDirectory() as folder:
        uri = options.uri or f"sqlite:///{Path(folder) / 'ledger.db'}"
        tasks = [ledger_of(uri, f"dag/{age}/send") for age in ("old", "new")]
        for place in range(0, options.messages, PART):
            ledger, age = (tasks[0], 100) if place % (2 * PART) else (tasks[1], 1)
            keys = [key(place + n) for n in range(PART)]
            ledger.commit(keys, [], {one: one + b"0000" for one in keys})
            entry = Entry(
                Outcome.ACCEPTED, "wamid.HBgMNDQ3NzAwOTAwMTAxFQIAERgSMDEyMzQ1", None, None, None, 1, now - age * DAY
            )
            ledger.commit([], [(one, entry) for one in keys])
        found = stats(tasks[0].engine)
        each = found["bytes"] / options.messages
        print(f"bytes a message      {each:10.0f}: 100 million are {each * 100_000_000 / 1e9:.0f} GB")
        longest, done = 0.0, threading.Event()

        def go_on() -> None:
            nonlocal longest
            busy, number = ledger_of(uri, "dag/busy/send"), options.messages
            while not done.wait(0.05):
                begun = time.perf_counter()
                busy.commit([key(number := number + 1)], [])
                longest = max(longest, time.perf_counter() - begun)

        thread = threading.Thread(target=go_on)
        thread.start()
        begun = time.perf_counter()
        gone = prune(tasks[0].engine, 30)["messages"]
        took = time.perf_counter() - begun
        done.set()
        thread.join()
        rows = options.messages / took
        minutes = 100_000_000 / rows / 60
        print(f"prune, half is old   {rows:10,.0f} rows/s ({gone:,} deleted): 100 million in {minutes:.0f} min")
        print(f"a write meanwhile    {longest:10.2f} s at most")
        begun = time.perf_counter()
        prune(tasks[0].engine, 30)
        rows = (options.messages - gone) / (time.perf_counter() - begun)
        print(f"prune, nothing old   {rows:10,.0f} rows/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
