"""
What the rules of consent cost: opt-in by SQL, suppression by file, quiet hours and a frequency cap, all at once.

    python benchmarks/rules.py [--recipients 10000] [--rate 1000] [--memory]

The same audience is delivered to a sandbox in a process of its own, once without rules and once with all four; the
ledger is SQLite in both, as a cap needs one. At ``--rate`` messages a second, and once more as fast as it goes.
1,000 a second is the most that WhatsApp allows a number. Everybody passes every rule, so that both runs send the
same. Ends with status 1 where the rules add 30 % or more to the run at the rate, or more than 60 % to the other one;
``--memory`` instead compares the peak memory of 1,000 recipients and of ``--recipients``, with sending stubbed.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import requests
from _common import (
    COLUMNS,
    COMMON,
    LIMIT_MB,
    STREAM,
    UNLIMITED,
    accept_all,
    client,
    grows_too_much,
    peak_megabytes,
    read_audience,
    rows,
    sandbox,
    sql_ledger,
    write_audience,
)

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.delivery.contact_lists.spec import SqlNumbers
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.rules.policy import NO_RULES, Policy
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
from airflow_provider_cirrus.delivery.sql.store import engine_for

LIMIT, LIMIT_UNLIMITED = 0.30, 0.60
SEND: Any = Callable[[Sequence[Message]], SendResult]


def prepare(folder: Path, count: int) -> Path:
    """Write the audience, who agreed, and who wants nothing: as many others."""
    with closing(sqlite3.connect(folder / "crm.db")) as crm:
        crm.execute("CREATE TABLE consents (phone TEXT PRIMARY KEY, agreed_at TEXT)")
        crm.executemany("INSERT INTO consents VALUES (?, '2026-01-02')", ((row["phone"],) for row in rows(count)))
        crm.commit()
    with (folder / "stop.txt").open("w") as stop:
        stop.writelines(f"33{place:09d}\n" for place in range(600_000_000, 600_000_000 + count))
    return write_audience(folder / "audience.jsonl", count)


@contextmanager
def all_rules(folder: Path, ledger: SqlLedger) -> Any:
    now = time.gmtime()
    with ExitStack() as opened:
        consent = opened.enter_context(
            Consent(
                SqlNumbers("SELECT phone, agreed_at FROM consents", "crm", time_column="agreed_at"),
                folder / "stop.txt",
                connect=lambda conn_id: engine_for(f"sqlite:///{folder / conn_id}.db", is_ours=False),
            )
        )
        slots = FrequencyCapStore.beside(ledger)
        opened.callback(slots.close)
        # Twelve hours from now, wherever in Britain a number is: decided for everybody, and never quiet.
        quiet = QuietHours(f"{(now.tm_hour + 11) % 24:02d}:00", f"{(now.tm_hour + 13) % 24:02d}:00")
        yield Policy(consent=consent, quiet_hours=quiet, cap=FrequencyCap(3, days=7), slots=slots)


def deliver(send: SEND, audience: Path, folder: Path, rate: float, with_rules: bool) -> float:
    """Deliver the audience; return the seconds, with what it takes to open the rules."""
    count = sum(1 for _ in audience.open())
    begun = time.perf_counter()
    ledger = sql_ledger(folder / "ledger.db")
    with all_rules(folder, ledger) if with_rules else nullcontext(NO_RULES) as policy:
        dispatcher = Dispatcher(send, STREAM, ledger, messages_per_second=rate, policy=policy)
        found = dispatcher.run(read_audience(str(audience), COLUMNS, COMMON))
    assert found.counts["accepted"] == count, found.counts
    return time.perf_counter() - begun


def compare(count: int, rate: float, url: str) -> float:
    """Return by how much the rules lengthen a run."""
    seconds = {}
    with client(url, 16) as cirrus:
        for with_rules in (False, True):
            requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
            with tempfile.TemporaryDirectory() as place:
                audience = prepare(Path(place), count)
                seconds[with_rules] = deliver(cirrus.send, audience, Path(place), rate, with_rules)
    said = "as fast as it goes" if rate == UNLIMITED else f"at {rate:.0f} messages/s"
    added = seconds[True] / seconds[False] - 1
    print(
        f"{count} recipients {said}: {seconds[False]:.1f} s without rules, {seconds[True]:.1f} s with: {added:+.1%}",
        flush=True,
    )
    return added


def one(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        audience = prepare(Path(place), count)
        seconds = deliver(accept_all, audience, Path(place), UNLIMITED, True)
    print(json.dumps([peak_megabytes(), seconds]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipients", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.recipients)
        return 0
    if options.memory:
        missed = grows_too_much(
            "all rules", __file__, lambda size: ["--recipients", str(size), "--one"], options.recipients
        )
        print(f"target: less than {LIMIT_MB:.0f} MB more: {'missed' if missed else 'met'}")
        return int(missed)
    with sandbox() as url:
        missed = compare(options.recipients, options.rate, url) >= LIMIT
        missed_unlimited = compare(options.recipients, UNLIMITED, url) > LIMIT_UNLIMITED
    print(f"target: less than {LIMIT:.0%} more at {options.rate:.0f} messages/s: {'missed' if missed else 'met'}")
    print(f"target: at most {LIMIT_UNLIMITED:.0%} more without a limit: {'missed' if missed_unlimited else 'met'}")
    return int(missed or missed_unlimited)


if __name__ == "__main__":
    sys.exit(main())
