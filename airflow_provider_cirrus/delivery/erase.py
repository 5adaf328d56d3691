"""Forgetting a person: everything that the tables of a database hold under the hash of a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.api.phone import other_spelling, to_digits
from airflow_provider_cirrus.delivery.contact_checks.store import erase_checks
from airflow_provider_cirrus.delivery.ledger.base import person_of
from airflow_provider_cirrus.delivery.ledger.sql import LEDGER_TABLES, count_unattributed, erase_messages
from airflow_provider_cirrus.delivery.rules.daily_budget_store import erase_places
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import erase_slots
from airflow_provider_cirrus.delivery.sql.store import transaction

_ERASED: dict[str, tuple[str, Callable[[Connection, str], int]]] = {
    "messages": ("cirrus_ledger", erase_messages),
    "slots": ("cirrus_cap_places", erase_slots),
    "budget": ("cirrus_budget_places", erase_places),
    "checks": ("cirrus_checks", erase_checks),
}


def erase(engine: Engine, number: Any) -> dict[str, int]:
    """
    Delete what is remembered of a person: messages in the ledger, slots under frequency caps and in daily
    budgets, contact checks.

    Tables that are not there are left out; none is made. Afterwards nothing tells that the person was messaged: see
    docs/privacy.md for what that means for a task that is retried or cleared.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param number: the person's number, as :func:`~airflow_provider_cirrus.api.phone.to_digits` reads it; both
        spellings of one account are found
    :return: the numbers of rows that were deleted, as ``messages``, ``slots``, ``budget`` and ``checks``; and, as
        ``unattributed_messages``, the messages that stay as they do not say whose they are
    :raises InvalidInput: no number
    :raises LedgerError: nothing was deleted, or it is not known to be
    """
    digits = to_digits(number, "number")
    # An Argentine number is one account in either spelling, as far as WhatsApp is concerned.
    other = other_spelling(digits) if digits.startswith("54") else None
    persons = {person_of(one).hex() for one in (digits, other) if one is not None}

    consequence = "nothing was erased"
    there = transaction(engine, lambda connection: set(sa.inspect(connection).get_table_names()), consequence)
    if "cirrus_ledger" in there:
        # Where only earlier versions have written, its rows have no column yet that says whose they are.
        LEDGER_TABLES.open(engine, create=True)

    def work(connection: Connection) -> dict[str, int]:
        erased = {
            name: sum(delete(connection, person) for person in persons) if table in there else 0
            for name, (table, delete) in _ERASED.items()
        }
        return {**erased, "unattributed_messages": count_unattributed(connection) if "cirrus_ledger" in there else 0}

    return transaction(engine, work, consequence)
