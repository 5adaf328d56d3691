"""What a database says when it fails: whether time alone may mend it, and how to say it."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable

# The server rolled it back because of others, so it may be repeated: PostgreSQL's states, MySQL's numbers.
_ROLLED_BACK = {"40P01", "40001", 1213, 1205}
# What time alone may mend, by the beginning of PostgreSQL's states: connections, lost races, resources, locks that are
# not to be had, cancelled or shut down by its administrator, the machine. Read-only: a standby, before a failover.
_RETRYABLE_STATES = ("08", "40", "53", "55P03", "57", "58", "25006", "25P03")
# The same as numbers of MySQL and MariaDB, those of their clients included: too many connections, shut down, out of
# memory or disk, a broken network, lock waits, killed, read-only before a failover, a cluster that is not ready.
_RETRYABLE_NUMBERS = {
    *(1021, 1037, 1038, 1040, 1041, 1047, 1053, 1077, 1078, 1079, 1080, 1129, 1152, 1158, 1159, 1160, 1161, 1180, 1184),
    *(1203, 1205, 1213, 1226, 1290, 1317, 1792, 1836, 1927, 1969, 3024, 3032, 3100, 3101, 3572, 4031),
    *(2002, 2003, 2006, 2012, 2013, 2014, 2055),
}
# The same as codes of SQLite: busy, locked, out of memory, interrupted, the disk, a folder that cannot be opened.
_RETRYABLE_CODES = {5, 6, 7, 9, 10, 13, 14, 15}
# A PostgreSQL that refuses a log-in gives no state, only words.
_REFUSED_LOGIN = re.compile(
    r"authentication failed|pg_hba\.conf|does not exist|no password supplied|not permitted to log in"
)


def may_pass(error: SQLAlchemyError) -> bool:
    """
    Return whether time alone may mend what a database refused, such as its restart, and not what is asked of it.

    It errs towards yes: to be asked again costs little.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeout)
    cause: Any = error.orig
    state, number = _state_and_number(error)
    if state is not None:
        return state.startswith(_RETRYABLE_STATES)
    if isinstance(cause, sqlite3.Error):
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _RETRYABLE_CODES or "locked" in str(cause)
    if number is not None and number != 0:
        return number in _RETRYABLE_NUMBERS
    # Without a number the driver speaks, not the server: there is no connection.
    is_away = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return is_away and not _REFUSED_LOGIN.search(str(cause))


def _state_and_number(error: DBAPIError) -> tuple[str | None, int | None]:
    """Return PostgreSQL's state of an error, and MySQL's number."""
    cause: Any = error.orig
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    first = cause.args[0] if cause is not None and cause.args else None
    return (state if isinstance(state, str) else None), (first if isinstance(first, int) else None)


def was_rolled_back(error: SQLAlchemyError) -> bool:
    """Return whether the server rolled a transaction back because of others, so that it may be repeated."""
    if not isinstance(error, DBAPIError):
        return False
    locked = isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)
    return locked or not _ROLLED_BACK.isdisjoint(_state_and_number(error))


def store_error(error: SQLAlchemyError, consequence: str) -> LedgerError:
    """
    Return our error for a database's.

    :param consequence: what follows from it, for people
    """
    passes = may_pass(error)
    return (LedgerUnavailable if passes else LedgerError)(
        f"The ledger's database {'does not answer' if passes else 'failed'} ({cause_of(error)}), so {consequence}.",
        hint="See that the database of ledger_conn_id can be reached and written to, then let the task retry.",
    )


def cause_of(error: SQLAlchemyError) -> str:
    """Say what a database's error was: its first line only, as what follows may quote the statement."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0][:200]}"
