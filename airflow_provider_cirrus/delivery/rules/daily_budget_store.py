"""Whom a daily budget was spent on, over all tasks, runs and DAGs that share a database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.delivery.ledger.fence import Fence
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger, may_have_been_sent
from airflow_provider_cirrus.delivery.rules.daily_budget import WINDOW, DailyBudget
from airflow_provider_cirrus.delivery.sql.statements import chunks, execute_many, is_pair, upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, SqlStore, Tables, scope_of, stored_key, transaction

# Claims after which some of what is past is deleted, and how much of it.
_TIDY_EVERY, _PART = 50, 500
# Of a budget, so much has to be free again before whoever waits for it begins anew.
_TENTH = 10
# What a lock of a budget leaves as it is, besides its moment.
_KEPT = ("since", "people", "counted")

_metadata = sa.MetaData()
# One row a budget, to be locked: whoever holds it alone counts and spends.
_budgets = sa.Table(
    "cirrus_budgets",
    _metadata,
    sa.Column("budget", sa.CHAR(32), primary_key=True),
    sa.Column("since", sa.Float(53), nullable=False),
    sa.Column("seen", sa.Float(53), nullable=False),
    # No fewer people than it was spent on, as of ``counted``: to count them takes as long as there are people. It is no
    # longer so where ``seen`` is another moment, that of a version that does not keep it.
    sa.Column("people", sa.BigInteger),
    sa.Column("counted", sa.Float(53)),
    **MYSQL,
)
_places = sa.Table(
    "cirrus_budget_places",
    _metadata,
    # First, so that one index serves to find a person, and to give a place back: hashes touch pages all over, and each
    # page that a commit touches costs as much as the row itself.
    sa.Column("person", sa.CHAR(32), primary_key=True),
    sa.Column("budget", sa.CHAR(32), primary_key=True),
    sa.Column("key", sa.CHAR(32), primary_key=True),
    # Of a message that is the same for all runs, each task has a row of its own: none gives another's place back.
    sa.Column("scope", sa.CHAR(32), primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
    # The try that took it first. What another one finds taken, somebody was sent, or may have been: it cannot give that
    # back, whatever becomes of its own.
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Index("cirrus_budget_places_at", "budget", "at", "person"),
    **MYSQL,
)

# Format 1 had another primary key: without the person, for whom it had an index.
_KEY_OF_FORMAT_1 = ("key", "scope", "budget")

BUDGET_TABLES = Tables("budgets", (_budgets, _places), "daily budgets", "2", reads=("1",))


class DailyBudgetStore(SqlStore):
    """
    The people of the last 24 hours.

    A place is taken before the message leaves, in a transaction that holds the budget alone: so there were never more
    people than the budget allows, whoever is sending at the same time. It is given back where the message was
    certainly not sent. Clocks of machines are compared: one that is ahead lengthens the window for the others by as
    much.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param fence: of the task's ledger, whose tables are in the same database
    :param create: create the tables where they are missing
    :param clock: Unix seconds
    :param is_global: as of :class:`~.ledger.sql.SqlLedger`
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES = BUDGET_TABLES

    def __init__(
        self,
        engine: Engine,
        fence: Fence,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        is_global: Callable[[bytes], bool] = lambda key: False,
    ) -> None:
        super().__init__(engine, create=create)
        self._fence = fence
        self._clock = clock
        self._is_global = is_global
        self._claims = 0
        # Made once: to make a statement takes as long as to write a dozen rows.
        self._lock = upsert(_budgets, self._dialect, rule=lambda there, new: (None, {"seen": there.seen}), keep=_KEPT)
        key_there = _KEY_OF_FORMAT_1 if self._format == "1" else None
        self._take = upsert(_places, self._dialect, keep=("owner",), key=key_there)

    @classmethod
    def beside(cls, ledger: SqlLedger) -> Self:
        """
        Return where a task's people are counted: in the database of its ledger, as long as this try may write there.

        :raises LedgerError: as the ledger itself
        """
        return cls(
            ledger.engine, ledger.fence, create=ledger.creates_tables, clock=ledger.clock, is_global=ledger.is_global
        )

    def claim(
        self, connection: Connection, budget: DailyBudget, name: str, wanted: Sequence[tuple[bytes, bytes]]
    ) -> Mapping[bytes, float]:
        """
        Spend a budget on the persons of messages that are about to be sent, in their order, as far as it goes.

        Somebody who was messaged within the last 24 hours costs nothing; nor does a message that has its place.

        :param connection: in a transaction that holds the task's fence; :meth:`tidy` is to be called now and then
        :param name: of the budget
        :param wanted: whose each message is (:func:`~.ledger.person_of`), and its key
        :return: of the messages that must wait, their keys, and when there is room for some, in Unix seconds
        """
        if not wanted:
            return {}
        whose, now = scope_of(f"budget {name}"), self._clock()
        self._hold(connection, whose, now)
        there = connection.execute(sa.select(_budgets).where(_budgets.c.budget == whose)).one()
        since, most = float(there.since), there.people if there.counted == there.seen else None
        limit = budget.limit(since, now)
        counts = _counts(whose, now)
        known = self._known(connection, counts, sorted({person.hex() for person, _ in wanted}))
        new = {person.hex() for person, _ in wanted} - known
        if most is None or most + len(new) > limit:
            # Who was counted a day ago no longer is; near the limit that is looked at.
            most = connection.scalar(sa.select(sa.func.count(sa.distinct(_places.c.person))).where(*counts)) or 0
        rows: dict[str, dict[str, Any]] = {}
        refused: list[bytes] = []
        for person, key in wanted:
            who = person.hex()
            if who not in known:
                if most >= limit:
                    refused.append(key)
                    continue
                known.add(who)
                most += 1
            stored = self._name(key)
            row = {"key": stored, "scope": self._fence.row, "budget": whose, "person": who, "at": now}
            rows[stored] = {**row, "owner": self._fence.owner}
        if rows:
            # In the order of the primary key, so that what is next to each other is written at once.
            in_order = sorted(rows.values(), key=lambda row: (row["person"], row["key"]))
            execute_many(connection, self._take, in_order)
        kept = {"seen": now, "people": most, "counted": now}
        connection.execute(sa.update(_budgets).where(_budgets.c.budget == whose).values(kept))
        if not refused:
            return {}
        return dict.fromkeys(refused, _room_at(connection, budget, counts, limit, since, now))

    def tidy(self, name: str) -> None:
        """
        Delete some of what a budget no longer counts, now and then.

        :raises LedgerError: it stays
        """
        self._claims += 1
        if self._claims % _TIDY_EVERY == 0:
            self._transaction(lambda connection: self._tidy(connection, scope_of(f"budget {name}")))

    def release(self, connection: Connection, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """
        Give back the places of messages that were certainly not sent; those of other tasks stay.

        So does the place of a message that this try has not sent, and an earlier one may have.

        :param connection: in a transaction that holds the task's fence
        :param messages: as of :meth:`claim`, whose outcome the ledger knows by now
        """
        columns = _places.c
        for chunk in chunks(sorted(messages)):
            named = is_pair(columns.person, columns.key, [(person.hex(), self._name(key)) for person, key in chunk])
            mine = (named, columns.scope == self._fence.row, columns.owner == self._fence.owner)
            connection.execute(sa.delete(_places).where(*mine, ~may_have_been_sent(columns.key, self._fence)))

    def _hold(self, connection: Connection, whose: str, now: float) -> None:
        """Lock the row of a budget until the transaction ends."""
        execute_many(connection, self._lock, [{"budget": whose, "since": now, "seen": now}])

    def _known(self, connection: Connection, counts: Sequence[Any], persons: Sequence[str]) -> set[str]:
        found: set[str] = set()
        # Not in the WHERE: SQLite would look through all that counts instead of for these persons.
        is_counted = sa.func.max(sa.case((sa.and_(*counts), 1), else_=0))
        for chunk in chunks(persons):
            theirs = sa.select(_places.c.person).where(_places.c.person.in_(chunk)).group_by(_places.c.person)
            found.update(connection.scalars(theirs.having(is_counted == 1)))
        return found

    def _tidy(self, connection: Connection, whose: str) -> None:
        self._fence.hold(connection)
        self._hold(connection, whose, self._clock())
        is_past = (_places.c.budget == whose, _places.c.at < self._clock() - 2 * WINDOW)
        old = sa.select(_places.c.person, _places.c.key, _places.c.scope).where(*is_past).limit(_PART)
        for row in connection.execute(old).all():
            mine = (_places.c.person == row.person, _places.c.key == row.key, _places.c.scope == row.scope)
            connection.execute(sa.delete(_places).where(*is_past, *mine))

    def _name(self, key: bytes) -> str:
        return stored_key(key, "" if self._is_global(key) else self._fence.scope)


def _counts(whose: str, now: float) -> list[Any]:
    # A place from further ahead than a day is that of a clock that was wrong; it must not count for years.
    return [_places.c.budget == whose, _places.c.at > now - WINDOW, _places.c.at <= now + WINDOW]


def _room_at(
    connection: Connection, budget: DailyBudget, counts: Sequence[Any], limit: int, since: float, now: float
) -> float:
    """Return when there is room for a tenth of the budget, or when it grows."""
    last = sa.func.max(_places.c.at).label("last")
    each = sa.select(last).where(*counts).group_by(_places.c.person).order_by(last)
    leaves = connection.scalar(each.offset(max(0, limit // _TENTH - 1)).limit(1))
    moments = [float(leaves) + WINDOW] if leaves is not None else [now + WINDOW]
    if (step := budget.next_step(since, now)) is not None:
        moments.append(step)
    # A little later, so that it has passed on a clock that is a little behind.
    return min(moments) + 1.0


def left_of(engine: Engine, budget: DailyBudget, name: str, now: float) -> tuple[int, int]:
    """
    Return how many people a budget allows now, and how many of these are left; nothing is made or taken.

    :param engine: of the database in which it is counted
    :param name: of the budget
    :param now: Unix seconds
    :raises LedgerError: the database does not answer
    """
    whose = scope_of(f"budget {name}")

    def work(connection: Connection) -> tuple[int, int]:
        if not {_budgets.name, _places.name} <= set(sa.inspect(connection).get_table_names()):
            return budget.limit(now, now), budget.limit(now, now)
        since = connection.scalar(sa.select(_budgets.c.since).where(_budgets.c.budget == whose))
        limit = budget.limit(now if since is None else float(since), now)
        counted = sa.select(sa.func.count(sa.distinct(_places.c.person))).where(*_counts(whose, now))
        return limit, max(0, limit - (connection.scalar(counted) or 0))

    return transaction(engine, work, "what is left of the budget is not known")


def erase_places(connection: Connection, person: str) -> int:
    """Delete the places of a person; return how many."""
    return int(connection.execute(sa.delete(_places).where(_places.c.person == person)).rowcount)


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the tables.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return BUDGET_TABLES.ddl(dialect_name)
