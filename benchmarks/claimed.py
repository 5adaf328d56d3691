"""
How many messages a second pass of which there is nothing to send: settled by an earlier try, or held by another task.

    python benchmarks/claimed.py [--messages 100000]

The limit is one message a second, so whatever took its turn under it would be seen; the ledger is SQLite. The messages
are ready made, and no report is written: what is measured is Dispatcher.run, with what it takes to load the ledger. How
long the same takes from a JSON Lines file is shown, too. Ends with status 1 below 20,000 messages a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from _common import COMMON, STREAM, fill, sql_ledger, write_audience

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.ledger.base import key_of

TARGET = 20_000
# With a message_key, by which other tasks hold a message, and without one.
KEYED = Columns(to="phone", body=("name", "order"), key="order")
PLAIN = Columns(to="phone", body=("name", "order"))


def nothing(messages: Sequence[Message]) -> SendResult:
    raise AssertionError("a message was sent")


def passed(ledger: Any, audience: Iterable[Any], count: int, outcome: str) -> float:
    """Return the messages a second that pass."""
    found = Dispatcher(nothing, STREAM, ledger, messages_per_second=1).run(audience)
    assert found.counts[outcome] == count, found.counts
    return count / found.seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    count = parser.parse_args().messages
    missed = False
    with tempfile.TemporaryDirectory() as place:
        path = write_audience(Path(place) / "audience.jsonl", count)
        for name, columns, other, outcome in (
            ("settled", PLAIN, "dag/run/task", "accepted"),
            ("claimed", KEYED, "dag/another run/task", "duplicate"),
        ):

            def from_file(columns: Columns = columns) -> Iterable[Any]:
                return read_audience(str(path), columns, COMMON)

            made = list(from_file())
            file = Path(place) / f"{name}.db"
            fill(sql_ledger(file, "one", other), [key_of(message, STREAM) for _, message in made], 1000)
            rate = passed(sql_ledger(file, "two"), made, count, outcome)
            read = passed(sql_ledger(file, "three"), from_file(), count, outcome)
            print(f"{name}  {rate:7.0f} messages/s ready made, {read:7.0f} from a file", flush=True)
            missed = missed or rate < TARGET
    print(f"target: at least {TARGET:,} messages/s, ready made: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
