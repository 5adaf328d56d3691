"""The book of a stream's rate in a database: one small transaction for each question."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.delivery.shared_rate.book import FREE, Lease, Pace, renewed
from airflow_provider_cirrus.delivery.sql.statements import execute_many, upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, SqlStore, Tables, scope_of

_metadata = sa.MetaData()
# One row a stream, to be locked: whoever holds it alone shares out.
_streams = sa.Table(
    "cirrus_rates",
    _metadata,
    sa.Column("stream", sa.CHAR(32), primary_key=True),
    sa.Column("rate", sa.Float(53)),
    sa.Column("since", sa.Float(53), nullable=False),
    sa.Column("not_before", sa.Float(53), nullable=False),
    # Whatever is written there: a row that an upsert leaves as it is would not be locked everywhere.
    sa.Column("turn", sa.CHAR(32), nullable=False),
    **MYSQL,
)
_leases = sa.Table(
    "cirrus_rate_leases",
    _metadata,
    sa.Column("stream", sa.CHAR(32), primary_key=True),
    sa.Column("holder", sa.CHAR(32), primary_key=True),
    sa.Column("per_second", sa.Integer, nullable=False),
    sa.Column("demand", sa.Integer, nullable=False),
    sa.Column("granted", sa.Integer, nullable=False),
    sa.Column("asked_at", sa.Float(53), nullable=False),
    # As JSON: a few pairs.
    sa.Column("held", sa.String(1000), nullable=False),
    sa.Column("served_at", sa.Float(53), nullable=False),
    **MYSQL,
)

RATE_TABLES = Tables("rates", (_streams, _leases), "shared rates")

# The database's own clock, in Unix seconds: those of the workers need not agree.
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(sysdate(6))",
}
_MOST = 2**31 - 1


class SharedRateStore(SqlStore):
    """
    One task's part of a stream's rate.

    :param engine: such as :func:`~..sql.store.engine_for` returns
    :param stream: whose rate it is: what tells it from those of other accounts
    :param per_second: messages a second of the stream, for all
    :param own: messages a second that this task may send at most
    :param create: create the tables where they are missing
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES = RATE_TABLES
    CONSEQUENCE = "nothing leaves meanwhile"

    def __init__(
        self, engine: Engine, stream: str, per_second: float, own: float = math.inf, *, create: bool = True
    ) -> None:
        super().__init__(engine, create=create)
        self._stream = scope_of(f"rate {stream}")
        self._limit = max(1, int(min(per_second, _MOST)))
        # What one task is held to anyway it cannot use.
        self._own = max(1, math.ceil(min(own, per_second, _MOST)))
        self._holder = uuid.uuid4().hex
        self._clock = sa.text(_NOW["mysql" if self._dialect == "mariadb" else self._dialect])
        # Made once: to make a statement takes as long as to write a dozen rows.
        self._lock = upsert(_streams, self._dialect, keep=("rate", "since", "not_before"))
        self._write = upsert(_leases, self._dialect)

    def renew(self, demand: int, retry_after: float | None) -> int:
        """
        Return how many messages a second may leave for the next :data:`~.book.VALID` seconds.

        :param demand: how many could
        :param retry_after: seconds for which the server wants nothing, where it has asked for less since the last time
        :raises LedgerUnavailable: the database does not answer; may be repeated
        :raises LedgerError: nobody knows
        """
        return self._transaction(lambda connection: self._renew(connection, min(demand, self._own), retry_after))

    def give_back(self) -> None:
        """Take note that nothing more is sent; what was is counted for another second."""
        self._transaction(lambda connection: self._renew(connection, 0, None))

    def _renew(self, connection: Connection, demand: int, retry_after: float | None) -> int:
        blank = {"stream": self._stream, "rate": None, "since": 0.0, "not_before": 0.0, "turn": self._holder}
        execute_many(connection, self._lock, [blank])
        now = float(connection.scalar(self._clock) or 0.0)
        row = connection.execute(sa.select(_streams).where(_streams.c.stream == self._stream)).one()
        pace = Pace(row.rate, row.since, row.not_before)
        if retry_after is not None:
            pace = pace.slowed(self._limit, retry_after, now)
            changed = {"rate": pace.rate, "since": pace.since, "not_before": pace.not_before}
            connection.execute(sa.update(_streams).where(_streams.c.stream == self._stream).values(changed))
        found = connection.execute(sa.select(_leases).where(_leases.c.stream == self._stream)).all()
        leases = {one.holder: _lease(one) for one in found}
        new = Lease(self._holder, self._limit, demand, 0, now, (), now)
        mine = leases.pop(self._holder, new)
        if mine.is_dead(now):
            # It did not come through for so long that its part went to others.
            mine = new
        made = renewed(replace(mine, limit=self._limit, demand=demand), leases.values(), pace, now)
        execute_many(connection, self._write, [self._row(made)])
        if gone := [one.holder for one in leases.values() if abs(now - one.asked_at) > 10 * FREE]:
            dead = (_leases.c.stream == self._stream, _leases.c.holder.in_(gone))
            connection.execute(sa.delete(_leases).where(*dead))
        return made.granted

    def _row(self, lease: Lease) -> dict[str, Any]:
        return {
            "stream": self._stream,
            "holder": lease.holder,
            "per_second": lease.limit,
            "demand": lease.demand,
            "granted": lease.granted,
            "asked_at": lease.asked_at,
            "held": json.dumps(lease.held),
            "served_at": lease.served_at,
        }


def _lease(row: Any) -> Lease:
    return Lease(
        row.holder,
        row.per_second,
        row.demand,
        row.granted,
        row.asked_at,
        tuple((int(granted), float(until)) for granted, until in json.loads(row.held)),
        row.served_at,
    )


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the tables.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return RATE_TABLES.ddl(dialect_name)
