"""
Peak memory of delivering 1,000 recipients and many more from a JSON Lines file, with ledger and report.

    python benchmarks/memory.py [--recipients 200000]

Each count in a fresh process, by VmHWM. Nothing is sent over HTTP: a stub accepts every message at once. The task
state ledger writes to files, so that the store itself takes no memory of the process, as in Airflow.
Ten million take some twenty-five minutes. Ends with status 1 where the peak grows by 40 MB or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from _common import (
    LEDGERS,
    LIMIT_MB,
    STREAM,
    UNLIMITED,
    accept_all,
    grows_too_much,
    peak_megabytes,
    read,
    write_audience,
)

from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile


def one(count: int, name: str) -> int:
    """Deliver to so many in this process; print the peak."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        audience = write_audience(folder / "audience.jsonl", count)
        ledger = LEDGERS[name](folder)
        begun = time.perf_counter()
        with ReportFile(folder / "report.jsonl") as report:
            dispatcher = Dispatcher(
                accept_all, STREAM, ledger, messages_per_second=UNLIMITED, listener=lines_to(report)
            )
            sent = dispatcher.run(read(audience))
        seconds = time.perf_counter() - begun
        with (folder / "report.jsonl").open("rb") as file:
            lines = sum(1 for _ in file)
    assert (sent.counts["accepted"], sent.total, lines) == (count, count, count), (sent.counts, lines)
    print(json.dumps([peak_megabytes(), seconds]))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipients", type=int, default=200_000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(int(options.one[0]), options.one[1])
    missed = False
    for name in LEDGERS:
        missed = (
            grows_too_much(name, __file__, lambda size, name=name: ["--one", str(size), name], options.recipients)
            or missed
        )
    print(f"target: less than {LIMIT_MB:.0f} MB more: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
