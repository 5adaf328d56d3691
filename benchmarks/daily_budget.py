"""
What a daily budget costs, and whether it costs more the more people it was spent on.

    python benchmarks/daily_budget.py [--people 1000000] [--uri postgresql://...]

Commits of 20 messages each, to as many other people, in a SQLite file or in the database that is named: without a
budget and with one, in turns; with nobody in the budget, and once more with ``--people`` in it. Ends with status 1
where what the budget adds is more than four times as much then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from prune import key, ledger_of

from airflow_provider_cirrus.delivery.ledger.base import person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.policy import NO_RULES, Policy

LIMIT, COMMITS, BATCH, PART = 4.0, 300, 20, 1_000


class Audience:
    """People of whom none was messaged before."""

    def __init__(self) -> None:
        self._next = 0

    def commit(self, ledger: SqlLedger, policy: Policy, size: int) -> float:
        """Record that so many are about to be messaged; return the seconds."""
        numbers = range(self._next, self._next + size)
        self._next += size
        persons = {key(number): person_of(f"33{600_000_000 + number}") for number in numbers}
        begun = time.perf_counter()
        refused = ledger.commit(list(persons), [], persons, policy.claims(list(persons), persons))
        took = time.perf_counter() - begun
        assert not refused
        return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--uri")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = ledger_of(options.uri or f"sqlite:///{Path(folder) / 'ledger.db'}", "dag/budget/send")
        budget, everybody = DailyBudget(10 * options.people), Audience()
        policy = Policy(budget=(budget, "all"), people=DailyBudgetStore.beside(ledger))
        added = []
        for people in (0, options.people):
            for _ in range(0, people, PART):
                everybody.commit(ledger, policy, PART)
            if ledger.engine.dialect.name == "postgresql":
                # As it does by itself within a minute or two; until then it takes everybody for the same person.
                with ledger.engine.begin() as connection:
                    connection.exec_driver_sql("ANALYZE")
            took: dict[Policy, list[float]] = {NO_RULES: [], policy: []}
            for _ in range(COMMITS):
                for which, seconds in took.items():
                    seconds.append(everybody.commit(ledger, which, BATCH))
            without, with_budget = (1000 * statistics.median(seconds) for seconds in took.values())
            added.append(with_budget - without)
            took_each = f"{without:.2f} ms without, {with_budget:.2f} ms with it"
            print(f"{people:>9,} people in the budget: a commit takes {took_each}", flush=True)
        ledger.engine.dispose()
    grown = added[1] / added[0]
    print(f"target: {options.people:,} people make it at most {LIMIT:.0f} times as much: {grown:.1f}")
    return int(grown > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
