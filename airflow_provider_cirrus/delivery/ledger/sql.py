"""The ledger in a SQL database: for Airflow before 3.3, and for memory across runs and DAGs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import CUT_OFF, NOBODY, Entry, LedgerError
from airflow_provider_cirrus.delivery.sql_store import (
    MYSQL,
    SqlStore,
    Tables,
    chunks,
    execute_many,
    insert_or_ignore,
    scope_of,
    stored_key,
    upsert,
)

_INTENT = "intent"
_AGAIN = (_INTENT, Outcome.UNKNOWN.value, Outcome.UNSENT.value)
_PAGE = 5_000

_metadata = sa.MetaData()
_ledger = sa.Table(
    "cirrus_ledger",
    _metadata,
    sa.Column("key", sa.CHAR(32), primary_key=True),
    sa.Column("scope", sa.CHAR(32), nullable=False),
    sa.Column("message_key", sa.CHAR(24), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("message_id", sa.Text),
    sa.Column("object_id", sa.Text),
    sa.Column("code", sa.BigInteger),
    sa.Column("reason", sa.String(200)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("time", sa.Float(53), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    # Whose message it is, for erasing. Without an index: to erase is rare, and every message would pay for it.
    sa.Column("person", sa.CHAR(32)),
    # Serves load(), which reads a scope in the order of its keys.
    sa.Index("cirrus_ledger_scope", "scope", "key"),
    **MYSQL,
)
_runs = sa.Table(
    "cirrus_runs",
    _metadata,
    sa.Column("scope", sa.CHAR(32), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("since", sa.Float(53), nullable=False),
    **MYSQL,
)
# All that the ledger says of a message; reading whose it is would take time for nothing.
_SAID = [column for column in _ledger.columns if column.name != "person"]


LEDGER_TABLES = Tables("format", (_ledger, _runs), "the ledger")


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the ledger's tables; see :meth:`Tables.ddl`.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return LEDGER_TABLES.ddl(dialect_name)


class SqlLedger(SqlStore):
    """
    A ledger in SQL tables. Opening it takes the scope over from earlier tries, which can then commit no more.

    :param engine: such as :func:`engine_for` returns
    :param scope: ``dag_id/run_id/task_id/map_index``: whatever is the same for all tries of one task and no other
    :param owner: unique per try, up to 64 characters
    :param create: create the tables where they are missing
    :param clock: Unix seconds
    :param is_global: whether a key is unique across runs and DAGs (its message has a ``message_key``); it has to
        tell from the 12 bytes alone, as it is also asked about what an earlier try left
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES = LEDGER_TABLES
    keeps_persons = True

    def __init__(
        self,
        engine: Engine,
        scope: str,
        owner: str,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        is_global: Callable[[bytes], bool] = lambda key: False,
    ) -> None:
        super().__init__(engine, create=create)
        self._scope = scope_of(scope)
        self._owner = owner
        self._clock = clock
        self._is_global = is_global
        # Made once: to make a statement takes as long as to write a dozen rows.
        self._insert = insert_or_ignore(_ledger, self._dialect)
        # What stands there since the intent is not written again: an index would have to follow.
        self._upsert = upsert(_ledger, self._dialect, keep=("scope", "message_key", "owner", "person"))
        self._transaction(self._take_over)

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """
        Yield what earlier tries left, a page at a time; an intent without an outcome counts as unknown.

        :raises LedgerError: the database cannot be read
        """
        columns = _ledger.c
        last = ""
        while True:
            page = (
                sa.select(*_SAID)
                .where(columns.scope == self._scope, columns.key > last)
                .order_by(columns.key)
                .limit(_PAGE)
            )
            # Each page is a transaction of its own: none stays open while the caller works.
            rows = self._transaction(lambda connection, page=page: list(connection.execute(page)))  # type: ignore[misc]
            for row in rows:
                yield bytes.fromhex(row.message_key), CUT_OFF if row.state == _INTENT else _entry(row)
            if len(rows) < _PAGE:
                return
            last = rows[-1].key

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
    ) -> Mapping[bytes, Entry]:
        """
        Record outcomes and intents in one transaction, which a try that was superseded cannot make.

        :param intents: keys that are about to be sent
        :param outcomes: of keys whose intent was committed
        :param persons: of the intents' keys, whose they are (:func:`~.ledger.person_of`); what is not in it cannot
            be found to be erased
        :return: the intents that must not be sent, as another task holds them or as they were settled before
        :raises LedgerError: nothing was written, or it is not known to be; nothing more may be sent
        """

        def work(connection: Connection) -> dict[bytes, Entry]:
            self._fence(connection)
            if outcomes:
                # Of one key, the last counts: an upsert may not touch a row twice.
                stored = {self._stored(key): (key, entry) for key, entry in outcomes}
                execute_many(connection, self._upsert, [self._outcome(key, *stored[key]) for key in sorted(stored)])
            return self._claim(connection, intents, persons) if intents else {}

        return self._transaction(work)

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        return {}

    def tidy(self) -> bool:
        return False

    def forget(self) -> None:
        """
        Forget what earlier tries of this task left, its claims on global keys included.

        :raises LedgerError: nothing was forgotten
        """

        def work(connection: Connection) -> None:
            self._fence(connection)
            connection.execute(sa.delete(_ledger).where(_ledger.c.scope == self._scope))

        self._transaction(work)

    def _claim(
        self, connection: Connection, intents: Sequence[bytes], persons: Mapping[bytes, bytes]
    ) -> dict[bytes, Entry]:
        named = {self._stored(key): key for key in intents}
        # One order for everybody, so that two tasks that want the same keys wait rather than deadlock.
        wanted = sorted(named)
        now = self._clock()
        rows = [self._intent(key, named[key], persons.get(named[key]), now) for key in wanted]
        inserted = execute_many(connection, self._insert, rows)
        if self._dialect == "sqlite" and inserted == len(wanted):
            # All are new. Other drivers do not count what many statements did together.
            return {}
        found = _found(connection, wanted)
        again = [
            key for key, row in found.items() if row.scope == self._scope and row.state in _AGAIN and not self._new(row)
        ]
        free = [key for key, row in found.items() if row.scope != self._scope and row.state == Outcome.UNSENT]
        columns = _ledger.c
        self._reclaim(connection, again, columns.scope == self._scope)
        # The condition decides between those that saw it free at the same time.
        self._reclaim(connection, free, columns.state == Outcome.UNSENT.value)
        found |= _found(connection, again + free)
        held: dict[bytes, Entry] = {}
        for key in wanted:
            row = found.get(key)
            if row is None:
                # Its holder has just forgotten it; to claim it now could cross with the next one's claim.
                held[named[key]] = _BEING_SENT
            elif not self._new(row):
                held[named[key]] = _BEING_SENT if row.state == _INTENT else _entry(row)
        return held

    def _new(self, row: Any) -> bool:
        return bool(row.scope == self._scope and row.owner == self._owner and row.state == _INTENT)

    def _reclaim(self, connection: Connection, keys: Sequence[str], condition: Any) -> None:
        values = dict.fromkeys(("message_id", "object_id", "code", "reason"))
        for chunk in chunks(sorted(keys)):
            connection.execute(
                sa.update(_ledger)
                .where(_ledger.c.key.in_(chunk), condition)
                .values(scope=self._scope, owner=self._owner, state=_INTENT, time=self._clock(), attempt=0, **values)
            )

    def _fence(self, connection: Connection) -> None:
        """Hold the row of this scope until the transaction ends; a take-over waits for it, or came before."""
        runs = _runs.c
        mine = sa.update(_runs).where(runs.scope == self._scope, runs.owner == self._owner)
        if connection.execute(mine.values(since=self._clock())).rowcount != 1:
            raise LedgerError(
                "A newer try of this task has taken over the ledger; this one may send nothing more.",
                hint="Nothing to do: the newer try sends what is left.",
            )

    def _take_over(self, connection: Connection) -> None:
        row = {"scope": self._scope, "owner": self._owner, "since": self._clock()}
        # First a write, so that SQLite never has to turn a read lock into a write lock.
        connection.execute(insert_or_ignore(_runs, self._dialect), [row])
        connection.execute(
            sa.update(_runs).where(_runs.c.scope == self._scope).values(owner=self._owner, since=row["since"])
        )

    def _stored(self, key: bytes) -> str:
        return stored_key(key, "" if self._is_global(key) else self._scope)

    def _intent(self, stored: str, key: bytes, person: bytes | None, now: float) -> dict[str, Any]:
        return {
            "key": stored,
            "scope": self._scope,
            "message_key": key.hex(),
            "state": _INTENT,
            "attempt": 0,
            "time": now,
            "owner": self._owner,
            "person": None if person is None else person.hex(),
        }

    def _outcome(self, stored: str, key: bytes, entry: Entry) -> dict[str, Any]:
        return {
            "key": stored,
            "scope": self._scope,
            "message_key": key.hex(),
            "state": entry.outcome.value,
            "message_id": _text(entry.message_id),
            "object_id": _text(entry.object_id),
            "code": entry.code,
            "reason": _text(entry.reason),
            "attempt": entry.attempt,
            "time": entry.time,
            "owner": self._owner,
        }


def erase_messages(connection: Connection, person: str) -> int:
    """Delete the messages of a person; return how many."""
    return int(connection.execute(sa.delete(_ledger).where(_ledger.c.person == person)).rowcount)


def count_of_nobody(connection: Connection) -> int:
    """Return how many messages do not say whose they are, as an earlier version wrote them."""
    return connection.scalar(sa.select(sa.func.count()).where(_ledger.c.person.is_(None))) or 0


_BEING_SENT = Entry(Outcome.UNKNOWN, reason="another task is sending it")


def _found(connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
    return {
        row.key: row
        for chunk in chunks(keys)
        for row in connection.execute(sa.select(*_SAID).where(_ledger.c.key.in_(chunk)))
    }


def _entry(row: Any) -> Entry:
    return Entry(Outcome(row.state), row.message_id, row.object_id, row.code, row.reason, row.attempt, float(row.time))


def _text(value: str | None) -> str | None:
    # PostgreSQL takes no NUL, and no driver half a surrogate pair; Cirrus's texts are free.
    if value is None or value.isprintable():
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()
