"""
What was sent, remembered beyond the process that sent it: ``base`` says what a ledger is, the others are kinds of it.

To add a kind, write a class with the methods of :class:`~.base.Ledger` in a module of its own, and let
``hooks/ledger.py`` choose it. The SQL ledger is not imported here, as SQLAlchemy takes its time.
"""

from airflow_provider_cirrus.delivery.errors import (
    LedgerError,
    LedgerFull,
    LedgerIncomplete,
    LedgerSuperseded,
    LedgerUnavailable,
)
from airflow_provider_cirrus.delivery.ledger.base import (
    INTERRUPTED,
    KEY_BYTES,
    NOBODY,
    Claims,
    Entry,
    Ledger,
    TaskTry,
    is_global,
    key_of,
    person_of,
)

__all__ = [
    "INTERRUPTED",
    "KEY_BYTES",
    "NOBODY",
    "Claims",
    "Entry",
    "Ledger",
    "LedgerError",
    "LedgerFull",
    "LedgerIncomplete",
    "LedgerSuperseded",
    "LedgerUnavailable",
    "TaskTry",
    "is_global",
    "key_of",
    "person_of",
]
