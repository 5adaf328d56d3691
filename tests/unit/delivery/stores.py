"""A state store for tests: what Airflow's keeps, without an Airflow."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.task_state import USUAL, Sizes, StateStore, TaskStateLedger


class Store(dict[str, Any]):
    """JSON values under short ASCII keys; ``tries`` counts those that were opened by :func:`next_try`."""

    tries = 0

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        assert key.isascii()
        assert len(key) < 64
        assert value is not None
        assert retention is timedelta.max, "what is not kept for ever is lost after a month"
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


def opened(store: StateStore, try_number: int = 1, *, sizes: Sizes = USUAL, **task: Any) -> TaskStateLedger:
    """Return the ledger of a try, opened."""
    ledger = TaskStateLedger(store, sizes=sizes)
    ledger.open(TaskTry(try_number, **task))
    return ledger


def next_try(store: Store) -> TaskStateLedger:
    """Return the ledger of the next try of the task, opened."""
    store.tries += 1
    return opened(store, store.tries, retries=100, max_tries=100)


def left_in(store: Store) -> dict[bytes, Entry]:
    """Return what a try would find that began now, without taking the store over."""
    return dict(opened(Store(store), store.tries + 1, retries=100, max_tries=100).load())
