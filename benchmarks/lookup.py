"""
What a look-up in a list of consent costs, from a file and from an indexed table of SQLite, beside a Python set of all.

    python benchmarks/lookup.py [--numbers 20000]

Half of the numbers that are asked for are held. Ends with status 1 where a look-up takes more than 20 µs of processor
time: docs/consent.md speaks of some 10, and machines differ.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.delivery.sql.store import engine_for

LIMIT = 20e-6
GROUP = 2_000


def cost(check: Callable[[list[Any]], Any], asked: list[Any]) -> float:
    """Return processor seconds for each, the best of several groups: others share the machine."""
    found = []
    for start in range(0, len(asked), GROUP):
        group = asked[start : start + GROUP]
        before = time.process_time()
        check(group)
        found.append((time.process_time() - before) / len(group))
    return min(found)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--numbers", type=int, default=20_000)
    asked = [(f"4477{number:08d}", {}) for number in range(options.parse_args().numbers)]
    held = [number for number, _ in asked[::2]]
    known = set(held)
    base = cost(lambda group: [number in known for number, _ in group], asked)
    print(f"set     {base * 1e6:6.2f} µs")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "held.txt")
        file.write_text("\n".join(held))
        database = Path(folder, "held.db")
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE gone (phone BIGINT)")
            connection.executemany("INSERT INTO gone VALUES (?)", [(int(number),) for number in held])
            connection.execute("CREATE UNIQUE INDEX gone_phone ON gone (phone)")
            connection.execute("ANALYZE")
        sources: dict[str, Any] = {"file": str(file), "sqlite": {"table": "gone", "conn_id": "crm"}}
        for name, source in sources.items():
            with Consent(source, connect=lambda _: engine_for(f"sqlite:///{database}")) as consent:
                consent.check(asked[:10])
                found = cost(consent.check, asked)
            worst = max(worst, found)
            print(f"{name:7} {found * 1e6:6.2f} µs, {found / base:.0f} times as much")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
