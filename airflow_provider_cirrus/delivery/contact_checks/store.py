"""Which numbers were asked for, and what was answered, over all tasks, runs and DAGs that share a database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.phone import mask
from airflow_provider_cirrus.api.wire import encode_id
from airflow_provider_cirrus.delivery.contact_checks.guard import DEFAULT_BUDGET, DEFAULT_MAX_AGE, SEND_INSTEAD
from airflow_provider_cirrus.delivery.errors import ContactCheckRefused
from airflow_provider_cirrus.delivery.ledger.base import person_of
from airflow_provider_cirrus.delivery.sql.statements import insert_or_ignore, upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, SqlStore, Tables, scope_of

_DAY = 86_400
# Seconds to wait for another task that is asking for the same number, and between two looks.
_PATIENCE = 60.0
_PAUSE = 0.5
# The answer did not come, and will not.
_LOST = -1

_metadata = sa.MetaData()
_checks = sa.Table(
    "cirrus_checks",
    _metadata,
    sa.Column("stream", sa.CHAR(32), primary_key=True),
    sa.Column("person", sa.CHAR(32), primary_key=True),
    sa.Column("owner", sa.CHAR(32), nullable=False),
    sa.Column("asked", sa.Float(53), nullable=False),
    # 1 or 0, or -1 where the answer was lost; empty as long as it may come.
    sa.Column("valid", sa.SmallInteger),
    **MYSQL,
)
# One row a stream, to be locked: whoever holds it alone decides who asks.
_days = sa.Table(
    "cirrus_check_days",
    _metadata,
    sa.Column("stream", sa.CHAR(32), primary_key=True),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("taken", sa.Integer, nullable=False),
    **MYSQL,
)

CHECK_TABLES = Tables("checks", (_checks, _days), "contact checks")


class _NoAnswer(Exception):
    """It was asked, and there is no answer: not yet, or no more."""

    def __init__(self, row: Any) -> None:
        self.owner: str = row.owner
        self.at: float = row.asked
        self.is_lost: bool = row.valid == _LOST


class CheckStore(SqlStore):
    """
    What was asked of numbers on a stream, and what was answered. Numbers are kept as hashes.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param create: create the tables where they are missing
    :param clock: Unix seconds
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES = CHECK_TABLES
    CONSEQUENCE = "nobody is asked for"

    def __init__(self, engine: Engine, *, create: bool = True, clock: Callable[[], float] = time.time) -> None:
        super().__init__(engine, create=create)
        self._clock = clock

    def once(
        self,
        stream_id: str,
        digits: str,
        ask: Callable[[], bool | None],
        *,
        owner: str,
        max_age: float = DEFAULT_MAX_AGE,
        budget: int = DEFAULT_BUDGET,
    ) -> bool:
        """
        Return whether a number is on WhatsApp, by asking if nobody has lately.

        :param stream_id: the encrypted id
        :param digits: the number
        :param ask: asks Cirrus
        :param owner: the same for all tries of one task and no other
        :param max_age: seconds for which an answer, or a question whose answer was lost, holds
        :param budget: numbers that may be asked for on the stream in a day (UTC)
        :raises ContactCheckRefused: the day's budget is used up, or the answer was lost
        :raises LedgerError: it cannot be known who was asked for, so nobody is
        :raises CirrusError: as ``ask`` does
        """
        stream, person, owner = _stream(stream_id), person_of(digits).hex(), scope_of(owner)
        known = self._wait_or_reserve(stream, person, owner, digits, max_age, budget)
        if known is not None:
            return known
        try:
            said = ask()
        except CirrusError as error:
            if error.not_sent:
                # Certainly not asked: the next one may, and the day's budget has one more again.
                self._withdraw(stream, person, owner)
            else:
                self._record(stream, person, owner, _LOST)
            raise
        if said is None:
            self._record(stream, person, owner, _LOST)
            raise ContactCheckRefused(
                f"Cirrus did not decide whether {mask(digits)} is on WhatsApp.", hint=SEND_INSTEAD
            )
        self._record(stream, person, owner, int(said))
        return said

    def answer(self, stream_id: str, digits: str, max_age: float = DEFAULT_MAX_AGE) -> bool | None:
        """
        Return what was answered within ``max_age`` seconds; None where nothing was.

        :raises LedgerError: the database cannot be read
        """
        row = self._transaction(lambda connection: _row(connection, _stream(stream_id), person_of(digits).hex()))
        if row is None or row.valid in (None, _LOST) or row.asked <= self._clock() - max_age:
            return None
        return bool(row.valid)

    def left(self, stream_id: str, budget: int = DEFAULT_BUDGET) -> int:
        """
        Return how many more numbers may be asked for on the stream today (UTC).

        :raises LedgerError: the database cannot be read
        """
        day = int(self._clock() // _DAY)
        query = sa.select(_days.c.taken).where(_days.c.stream == _stream(stream_id), _days.c.day == day)
        return max(0, budget - (self._transaction(lambda connection: connection.scalar(query)) or 0))

    def purge(self, before: float) -> int:
        """
        Delete what was asked before a moment: these numbers may be asked for again.

        :param before: Unix seconds
        :return: the number of numbers
        :raises LedgerError: nothing was deleted
        """
        old = sa.delete(_checks).where(_checks.c.asked < before)
        return int(self._transaction(lambda connection: connection.execute(old).rowcount))

    def _wait_or_reserve(
        self, stream: str, person: str, owner: str, digits: str, max_age: float, budget: int
    ) -> bool | None:
        """Return what is known, after waiting for one that is asking now; None where the caller has to ask."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._transaction(
                    lambda connection: self._reserve(connection, stream, person, owner, max_age, budget)
                )
            except _NoAnswer as found:
                # An earlier try of the same task has ended; one that was killed anywhere can say nothing.
                is_lost = found.is_lost or found.owner == owner or found.at <= self._clock() - _PATIENCE
                if is_lost or time.monotonic() > deadline:
                    raise ContactCheckRefused(
                        f"{mask(digits)} was asked for at {_moment(found.at)}, and the answer is lost: it is not asked "
                        f"for again before {_moment(found.at + max_age)}.",
                        hint=SEND_INSTEAD,
                    ) from None
            time.sleep(_PAUSE)

    def _reserve(
        self, connection: Connection, stream: str, person: str, owner: str, max_age: float, budget: int
    ) -> bool | None:
        now = self._clock()
        today = int(now // _DAY)
        # First a write, so that SQLite never has to turn a read lock into a write lock; it makes and locks the row.
        fresh = {"stream": stream, "day": today, "taken": 0}
        connection.execute(insert_or_ignore(_days, self._dialect), [fresh])
        mine = _days.c.stream == stream
        connection.execute(sa.update(_days).where(mine).values(taken=_days.c.taken))
        row = _row(connection, stream, person)
        if row is not None and row.asked > now - max_age:
            if row.valid in (None, _LOST):
                raise _NoAnswer(row)
            return bool(row.valid)
        found = connection.execute(sa.select(_days.c.day, _days.c.taken).where(mine)).one()
        # A clock that is ahead may have begun the next day already; one that is further ahead is wrong.
        day, taken = (found.day, found.taken) if today <= found.day <= today + 1 else (today, 0)
        if taken >= budget:
            raise ContactCheckRefused(
                f"No more numbers may be asked for on this stream today: its {budget} a day are used up.",
                hint=f"More from {_moment((day + 1) * _DAY)} on. {SEND_INSTEAD} The limit is validations_per_day of "
                "the connection.",
            )
        reserved = {"stream": stream, "person": person, "owner": owner, "asked": now, "valid": None}
        connection.execute(upsert(_checks, self._dialect), [reserved])
        connection.execute(sa.update(_days).where(mine).values(day=day, taken=taken + 1))
        return None

    def _record(self, stream: str, person: str, owner: str, valid: int) -> None:
        """Record the answer; of somebody who was erased meanwhile, nothing."""
        asked = sa.update(_checks).where(*_of(stream, person), _checks.c.owner == owner)
        self._transaction(lambda connection: connection.execute(asked.values(valid=valid)))

    def _withdraw(self, stream: str, person: str, owner: str) -> None:
        today = int(self._clock() // _DAY)

        def work(connection: Connection) -> None:
            # In the order of _reserve, so that two never wait for each other.
            days = _days.c
            mine = sa.update(_days).where(days.stream == stream, days.day >= today, days.taken > 0)
            connection.execute(mine.values(taken=days.taken - 1))
            mine_too = (*_of(stream, person), _checks.c.owner == owner, _checks.c.valid.is_(None))
            connection.execute(sa.delete(_checks).where(*mine_too))

        self._transaction(work)


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the tables.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return CHECK_TABLES.ddl(dialect_name)


def erase_checks(connection: Connection, person: str) -> int:
    """Delete what was asked about a person, on all streams; return on how many."""
    return int(connection.execute(sa.delete(_checks).where(_checks.c.person == person)).rowcount)


def _stream(stream_id: str) -> str:
    return hashlib.blake2b(encode_id(stream_id).encode(), digest_size=16).hexdigest()


def _of(stream: str, person: str) -> tuple[Any, Any]:
    return _checks.c.stream == stream, _checks.c.person == person


def _row(connection: Connection, stream: str, person: str) -> Any:
    return connection.execute(sa.select(_checks).where(*_of(stream, person))).one_or_none()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
