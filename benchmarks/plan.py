"""
Rows a second of a plan: an audience in JSON Lines through suppression and quiet hours, and what it takes in memory.

    python benchmarks/plan.py [--recipients 200000]

Beside it, in the same run, what reading the same messages alone takes. Ends with status 1 below 25,000 rows a second,
or where a plan takes more than 40 MB beyond what a thousand recipients take.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from _common import COLUMNS, COMMON, STREAM, read, rows, write_audience

from airflow_provider_cirrus.delivery import deliver
from airflow_provider_cirrus.delivery.options import Rules

LIMIT, MEGABYTES = 25_000, 40


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def planned(path: Path, rules: Rules) -> float:
    start = time.perf_counter()
    messages, _ = deliver.messages_of(COMMON, audience=str(path), columns=COLUMNS, rules=rules)
    deliver.plan(messages, STREAM, rules=rules)
    return time.perf_counter() - start


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--recipients", type=int, default=200_000)
    count = options.parse_args().recipients
    with tempfile.TemporaryDirectory() as folder:
        suppressed = Path(folder) / "out.txt"
        suppressed.write_text("\n".join(row["phone"] for row in rows(1_000)))
        few, many = (write_audience(Path(folder) / f"{size}.jsonl", size) for size in (1_000, count))
        ruled = Rules(suppression=str(suppressed), quiet_hours={"start": "21:00", "end": "08:00"})
        planned(few, ruled)
        before = peak()
        start = time.perf_counter()
        for _ in read(many):
            pass
        reading = time.perf_counter() - start
        plain, with_rules = planned(many, Rules()), planned(many, ruled)
        grown = peak() - before
    print(f"reading alone   {count / reading:10,.0f} rows/s")
    print(f"a plan          {count / plain:10,.0f} rows/s")
    print(f"with rules      {count / with_rules:10,.0f} rows/s")
    print(f"memory          {grown:+10.1f} MB beyond 1,000 recipients")
    return int(count / with_rules < LIMIT or grown > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
