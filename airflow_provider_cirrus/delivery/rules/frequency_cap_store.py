"""The slots that messages take under frequency caps, over all tasks, runs and DAGs that share a database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.ledger.fence import Fence
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger, may_have_been_sent
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.sql.statements import chunks, execute_many, insert_or_ignore, is_pair, upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, SqlStore, Tables, stored_key

# Places that are deleted at once.
_PART = 500

_metadata = sa.MetaData()
# One row a person, to be locked: whoever holds it alone counts and takes slots of that person.
_persons = sa.Table(
    "cirrus_cap_persons",
    _metadata,
    sa.Column("person", sa.CHAR(32), primary_key=True),
    sa.Column("seen", sa.Float(53), nullable=False),
    **MYSQL,
)
_slots = sa.Table(
    "cirrus_cap_places",
    _metadata,
    # First, so that one index serves both to count a person's slots and to give one back: hashes touch pages all over,
    # and each page that a commit touches costs as much as the row itself.
    sa.Column("person", sa.CHAR(32), primary_key=True),
    sa.Column("key", sa.CHAR(32), primary_key=True),
    # Of a message that is the same for all runs, each task has a row of its own: none gives another's slot back.
    sa.Column("scope", sa.CHAR(32), primary_key=True),
    sa.Column("category", sa.String(16), nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    # The try that took it first. What another one finds taken, somebody was sent, or may have been: it cannot give that
    # back, whatever becomes of its own. Empty where an earlier version took it: then whoever has it next may.
    sa.Column("owner", sa.String(64)),
    sa.Index("cirrus_cap_places_at", "at"),
    **MYSQL,
)
_windows = sa.Table(
    "cirrus_cap_windows",
    _metadata,
    sa.Column("seconds", sa.BigInteger, primary_key=True, autoincrement=False),
    **MYSQL,
)

# Made once: to make a statement takes as long as to run it.
_COUNTED = sa.select(_slots.c.person, _slots.c.key).where(
    _slots.c.person.in_(sa.bindparam("persons", expanding=True)),
    _slots.c.at > sa.bindparam("after"),
    _slots.c.at <= sa.bindparam("until"),
)
_COUNTED_OF_A_CATEGORY = _COUNTED.where(_slots.c.category == sa.bindparam("category"))

# Format 1 had another primary key: without the person, for whom it had an index.
_KEY_OF_FORMAT_1 = ("key", "scope")

CAP_TABLES = Tables("caps", (_persons, _slots, _windows), "frequency caps", "2", reads=("1",))


class FrequencyCapStore(SqlStore):
    """
    The slots that messages have taken under frequency caps: one for each message that was sent or is about to be.

    A place is taken before the message leaves, so a person has never had more than the cap, whoever is sending at
    the same time. It is given back where the message was certainly not sent. A task that is killed in between
    leaves its slots taken: its next try has them, and nobody else. Threads may share a store. Mapped tasks that have
    the same message take one slot for it together, and each gives back its own part in it.

    Clocks of machines are compared: one that is ahead lengthens the windows for the others by as much.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param fence: of the task's ledger, whose tables are in the same database: a try that was superseded can neither
        take a slot nor give one back; None: of no task, which can only :meth:`purge`
    :param create: create the tables where they are missing
    :param clock: Unix seconds
    :param is_global: as of :class:`~.ledger.sql.SqlLedger`
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES = CAP_TABLES

    def __init__(
        self,
        engine: Engine,
        fence: Fence | None = None,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        is_global: Callable[[bytes], bool] = lambda key: False,
    ) -> None:
        super().__init__(engine, create=create)
        self._fence = fence
        self._clock = clock
        self._is_global = is_global
        self._known_windows: set[int] = set()
        # A generator may not be advanced by two threads at once.
        self._purging, self._may_purge = self.purging(), Lock()
        # Made once: to make a statement takes as long as to write a dozen rows.
        self._lock = upsert(_persons, self._dialect)
        key_there = _KEY_OF_FORMAT_1 if self._format == "1" else None
        self._take = upsert(_slots, self._dialect, keep=("owner",), key=key_there)

    @classmethod
    def beside(cls, ledger: SqlLedger) -> Self:
        """
        Return where a task's slots are kept: in the database of its ledger, for as long as this try may write there.

        :raises LedgerUnavailable: as the ledger itself
        :raises LedgerError: as the ledger itself
        """
        return cls(
            ledger.engine, ledger.fence, create=ledger.creates_tables, clock=ledger.clock, is_global=ledger.is_global
        )

    def claim(
        self,
        connection: Connection,
        cap: FrequencyCap,
        wanted: Sequence[tuple[bytes, bytes]],
        category: str | None = None,
    ) -> set[bytes]:
        """
        Take a slot for each message, in their order, where its person has one left.

        A message that has its slot within the window keeps it: a retry is not refused, and takes no second one.

        :param connection: in a transaction that holds the task's fence; when it is durable, :meth:`remember_window` is
            to be called, and :meth:`tidy` now and then
        :param cap: the cap; where the messages are of another category than its own it holds nobody back
        :param wanted: whose each message is (:func:`~.ledger.person_of`), and its key
        :param category: of the messages; None: that of the cap. It is what caps count
        :return: the keys of the messages that must not be sent
        :raises LedgerError: of no task
        """
        if not wanted:
            return set()
        task, now = self._task(), self._clock()
        category = category or cap.category
        holds_back = cap.category in (None, category)
        refused: set[bytes] = set()
        persons = sorted({person.hex() for person, _ in wanted})
        self._hold(connection, persons, now)
        taken = self._taken(connection, persons, cap, now)
        rows: dict[str, dict[str, Any]] = {}
        for person, key in wanted:
            whose = person.hex()
            mine = taken.setdefault(whose, set())
            names = self._names(task, key)
            stored = next((name for name in names if name in mine), names[0])
            if holds_back and stored not in mine and len(mine) >= cap.max_messages:
                refused.add(key)
                continue
            mine.add(stored)
            row = {"key": stored, "scope": task.row, "person": whose, "category": category or "", "at": now}
            rows[stored] = {**row, "owner": task.owner}
        if rows:
            # In the order of the primary key, so that what is next to each other is written at once.
            in_order = sorted(rows.values(), key=lambda row: (row["person"], row["key"]))
            execute_many(connection, self._take, in_order)
        if cap.seconds not in self._known_windows:
            # Tells purge() what is still counted.
            connection.execute(insert_or_ignore(_windows, self._dialect), [{"seconds": cap.seconds}])
        return refused

    def remember_window(self, cap: FrequencyCap) -> None:
        """Take note that the database knows how long slots are counted."""
        self._known_windows.add(cap.seconds)

    def tidy(self) -> None:
        """
        Delete some of the slots that no cap counts any more, faster than new ones are taken.

        :raises LedgerError: they stay
        """
        # No task has to wait until all old ones are gone, nor for another that is at it.
        if self._may_purge.acquire(blocking=False):
            try:
                next(self._purging, None)
            finally:
                self._may_purge.release()

    def release(self, connection: Connection, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """
        Give back the slots of messages that were certainly not sent; those of other tasks stay.

        So does the place of a message that this try has not sent, and an earlier one may have: see the ledger.

        :param connection: in a transaction that holds the task's fence
        :param messages: as of :meth:`claim`, with the outcome ``unsent``, ``rejected``, ``suppressed`` or
            ``duplicate``; known to the ledger by now, as a newer try may have taken them over otherwise
        :raises LedgerError: of no task
        """
        task, columns = self._task(), _slots.c
        for chunk in chunks(sorted(messages)):
            names = [(person.hex(), name) for person, key in chunk for name in self._names(task, key)]
            is_own = sa.func.coalesce(columns.owner, task.owner) == task.owner
            mine = (is_pair(columns.person, columns.key, names), columns.scope == task.row, is_own)
            connection.execute(sa.delete(_slots).where(*mine, ~may_have_been_sent(columns.key, task)))

    def purge(self, before: float | None = None) -> int:
        """
        Delete the slots that no cap counts any more, and the persons who have none left.

        :param before: Unix seconds; None: the longest window that any task has used ago
        :return: the number of slots
        :raises LedgerError: not all are deleted
        """
        return sum(self.purging(before))

    def purging(self, before: float | None = None) -> Iterator[int]:
        """Do what :meth:`purge` does, a part at a time; yield the number of slots of each."""
        if before is None:
            longest = sa.select(sa.func.max(_windows.c.seconds))
            before = self._clock() - (self._transaction(lambda connection: connection.scalar(longest)) or 0)
        is_old = _slots.c.at < before
        whose = sa.select(_slots.c.person).where(is_old).order_by(_slots.c.at).limit(_PART)

        def work(connection: Connection) -> int:
            if self._fence is not None:
                self._fence.hold(connection)
            self._hold(connection, persons, self._clock())
            gone = connection.execute(sa.delete(_slots).where(_slots.c.person.in_(persons), is_old))
            has_places = sa.exists().where(_slots.c.person == _persons.c.person)
            connection.execute(sa.delete(_persons).where(_persons.c.person.in_(persons), ~has_places))
            return int(gone.rowcount)

        while persons := self._transaction(lambda connection: sorted(set(connection.scalars(whose)))):
            yield self._transaction(work)

    def _hold(self, connection: Connection, persons: Sequence[str], now: float) -> None:
        """
        Lock the rows of persons until the transaction ends; in one order, so that two that want the same wait.

        One statement both makes and locks a row, so none can be deleted in between. It is a write, so that SQLite
        never has to turn a read lock into a write lock.
        """
        if self._dialect != "sqlite":
            # There, whoever has written holds the whole database.
            execute_many(connection, self._lock, [{"person": person, "seen": now} for person in persons])

    def _taken(
        self, connection: Connection, persons: Sequence[str], cap: FrequencyCap, now: float
    ) -> dict[str, set[str]]:
        """Return the messages of persons that count: each once, whichever tasks have taken a slot for it."""
        query = _COUNTED if cap.category is None else _COUNTED_OF_A_CATEGORY
        # A place from further ahead than a window is that of a clock that was wrong; it must not count for years.
        span = {"after": now - cap.seconds, "until": now + cap.seconds, "category": cap.category}
        taken: dict[str, set[str]] = {}
        for chunk in chunks(persons):
            for person, key in connection.execute(query, {**span, "persons": chunk}):
                taken.setdefault(person, set()).add(key)
        return taken

    def _task(self) -> Fence:
        if self._fence is None:
            raise LedgerError(
                "A store of slots that belongs to no task can only purge.",
                hint="Take the slots of a task from its ledger: FrequencyCapStore.beside(ledger).",
            )
        return self._fence

    def _names(self, task: Fence, key: bytes) -> Sequence[str]:
        """Return how a message is stored; the second name, of a mapped task's, is that of an earlier version."""
        if self._is_global(key):
            return (stored_key(key, ""),)
        scopes = dict.fromkeys((task.scope, task.row))
        return [stored_key(key, scope) for scope in scopes]


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the tables.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return CAP_TABLES.ddl(dialect_name)


def erase_slots(connection: Connection, person: str) -> int:
    """Delete the slots of a person; return how many."""
    # First the row that a claim locks: it waits for one that is under way, and the next one waits for it.
    connection.execute(sa.delete(_persons).where(_persons.c.person == person))
    return int(connection.execute(sa.delete(_slots).where(_slots.c.person == person)).rowcount)
