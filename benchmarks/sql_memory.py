"""
Peak memory of delivering 1,000 rows and many more of a PostgreSQL query, with ledger and report.

    python benchmarks/sql_memory.py [--rows 200000]

Starts a PostgreSQL of its own. Each count and driver in a fresh process, by VmHWM. Nothing is sent over HTTP: a stub
accepts every message at once. The task state ledger writes to files, so that the store itself takes no memory of the
process, as in Airflow. Ends with status 1 where the peak grows by 40 MB or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path

from _common import LEDGERS, LIMIT_MB, STREAM, UNLIMITED, accept_all, grows_too_much, peak_megabytes, read

from airflow_provider_cirrus.delivery.audience.sql_rows import Query
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile

# Airflow's PostgreSQL hook uses psycopg with SQLAlchemy 2, psycopg2 with SQLAlchemy 1.4.
DRIVERS = ("psycopg", "psycopg2")


def one(uri: str, count: int, driver: str) -> int:
    """Deliver so many rows in this process; print the peak."""
    with tempfile.TemporaryDirectory() as place, closing(import_module(driver).connect(uri)) as connection:
        ledger = LEDGERS["task state"](Path(place))
        begun = time.perf_counter()
        with ReportFile(Path(place) / "report.jsonl") as report:
            dispatcher = Dispatcher(
                accept_all, STREAM, ledger, messages_per_second=UNLIMITED, listener=lines_to(report)
            )
            sent = dispatcher.run(read(Query(connection, "SELECT * FROM orders WHERE place < %s", [count])))
        seconds = time.perf_counter() - begun
        with (Path(place) / "report.jsonl").open("rb") as file:
            lines = sum(1 for _ in file)
    assert (sent.counts["accepted"], sent.total, lines) == (count, count, count), (sent.counts, lines)
    print(json.dumps([peak_megabytes(), seconds]))
    return 0


def fill(uri: str, count: int) -> None:
    """Make the rows, in the database; as ``_common.rows`` makes them."""
    with closing(import_module("psycopg2").connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE orders AS SELECT place, "
            "'447' || lpad((place / 90 * 100 + place % 90)::text, 9, '0') AS phone, "
            "'Name ' || place AS name, 'A-' || lpad(place::text, 7, '0') AS \"order\" "
            f"FROM generate_series(0, {count - 1}) AS place"
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one[0], int(options.one[1]), options.one[2])
    # Late, as it brings pytest, and the measured process is to have none of it.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.postgres import running

    missed = False
    with running() as server:
        uri = server.replace("+psycopg2", "")
        fill(uri, options.rows)
        for driver in DRIVERS:
            missed = (
                grows_too_much(
                    driver, __file__, lambda size, driver=driver: ["--one", uri, str(size), driver], options.rows
                )
                or missed
            )
    print(f"target: less than {LIMIT_MB:.0f} MB more: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
