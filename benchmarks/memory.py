"""
Peak memory of delivering 1,000 recipients and many more from a JSON Lines file, with ledger and report.

    python benchmarks/memory.py [--recipients 200000]

Each count in a fresh process, by VmHWM. Nothing is sent over HTTP: a stub accepts every message at once. The task
state ledger writes to files, so that the store itself takes no memory of the process, as in Airflow.
A million take about a quarter of an hour on a busy machine. Ends with status 1 where the peak grows by 40 MB or more.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import LEDGERS, STREAM, UNLIMITED, accept_all, read, write_audience

from airflow_provider_cirrus.delivery.dispatch import Dispatcher
from airflow_provider_cirrus.delivery.report import lines_to
from airflow_provider_cirrus.delivery.report_file import ReportFile

SMALL = 1_000
LIMIT_MB = 40.0


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
    # Not ru_maxrss, which a child inherits from its parent.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]
    print(json.dumps([peak, seconds]))
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
        found = []
        for count in (SMALL, options.recipients):
            argv = [sys.executable, __file__, "--one", str(count), name]
            done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        (before, _), (after, seconds) = found
        grown = after - before
        print(
            f"{name:10}  {before:6.1f} MB for {SMALL:,}, {after:6.1f} MB for {options.recipients:,}: "
            f"{grown:+.1f} MB; {seconds:.0f} s (sending is a stub)",
            flush=True,
        )
        missed = missed or grown >= LIMIT_MB
    print(f"target: less than {LIMIT_MB:.0f} MB more: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
