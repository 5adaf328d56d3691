"""
What it costs that a send can be watched and steered.

    python benchmarks/steering.py [--seconds 20] [--pairs 3]

The same audience is delivered to a sandbox in a process of its own at 80 messages a second, in turns without anybody
who could steer it, and with both places in which somebody could: a table beside the ledger, and a store such as
Airflow's. Told is how much of a processor a run takes beside what it took, how many bytes a word on progress has, and
how many there were. Airflow's own share, a call of its API server every two seconds and one more every five, is not in
it. Ends with status 1 above 1 % of a processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from _common import COLUMNS, COMMON, STREAM, client, read_audience, sandbox, sql_ledger, write_audience

from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.engine.helm import NOBODY_LOOKS, Oversight
from airflow_provider_cirrus.delivery.steering.sql import SqlSteering
from airflow_provider_cirrus.delivery.steering.state import PROGRESS, StateSteering
from airflow_provider_cirrus.delivery.steering.wish import Together

LIMIT = 0.01


class Store(dict[str, Any]):
    """What Airflow's keeps, and how often it was told."""

    told = 0

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self.told += 1
        self[key] = json.dumps(value)


def processor_seconds(url: str, audience: Path, folder: Path, count: int, store: Store | None) -> float:
    ledger = sql_ledger(folder / "ledger.db")
    oversight = NOBODY_LOOKS
    if store is not None:
        places = [SqlSteering(ledger.engine, "dag/run/task"), StateSteering(store, timedelta.max)]
        oversight = Oversight(steering=Together(places))
    with client(url, 16) as cirrus:
        dispatcher = Dispatcher(cirrus.send, STREAM, ledger, messages_per_second=80, oversight=oversight)
        begun = time.process_time()
        found = dispatcher.run(read_audience(str(audience), COLUMNS, COMMON))
        took = time.process_time() - begun
    assert found.counts["accepted"] == count, found.counts
    return took


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    count = 80 * options.seconds
    ratios = []
    store = Store()
    with sandbox() as url, tempfile.TemporaryDirectory() as place:
        audience = write_audience(Path(place) / "audience.jsonl", count)
        # What is imported late is not what is asked here.
        for warm in (None, Store()):
            with tempfile.TemporaryDirectory() as folder:
                short = write_audience(Path(folder) / "few.jsonl", 10)
                processor_seconds(url, short, Path(folder), 10, warm)
        for _ in range(options.pairs):
            took = []
            for one in (None, store):
                with tempfile.TemporaryDirectory() as folder:
                    took.append(processor_seconds(url, audience, Path(folder), count, one))
            ratios.append((took[1] - took[0]) / options.seconds)
            print(f"{count} messages at 80/s: {took[0]:.2f} s of a processor, steered {took[1]:.2f} s", flush=True)
    size = len(store[PROGRESS])
    added = statistics.median(ratios)
    print(f"{added:+.2%} of a processor; {store.told} words of {size} bytes in {options.pairs} runs")
    return int(added > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
