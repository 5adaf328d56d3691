"""Which notices went out lately, so that five hundred failing tasks send one message."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.errors import cause_of
from airflow_provider_cirrus.delivery.sql.statements import insert_or_ignore
from airflow_provider_cirrus.delivery.sql.store import make_table, repeated

_notices = sa.Table(
    "cirrus_notices",
    sa.MetaData(),
    sa.Column("key", sa.CHAR(32), primary_key=True),
    # 0 where it was given back.
    sa.Column("at", sa.Float(53), nullable=False),
    # Later than the others: an earlier version leaves it empty.
    sa.Column("held", sa.Integer),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)


_T = TypeVar("_T")


def dedupe_name(parts: Sequence[Any]) -> str:
    """Return the name of a notice: a hash, from which no phone number can be read."""
    return hashlib.blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=16).hexdigest()


class Claim(NamedTuple):
    """
    A notice that may be sent, or was.

    :ivar at: Unix seconds
    :ivar held_back: how many of the same kind were not sent since the one before it
    """

    at: float
    held_back: int = 0


_NEVER = Claim(0.0)


class AlertDedupe(Protocol):
    """Remembers when a notice was last claimed; of those who claim one at the same time, one gets it."""

    def claim(self, key: str, window: float) -> Claim | None:
        """
        Claim a notice before it is sent.

        :param key: of :func:`dedupe_name`
        :param window: seconds for which a claim holds
        :return: None where another one holds, which then counts this one as held back
        :raises LedgerError: it cannot be known; without knowing, nothing may be sent
        """

    def release(self, key: str, claim: Claim) -> None:
        """
        Give a claim back: the notice was certainly not sent, so the next one may be, and tells of this one, too.

        :param claim: what :meth:`claim` returned
        :raises LedgerError: it is not given back
        """

    def end(self, key: str) -> Claim | None:
        """
        Forget a notice, as what it told of is over; of those who do at the same time, one is told.

        :return: the last one, with how many were held back after it; None where none was sent
        :raises LedgerError: it cannot be known
        """

    def restore(self, key: str, claim: Claim) -> None:
        """
        Take :meth:`end` back: nobody was told of it.

        :param claim: what :meth:`end` returned
        :raises LedgerError: it is not taken back
        """

    def close(self) -> None:
        """Let go of files and connections."""


class FileAlertDedupe:
    """
    Remembers in files: for the processes of one user on one machine, as long as its temporary files last.

    A container that is gone, such as the pod of a task, takes its memory with it.

    :param folder: None: :func:`default_folder`; made for this user alone where it is missing
    :param clock: Unix seconds
    :raises LedgerError: the folder is somebody else's, or open to others
    """

    def __init__(self, folder: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = default_folder() if folder is None else folder
        self._clock = clock
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            found = self._folder.lstat()
        except OSError as error:
            raise self._unusable(error) from error
        # Its name can be guessed, and the folder above is everybody's: another user may have made it first.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise LedgerError(
                f"{self._folder} is no folder that belongs to this user alone.",
                hint="Remove it, or give the notifier a ledger_conn_id.",
            )

    def claim(self, key: str, window: float) -> Claim | None:
        """Claim a notice; see :meth:`AlertDedupe.claim`."""

        def take(file: int) -> Claim | None:
            now, before = self._clock(), _read(file)
            if _holds(before, now, window):
                _write(file, before._replace(held_back=before.held_back + 1))
                return None
            _write(file, Claim(now))
            return Claim(now, before.held_back)

        return self._locked(key, take)

    def release(self, key: str, claim: Claim) -> None:
        """Give a claim back; see :meth:`AlertDedupe.release`."""

        def forget(file: int) -> None:
            if (found := _read(file)).at == claim.at:
                _write(file, _given_back(found, claim))

        self._locked(key, forget)

    def end(self, key: str) -> Claim | None:
        """Forget a notice; see :meth:`AlertDedupe.end`."""

        def forget(file: int) -> Claim | None:
            found = _read(file)
            os.ftruncate(file, 0)
            return found if found.at else None

        return self._locked(key, forget)

    def restore(self, key: str, claim: Claim) -> None:
        """Take :meth:`end` back; see :meth:`AlertDedupe.restore`."""

        def write(file: int) -> None:
            if not _read(file).at:
                _write(file, claim)

        self._locked(key, write)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _locked(self, key: str, work: Callable[[int], _T]) -> _T:
        """Do it while no other process can; the file itself is never removed, as somebody may wait for its lock."""
        try:
            file = os.open(self._folder / key, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                return work(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"{self._folder} cannot be used ({error.strerror}), so no notice is sent.",
            hint="See that it can be written to, or give the notifier a ledger_conn_id.",
        )


class SqlAlertDedupe:
    """
    Remembers in a SQL table: for all processes that reach the database.

    Their clocks are compared: one that is ahead lengthens its windows for the others by as much.

    :param engine: such as :func:`~.sql.store.engine_for` returns; closed with this
    :param clock: Unix seconds
    :raises LedgerError: no table and no right to create it (with the DDL), or no database
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._insert = insert_or_ignore(_notices, engine.dialect.name)
        try:
            self._open()
        except SQLAlchemyError as error:
            raise _failed(error) from error

    def claim(self, key: str, window: float) -> Claim | None:
        """Claim a notice; see :meth:`AlertDedupe.claim`."""
        now = self._clock()

        def take(connection: Connection) -> Claim | None:
            before = None
            while before is None:
                # First a write, so that SQLite never has to turn a read lock into a write lock.
                if connection.execute(self._insert.values(key=key, at=now, held=0)).rowcount == 1:
                    return Claim(now)
                # None where somebody has just ended it.
                before = self._locked(connection, key)
            if _holds(before, now, window):
                self._update(connection, key, before._replace(held_back=before.held_back + 1))
                return None
            self._update(connection, key, Claim(now))
            return Claim(now, before.held_back)

        return self._transaction(take)

    def release(self, key: str, claim: Claim) -> None:
        """Give a claim back; see :meth:`AlertDedupe.release`."""

        def forget(connection: Connection) -> None:
            found = self._locked(connection, key)
            if found is not None and found.at == claim.at:
                self._update(connection, key, _given_back(found, claim))

        self._transaction(forget)

    def end(self, key: str) -> Claim | None:
        """Forget a notice; see :meth:`AlertDedupe.end`."""

        def forget(connection: Connection) -> Claim | None:
            found = self._locked(connection, key)
            connection.execute(sa.delete(_notices).where(_notices.c.key == key))
            return found if found is not None and found.at else None

        return self._transaction(forget)

    def restore(self, key: str, claim: Claim) -> None:
        """Take :meth:`end` back; see :meth:`AlertDedupe.restore`."""
        insert = self._insert.values(key=key, at=claim.at, held=claim.held_back)
        self._transaction(lambda connection: connection.execute(insert))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def _locked(self, connection: Connection, key: str) -> Claim | None:
        """Return what is known of a notice; its row is this transaction's until it ends."""
        # Whoever comes second waits here, and sees what the first has written. SQLite locks by a write.
        if connection.dialect.name == "sqlite":
            connection.execute(sa.update(_notices).where(_notices.c.key == key).values(key=key))
        query = sa.select(_notices.c.at, _notices.c.held).where(_notices.c.key == key).with_for_update()
        row = connection.execute(query).first()
        return None if row is None else Claim(row.at, row.held or 0)

    def _update(self, connection: Connection, key: str, claim: Claim) -> None:
        connection.execute(sa.update(_notices).where(_notices.c.key == key).values(at=claim.at, held=claim.held_back))

    def _transaction(self, work: Callable[[Connection], _T]) -> _T:
        try:
            return repeated(self._engine, work)
        except SQLAlchemyError as error:
            raise _failed(error) from error

    def _open(self) -> None:
        make_table(
            self._engine,
            _notices,
            lambda error, hint: LedgerError(
                f"The table of notices is missing and could not be created ({cause_of(error)}).", hint=hint
            ),
        )


def default_folder() -> Path:
    """Return where this user's notices are remembered without a database."""
    return Path(tempfile.gettempdir()) / f"airflow-cirrus-{os.geteuid()}"


def _holds(before: Claim, now: float, window: float) -> bool:
    # A claim from further ahead than a window is that of a clock that was wrong; it must not hold for years.
    return now - window < before.at <= now + window


def _given_back(found: Claim, claim: Claim) -> Claim:
    """Return what is known of a notice that was not sent: it counts as held back, as do those before it."""
    return Claim(0.0, claim.held_back + 1 + found.held_back)


def _read(file: int) -> Claim:
    at, _, held = os.pread(file, 64, 0).decode("ascii", "replace").partition(" ")
    try:
        return Claim(float(at), int(held or 0))
    except ValueError:
        # Empty, or cut off while it was written: whoever wrote it has not sent yet.
        return _NEVER


def _write(file: int, claim: Claim) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, f"{claim.at!r} {claim.held_back}".encode(), 0)


def _failed(error: SQLAlchemyError) -> LedgerError:
    return LedgerError(
        f"The database that remembers notices failed ({cause_of(error)}), so none is sent.",
        hint="See that the database of ledger_conn_id can be reached and written to.",
    )
