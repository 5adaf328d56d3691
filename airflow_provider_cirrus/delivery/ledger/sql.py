"""
The ledger in a SQL database: for Airflow before 3.3, and for memory across runs and DAGs. One room, as all of its
statements rest on the same few states of a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_cirrus.api.errors import LATER_CODES
from airflow_provider_cirrus.api.results import Outcome, Sent
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, NOBODY, Claims, Entry, TaskTry, is_global
from airflow_provider_cirrus.delivery.ledger.fence import Fence, mark_pruned, runs
from airflow_provider_cirrus.delivery.sql.statements import chunks, execute_many, insert_or_ignore, upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, SqlStore, Tables, stored_key

_INTENT = "intent"
# Nobody knows yet, or ever will, whether it was sent.
_OPEN = (_INTENT, Outcome.UNKNOWN.value)
_PAGE = 5_000
_ADOPTED = 500
# Seconds after which whoever meant to send a message has ended without saying so. An intent is made for what leaves
# next, and an answer has a minute; with 15 minutes there is room for clocks that differ and a machine that sleeps.
_PATIENCE = 900
_NOT_KNOWN = "another task may have sent it, and does not know"
_MAY_HAVE_BEEN_SENT = "an earlier try may have sent it"

_ledger = sa.Table(
    "cirrus_ledger",
    sa.MetaData(),
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
    # Which of the mapped tasks has it, by its map_index; and the row of cirrus_runs that says whether its owner may
    # still write. Empty in rows of an earlier version: it had one scope for both.
    sa.Column("part", sa.Integer),
    sa.Column("fence", sa.CHAR(32)),
    # 1 where an earlier try may have sent it: then it never becomes unsent.
    sa.Column("was_unknown", sa.SmallInteger),
    # Serves load(), which reads a scope in the order of its keys.
    sa.Index("cirrus_ledger_scope", "scope", "key"),
    **MYSQL,
)
# All that the ledger says of a message; reading whose it is would take time for nothing.
_SAID = [column for column in _ledger.columns if column.name not in ("person", "part", "was_unknown")]
# What an outcome leaves as the intent wrote it; an index would have to follow.
_OF_THE_INTENT = ("scope", "message_key", "owner", "person", "part", "fence", "was_unknown")


LEDGER_TABLES = Tables("format", (_ledger, runs), "the ledger")


def ddl(dialect_name: str) -> str:
    """
    Return the statements that create the ledger's tables; see :meth:`Tables.ddl`.

    :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
    :raises LedgerError: another database
    """
    return LEDGER_TABLES.ddl(dialect_name)


class SqlLedger(SqlStore):
    """
    A ledger in SQL tables, shared by all runs and DAGs, and by the mapped tasks of one task in one run.

    :param engine: such as :func:`engine_for` returns
    :param task: ``dag_id/run_id/task_id``: whatever is the same for all tries of a task and no other
    :param owner: unique per try, up to 64 characters
    :param map_index: of a mapped task; -1: it is not mapped
    :param create: create the tables where they are missing
    :param clock: Unix seconds
    :param is_global: whether a key is unique across runs and DAGs (its message has a ``message_key``); it has to
        tell from the 12 bytes alone, as it is also asked about what an earlier try left
    :raises LedgerUnavailable: the database does not answer
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format
    """

    TABLES = LEDGER_TABLES
    keeps_persons = True

    def __init__(
        self,
        engine: Engine,
        task: str,
        owner: str,
        *,
        map_index: int = -1,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        is_global: Callable[[bytes], bool] = lambda key: False,
    ) -> None:
        super().__init__(engine, create=create)
        self.fence = Fence(task, owner, map_index, clock)
        self._scope = self.fence.scope
        self.creates_tables = create
        self.clock = clock
        self.is_global = is_global
        # Whether no other mapped task can have the same message, so what another has left is this message's outcome.
        self._is_sharded = False
        # Seconds after which what somebody else's message was refused for, for a time only, may be tried again.
        self._retry_rejected_after: float | None = None
        # What load() has shown as unknown of other mapped tasks: only of these, to be asked for means to be repeated.
        self._left_open: set[bytes] = set()
        # Made once: to make a statement takes as long as to write a dozen rows.
        self._insert = insert_or_ignore(_ledger, self._dialect).values(
            scope=_constant(self._scope),
            state=_constant(_INTENT),
            attempt=sa.literal_column("0"),
            part=sa.literal_column(str(int(map_index))),
            fence=_constant(self.fence.row),
        )
        self._upsert = upsert(_ledger, self._dialect, keep=_OF_THE_INTENT, rule=_forward).values(
            scope=_constant(self._scope),
            part=sa.literal_column(str(int(map_index))),
            fence=_constant(self.fence.row),
        )

    def open(self, task: TaskTry) -> None:
        """
        Take the task over from earlier tries, which can then write no more.

        With ``task.resend`` it forgets what this task sent, once for each clear; what other mapped tasks, runs and
        DAGs hold stays. Rows of an earlier version that had a scope for each mapped task come into the common one.

        :raises LedgerIncomplete: something of what it had sent was deleted, as it was old
        :raises LedgerUnavailable: it does not answer; may be repeated
        """
        self._is_sharded = task.audience.get("shards") is not None
        self._retry_rejected_after = task.retry_rejected_after

        def work(connection: Connection) -> None:
            self.fence.take_over(connection)
            self.fence.refuse_if_pruned(connection, forgets=bool(task.resend and task.clear))
            if task.resend and task.clear:
                self._forget(connection, task.clear)

        self._transaction(work)
        while self.fence.row != self._scope and self._transaction(self._adopt):
            pass

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """
        Yield what earlier tries left, and what other mapped tasks have sent, a page at a time.

        An intent without an outcome counts as unknown. Where the audience is not sharded, what another mapped task
        has is ``duplicate`` here, or ``unknown`` where it ended without saying; what it left unsent is not yielded.

        :raises LedgerUnavailable: the database does not answer; it may be called again, and begins anew
        """
        columns = _ledger.c
        last, mine = "", self.fence.row
        self._left_open.clear()
        while True:
            query = (
                sa.select(*_SAID)
                .where(columns.scope == self._scope, columns.key > last)
                .order_by(columns.key)
                .limit(_PAGE)
            )
            # Each page is a transaction of its own: none stays open while the caller works.
            rows, holders = self._transaction(lambda connection, query=query: self._read(connection, query))  # type: ignore[misc]
            for row in rows:
                key = bytes.fromhex(row.message_key)
                # Nearly all are this task's, so these are told apart here.
                if (row.fence or self._scope) == mine:
                    yield key, INTERRUPTED if row.state == _INTENT else _entry(row)
                elif (entry := self._said(row, holders)) is not None:
                    if entry.outcome is Outcome.UNKNOWN:
                        self._left_open.add(key)
                    yield key, entry
            if len(rows) < _PAGE:
                return
            last = rows[-1].key

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """
        Return those of the keys that are certain to be somebody else's, with what a send of them would come to.

        :raises LedgerUnavailable: the database does not answer; may be repeated
        """
        # Without a message_key, only mapped tasks can have the same message, and load() tells of those of a shard.
        everything = self.fence.map_index >= 0 and not self._is_sharded
        named = {self._stored(key): key for key in keys if everything or self.is_global(key)}
        held: dict[bytes, Entry] = {}
        for chunk in chunks(list(named)):
            query = sa.select(*_SAID).where(_ledger.c.key.in_(chunk))
            rows, holders = self._transaction(lambda connection, query=query: self._read(connection, query))  # type: ignore[misc]
            for row in rows:
                key, entry = named[row.key], self._said(row, holders)
                is_free = entry is None or entry.outcome is Outcome.UNSENT or key in self._left_open
                if entry is not None and not is_free and not self._is_own(row):
                    held[key] = entry
        return held

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
        claims: Claims | None = None,
    ) -> Mapping[bytes, Entry]:
        """
        Record outcomes and intents in one transaction, which a try that was superseded cannot make.

        The same call may be repeated after an error, whether it was done or not: it comes to the same.

        :param intents: keys that are about to be sent
        :param outcomes: of keys whose intent was committed
        :param persons: of the intents' keys, whose they are (:func:`~.ledger.person_of`); what is not in it cannot
            be found to be erased
        :param claims: of the intents, and of whichever outcomes are given here: it is asked before the ledger, and told
            after it what was certainly not sent
        :return: the intents that must not be sent, as somebody else holds them or as they were settled before, with
            their outcome for this task
        :raises LedgerUnavailable: the database does not answer, and it may be written or not
        :raises LedgerSuperseded: nothing was written, and nothing more may be sent
        :raises LedgerError: nothing was written; nothing more may be sent
        """

        def work(connection: Connection) -> dict[bytes, Entry]:
            self.fence.hold(connection)
            # First, so that everybody locks in one order: who is counted, then messages.
            held = {} if claims is None else dict(claims.take(connection))
            if outcomes:
                # Of one key, the last counts: an upsert may not touch a row twice.
                stored = {self._stored(key): (key, entry) for key, entry in outcomes}
                execute_many(connection, self._upsert, [self._outcome(key, *stored[key]) for key in sorted(stored)])
            wanted = [key for key in intents if key not in held] if held else intents
            others = self._claim(connection, wanted, persons) if wanted else {}
            if claims is not None:
                # Somebody else's message takes somebody else's place. What was not sent may be about to be sent again.
                leaves = {*wanted} - others.keys()
                not_sent = [key for key, entry in outcomes if entry.outcome.sent is Sent.NO and key not in leaves]
                claims.give_back(connection, [*others, *not_sent])
            return held | others

        return self._transaction(work)

    def tidy(self) -> bool:
        """There is nothing to tidy."""
        return False

    def _claim(
        self, connection: Connection, intents: Sequence[bytes], persons: Mapping[bytes, bytes]
    ) -> dict[bytes, Entry]:
        named = {self._stored(key): key for key in intents}
        # One order for everybody, so that two tasks that want the same keys wait rather than deadlock.
        wanted = sorted(named)
        now = self.clock()
        rows = [self._intent(key, named[key], persons.get(named[key]), now) for key in wanted]
        inserted = execute_many(connection, self._insert, rows)
        if self._dialect == "sqlite" and inserted == len(wanted):
            # All are new. Other drivers do not count what many statements did together.
            return {}
        found = _found(connection, wanted)
        while True:
            others = {key: row for key, row in found.items() if not self._is_new(row)}
            holders = self._holders(connection, others.values())
            free = [key for key, row in others.items() if self._may_take(named[key], row, holders)]
            if not free:
                break
            self._reclaim(connection, [others[key] for key in free])
            # Somebody else may have been first.
            found |= _found(connection, free)
        held = {named[key]: self._said(row, holders) or _BEING_SENT for key, row in others.items()}
        # A holder has just forgotten it; to claim it now could cross with the next one's claim.
        held |= {named[key]: _BEING_SENT for key in wanted if key not in found}
        return held

    def _is_new(self, row: Any) -> bool:
        """Return whether a row is the intent of this very try; also of a commit whose answer was lost."""
        return bool(row.state == _INTENT and row.owner == self.fence.owner and self._is_own(row))

    def _is_own(self, row: Any) -> bool:
        """Return whether a row is this task's, of whichever try, and of no other mapped task."""
        return bool(row.scope == self._scope and (row.fence or row.scope) == self.fence.row)

    def _is_over(self, row: Any, holders: Mapping[str, str]) -> bool:
        """Return whether whoever holds a row will certainly, or in all likelihood, not say what became of it."""
        is_shut_out = holders.get(row.fence or row.scope) != row.owner
        return bool(is_shut_out or row.time <= self.clock() - _PATIENCE)

    def _may_take(self, key: bytes, row: Any, holders: Mapping[str, str]) -> bool:
        if row.state not in _OPEN:
            return bool(row.state == Outcome.UNSENT) or self._may_be_tried_again(row)
        # The caller names an open one of its own only to repeat it. One of another mapped task may have been made
        # since load(), so the caller does not mean to repeat it.
        return self._is_own(row) or (
            key in self._left_open and row.scope == self._scope and self._is_over(row, holders)
        )

    def _may_be_tried_again(self, row: Any) -> bool:
        """Return whether a message of another task was refused for a time only, which has passed."""
        after = self._retry_rejected_after
        if after is None or row.state != Outcome.REJECTED or row.code not in LATER_CODES or self._is_own(row):
            return False
        return bool(row.time <= self.clock() - after)

    def _said(self, row: Any, holders: Mapping[str, str]) -> Entry | None:
        """Return what a row of somebody means for a message of this task; None: it is free."""
        if self._is_own(row) or (self._is_sharded and row.scope == self._scope):
            return INTERRUPTED if row.state == _INTENT else _entry(row)
        if row.state == Outcome.UNSENT or self._may_be_tried_again(row):
            return None
        if row.state not in _OPEN:
            return _entry(row)._replace(outcome=Outcome.DUPLICATE, reason=_of_another(row))
        if row.state == _INTENT and not self._is_over(row, holders):
            return _BEING_SENT
        return _LOST if row.state == _INTENT else _entry(row)._replace(reason=_NOT_KNOWN)

    def _read(self, connection: Connection, query: Any) -> tuple[list[Any], Mapping[str, str]]:
        rows = list(connection.execute(query))
        return rows, self._holders(connection, rows)

    def _holders(self, connection: Connection, rows: Iterable[Any]) -> Mapping[str, str]:
        """Return who may write now, of the fences of those rows of others that are open."""
        fences = {row.fence or row.scope for row in rows if row.state in _OPEN and not self._is_own(row)}
        if not fences:
            return {}
        return {
            row.scope: row.owner
            for chunk in chunks(sorted(fences))
            for row in connection.execute(sa.select(runs.c.scope, runs.c.owner).where(runs.c.scope.in_(chunk)))
        }

    def _reclaim(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Take rows as they were found; the conditions decide between those that found them at the same time."""
        columns = _ledger.c
        is_open = columns.state.in_(_OPEN)
        mine = sa.and_(columns.scope == self._scope, sa.func.coalesce(columns.fence, columns.scope) == self.fence.row)
        groups: dict[tuple[str, str], list[Any]] = {}
        for row in rows:
            if row.state in (Outcome.UNSENT, Outcome.REJECTED):
                what = str(row.state)
            else:
                what = "mine" if self._is_own(row) else "left"
            groups.setdefault((what, row.owner if what == "left" else ""), []).append(row)
        for (what, owner), group in sorted(groups.items(), key=lambda one: one[0]):
            if what == Outcome.UNSENT:
                condition = columns.state == Outcome.UNSENT.value
            elif what == Outcome.REJECTED:
                # Whoever was first has made an intent of it, or been refused anew.
                latest = max(row.time for row in group) + 1
                condition = sa.and_(columns.state == Outcome.REJECTED.value, columns.time <= latest)
            elif what == "mine":
                condition = sa.and_(is_open, mine)
            else:
                # A holder that may still write may have named it anew. A second more, as drivers round.
                latest = max(row.time for row in group) + 1
                condition = sa.and_(is_open, columns.owner == owner, columns.time <= latest)
            # In this order, as MySQL sees in each what those before it were set to.
            values = [
                (columns.was_unknown, sa.case((is_open, 1), else_=columns.was_unknown)),
                (columns.scope, self._scope),
                (columns.part, self.fence.map_index),
                (columns.fence, self.fence.row),
                (columns.owner, self.fence.owner),
                (columns.state, _INTENT),
                (columns.time, self.clock()),
                (columns.attempt, 0),
                *((columns[name], None) for name in ("message_id", "object_id", "code", "reason")),
            ]
            for chunk in chunks(sorted(row.key for row in group)):
                connection.execute(sa.update(_ledger).where(columns.key.in_(chunk), condition).ordered_values(*values))

    def _forget(self, connection: Connection, clear: int) -> None:
        """Forget what this task, not another mapped one, has sent, unless that was done for this clear."""
        first = sa.update(runs).where(
            runs.c.scope == self.fence.row, sa.or_(runs.c.resent.is_(None), runs.c.resent < clear)
        )
        if connection.execute(first.values(resent=clear)).rowcount:
            columns = _ledger.c
            fence = sa.func.coalesce(columns.fence, columns.scope)
            connection.execute(
                sa.delete(_ledger).where(columns.scope.in_([self._scope, self.fence.row]), fence == self.fence.row)
            )

    def _adopt(self, connection: Connection) -> bool:
        """Bring a part of what an earlier version wrote of this mapped task into the common scope; False: none."""
        self.fence.hold(connection)
        columns = _ledger.c
        rows = list(connection.execute(sa.select(_ledger).where(columns.scope == self.fence.row).limit(_ADOPTED)))
        if not rows:
            return False
        ours = {"scope": self._scope, "part": self.fence.map_index, "fence": self.fence.row}
        moved = [
            {**row._mapping, **ours, "key": stored_key(key, self._scope)}
            for row in rows
            if not self.is_global(key := bytes.fromhex(row.message_key))
        ]
        if moved:
            moved.sort(key=lambda row: str(row["key"]))
            execute_many(connection, upsert(_ledger, self._dialect, rule=_further), moved)
            old = sorted(row.key for row in rows if not self.is_global(bytes.fromhex(row.message_key)))
            connection.execute(sa.delete(_ledger).where(columns.key.in_(old)))
        everywhere = sorted(row.key for row in rows if self.is_global(bytes.fromhex(row.message_key)))
        if everywhere:
            connection.execute(sa.update(_ledger).where(columns.key.in_(everywhere)).values(**ours))
        return True

    def _stored(self, key: bytes) -> str:
        return stored_key(key, "" if self.is_global(key) else self._scope)

    def _intent(self, stored: str, key: bytes, person: bytes | None, now: float) -> dict[str, Any]:
        return {
            "key": stored,
            "message_key": key.hex(),
            "time": now,
            "owner": self.fence.owner,
            "person": None if person is None else person.hex(),
        }

    def _outcome(self, stored: str, key: bytes, entry: Entry) -> dict[str, Any]:
        return {
            "key": stored,
            "message_key": key.hex(),
            "state": entry.outcome.value,
            "message_id": _text(entry.message_id),
            "object_id": _text(entry.object_id),
            "code": entry.code,
            "reason": _text(entry.reason),
            "attempt": entry.attempt,
            "time": entry.time,
            "owner": self.fence.owner,
        }


def _constant(value: str) -> Any:
    """Return a value that is the same in all rows of a statement; a parameter in each would take time."""
    assert value.isalnum()
    return sa.literal_column(f"'{value}'")


_ACCEPTED, _UNKNOWN, _UNSENT = (_constant(one.value) for one in (Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.UNSENT))
_ANSWERED = [_constant(one.value) for one in Outcome if one.is_answered]


def _forward(there: Any, new: Any) -> tuple[Any, Mapping[str, Any]]:
    """
    Let states only move forward, whoever is late.

    What is known stays known. What somebody else has taken meanwhile changes by what is known alone. And what an
    earlier try may have sent does not become unsent as this try has not sent it.
    """
    is_known = new.state.in_(_ANSWERED)
    applies = sa.and_(
        sa.or_(there.owner == new.owner, is_known),
        sa.or_(there.state != _ACCEPTED, new.state == _ACCEPTED),
        sa.or_(there.state.not_in(_ANSWERED), is_known),
    )
    stays_open = sa.and_(new.state == _UNSENT, there.was_unknown == sa.literal_column("1"))
    reason: Any = sa.literal_column(f"'{_MAY_HAVE_BEEN_SENT}'")
    return applies, {
        "reason": sa.case((stays_open, reason), else_=new.reason),
        "state": sa.case((stays_open, _UNKNOWN), else_=new.state),
    }


def _further(there: Any, new: Any) -> tuple[Any, Mapping[str, Any]]:
    """Of two rows of one message, keep the one that says more."""

    def weight(row: Any) -> Any:
        return sa.case(
            (row.state == _UNSENT, sa.literal_column("0")),
            (row.state.in_([_UNKNOWN, _constant(_INTENT)]), sa.literal_column("1")),
            (row.state == _ACCEPTED, sa.literal_column("3")),
            else_=sa.literal_column("2"),
        )

    return weight(new) > weight(there), {"state": new.state}


def may_have_been_sent(key: Any, fence: Fence) -> Any:
    """Return the condition that the ledger has a message of this task as sent, or as perhaps sent by an earlier try."""
    columns = _ledger.c
    open_again = sa.and_(columns.state.in_(_OPEN), columns.was_unknown == 1)
    return sa.exists().where(
        columns.key == key,
        columns.scope == fence.scope,
        sa.func.coalesce(columns.fence, columns.scope) == fence.row,
        sa.or_(columns.state == Outcome.ACCEPTED.value, open_again),
    )


def erase_messages(connection: Connection, person: str) -> int:
    """Delete the messages of a person; return how many."""
    return int(connection.execute(sa.delete(_ledger).where(_ledger.c.person == person)).rowcount)


@dataclass(frozen=True)
class Deleted:
    """
    A page of the ledger, looked through for what is old.

    :ivar deleted: messages that are gone, or would be
    :ivar kept: old ones that stay, as they have a ``message_key``
    :ivar last: the last key that was looked at; None: there are no more
    """

    deleted: int
    kept: int
    last: str | None


def delete_old(
    connection: Connection, after: str, before: float, now: float, *, with_message_keys: bool, dry_run: bool
) -> Deleted:
    """
    Delete what is old of one page of the ledger, in the order of its keys: an index by time would cost every message.

    :param after: the last key of the page before; empty: from the first
    :param before: Unix seconds; what has had no word since is old
    """
    columns = _ledger.c
    said = (columns.key, columns.scope, columns.fence, columns.message_key, columns.time)
    rows = connection.execute(sa.select(*said).where(columns.key > after).order_by(columns.key).limit(_PAGE)).all()
    old = [row for row in rows if row.time < before]
    gone = [row for row in old if with_message_keys or not is_global(bytes.fromhex(row.message_key))]
    if not dry_run:
        for chunk in chunks([row.key for row in gone]):
            # Somebody may have said more of it meanwhile.
            connection.execute(sa.delete(_ledger).where(columns.key.in_(chunk), columns.time < before))
        mark_pruned(connection, {scope for row in gone for scope in (row.scope, row.fence or row.scope)}, now)
    return Deleted(len(gone), len(old) - len(gone), rows[-1].key if len(rows) == _PAGE else None)


def ledger_summary(connection: Connection) -> dict[str, Any]:
    """Return what the ledger holds: messages by state, how many have a ``message_key``, the oldest and the newest."""
    columns = _ledger.c
    states = connection.execute(sa.select(columns.state, sa.func.count()).group_by(columns.state)).all()
    oldest, newest = connection.execute(sa.select(sa.func.min(columns.time), sa.func.max(columns.time))).one()
    return {
        "states": {row[0]: int(row[1]) for row in sorted(states)},
        "oldest": None if oldest is None else float(oldest),
        "newest": None if newest is None else float(newest),
    }


def count_unattributed(connection: Connection) -> int:
    """Return how many messages do not say whose they are, as an earlier version wrote them."""
    return connection.scalar(sa.select(sa.func.count()).where(_ledger.c.person.is_(None))) or 0


_BEING_SENT = Entry(Outcome.DUPLICATE, reason="another task is sending it")
_LOST = Entry(Outcome.UNKNOWN, reason="another task was cut off while it was sending it")


def _of_another(row: Any) -> str:
    """Return what a message that is settled came to for another task, as the reason that this one leaves it alone."""
    if row.state != Outcome.REJECTED:
        return f"another task sent it: {row.state}"
    code = "" if row.code is None else f" ({row.code})"
    later = ", which passes: see retry_rejected_after" if row.code in LATER_CODES else ""
    return f"another task tried it, and it was rejected{code}{later}"


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
