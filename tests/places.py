"""Places under a frequency cap and in a daily budget, each taken in a transaction of its own, as no send does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy.engine import Connection

from airflow_provider_cirrus.delivery.ledger.fence import Fence
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.store import SqlStore

_T = TypeVar("_T")


def claim(
    caps: FrequencyCapStore, cap: FrequencyCap, wanted: Sequence[tuple[bytes, bytes]], category: str | None = None
) -> set[bytes]:
    """Take a slot for each message; return the keys of those that must not be sent."""
    refused = _fenced(caps, caps._fence, lambda connection: caps.claim(connection, cap, wanted, category))
    caps.remember_window(cap)
    caps.tidy()
    return refused


def spend(
    people: DailyBudgetStore, budget: DailyBudget, name: str, wanted: Sequence[tuple[bytes, bytes]]
) -> Mapping[bytes, float]:
    """Take a place for each person; return the keys of the messages that must wait, and until when."""
    waiting = _fenced(people, people._fence, lambda connection: people.claim(connection, budget, name, wanted))
    people.tidy(name)
    return waiting


def release(caps: FrequencyCapStore, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Give back the slots of messages that were certainly not sent."""
    _fenced(caps, caps._fence, lambda connection: caps.release(connection, messages))


def unspend(people: DailyBudgetStore, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Give back the places in a budget of messages that were certainly not sent."""
    _fenced(people, people._fence, lambda connection: people.release(connection, messages))


def _fenced(store: SqlStore, fence: Fence | None, work: Callable[[Connection], _T]) -> _T:
    def fenced(connection: Connection) -> _T:
        if fence is not None:
            fence.hold(connection)
        return work(connection)

    return store._transaction(fenced)
