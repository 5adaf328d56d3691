"""Looking after the tables of a database: what is in them, and deleting what is old."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.ledger.sql import LEDGER_TABLES, delete_old, ledger_summary
from airflow_provider_cirrus.delivery.sql.store import transaction

_DAY = 86_400
#: Tables of the provider, in the order in which they are told of.
TABLES = (
    "cirrus_ledger",
    "cirrus_runs",
    "cirrus_cap_places",
    "cirrus_cap_persons",
    "cirrus_budget_places",
    "cirrus_checks",
    "cirrus_notices",
    "cirrus_rate_leases",
    "cirrus_steering",
)
_SIZE = {
    "postgresql": "SELECT pg_total_relation_size(quote_ident(:name)::regclass)",
    "mysql": "SELECT data_length + index_length FROM information_schema.tables "
    "WHERE table_schema = database() AND table_name = :name",
}


def stats(engine: Engine) -> dict[str, Any]:
    """
    Return what is in the tables.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :return: ``{"tables": {name: {"rows": int, "bytes": int | None}}, "bytes": int | None, "messages": {"states":
        {state: int}, "oldest": float | None, "newest": float | None}}``, times in Unix seconds; bytes with indexes, of
        each table where the database tells, and of the whole file of SQLite
    :raises LedgerError: the database does not answer
    """

    def work(connection: Connection) -> dict[str, Any]:
        there = set(sa.inspect(connection).get_table_names())
        tables = {name: _table(connection, name) for name in TABLES if name in there}
        known = [one["bytes"] for one in tables.values() if one["bytes"] is not None]
        whole: int | None = sum(known) if known else None
        if connection.dialect.name == "sqlite":
            pages, size = (connection.exec_driver_sql(f"PRAGMA page_{what}").scalar() for what in ("count", "size"))
            whole = int(pages or 0) * int(size or 0)
        messages = ledger_summary(connection) if "cirrus_ledger" in there else None
        return {"tables": tables, "bytes": whole, "messages": messages}

    return transaction(engine, work, "nothing is known of the tables")


def _table(connection: Connection, name: str) -> dict[str, Any]:
    rows = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name)))
    dialect = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
    size = connection.execute(sa.text(_SIZE[dialect]), {"name": name}).scalar() if dialect in _SIZE else None
    return {"rows": int(rows or 0), "bytes": None if size is None else int(size)}


def prune(
    engine: Engine,
    days: float,
    *,
    with_message_keys: bool = False,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
) -> dict[str, int]:
    """
    Delete messages from the ledger whose last word is older than so many days, in many small transactions.

    A task of which something was deleted refuses to go on after it, as it would message people again, unless it is
    cleared with ``resend``. Messages with a ``message_key`` stay, as others would send them again.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param days: at least 1
    :param with_message_keys: delete those with a ``message_key``, too
    :param dry_run: delete nothing, and say what would be
    :param clock: Unix seconds
    :return: ``{"messages": int, "kept_for_their_key": int, "notices": int}``
    :raises InvalidInput: fewer days
    :raises LedgerError: no ledger there, or the database does not answer
    """
    if not days >= 1:
        raise InvalidInput("days", f"{days:g} is fewer than 1.", hint="A run of yesterday may be retried yet.")
    there = transaction(engine, lambda connection: set(sa.inspect(connection).get_table_names()), "nothing is deleted")
    if "cirrus_ledger" not in there:
        raise LedgerError("There is no ledger in this database.", hint="Name the connection of ledger_conn_id.")
    # Whatever an earlier version lacks in them.
    LEDGER_TABLES.open(engine, create=True)
    before = clock() - days * _DAY
    found = {"messages": 0, "kept_for_their_key": 0, "notices": 0}
    last: str | None = ""
    while last is not None:
        page = transaction(
            engine,
            lambda connection, last=last: delete_old(  # type: ignore[misc]
                connection, last, before, clock(), with_message_keys=with_message_keys, dry_run=dry_run
            ),
            "no more is deleted",
        )
        found["messages"] += page.deleted
        found["kept_for_their_key"] += page.kept
        last = page.last
    if "cirrus_notices" in there:
        found["notices"] = transaction(
            engine, lambda connection: _notices(connection, before, dry_run), "no more is deleted"
        )
    return found


def _notices(connection: Connection, before: float, dry_run: bool) -> int:
    notices = sa.table("cirrus_notices", sa.column("at"))
    is_old = notices.c.at < before
    if dry_run:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(notices).where(is_old)) or 0)
    return int(connection.execute(sa.delete(notices).where(is_old)).rowcount)
