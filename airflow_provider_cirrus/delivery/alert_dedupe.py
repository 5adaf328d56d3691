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
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.errors import cause_of
from airflow_provider_cirrus.delivery.sql.store import insert_or_ignore, make_table

_notices = sa.Table(
    "cirrus_notices",
    sa.MetaData(),
    sa.Column("key", sa.CHAR(32), primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)


def dedupe_name(parts: Sequence[Any]) -> str:
    """Return the name of a notice: a hash, from which no phone number can be read."""
    return hashlib.blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=16).hexdigest()


class AlertDedupe(Protocol):
    """Remembers when a notice was last claimed; of those who claim one at the same time, one gets it."""

    def claim(self, key: str, window: float) -> float | None:
        """
        Claim a notice before it is sent.

        :param key: of :func:`dedupe_name`
        :param window: seconds for which a claim holds
        :return: the time of the claim, Unix seconds; None where another one holds
        :raises LedgerError: it cannot be known; without knowing, nothing may be sent
        """

    def release(self, key: str, claimed: float) -> None:
        """
        Give a claim back: the notice was certainly not sent, so the next one may be.

        :param claimed: what :meth:`claim` returned
        :raises LedgerError: it is not given back
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

    def claim(self, key: str, window: float) -> float | None:
        """Claim a notice; see :meth:`AlertDedupe.claim`."""
        claimed: float | None = self._locked(key, lambda file: self._take(file, window))
        return claimed

    def release(self, key: str, claimed: float) -> None:
        """Give a claim back; see :meth:`AlertDedupe.release`."""

        def forget(file: int) -> None:
            if _read(file) == claimed:
                os.ftruncate(file, 0)

        self._locked(key, forget)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _take(self, file: int, window: float) -> float | None:
        now, before = self._clock(), _read(file)
        if before is not None and now - window < before <= now + window:
            return None
        os.ftruncate(file, 0)
        os.pwrite(file, repr(now).encode(), 0)
        return now

    def _locked(self, key: str, work: Callable[[int], Any]) -> Any:
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
        try:
            self._open()
        except SQLAlchemyError as error:
            raise _failed(error) from error

    def claim(self, key: str, window: float) -> float | None:
        """Claim a notice; see :meth:`AlertDedupe.claim`."""
        now = self._clock()
        at = _notices.c.at
        first = insert_or_ignore(_notices, self._engine.dialect.name)
        # A claim from further ahead than a window is that of a clock that was wrong; it must not hold for years.
        over = sa.or_(at <= now - window, at > now + window)
        again = sa.update(_notices).where(_notices.c.key == key, over).values(at=now)
        # First a write, so that SQLite never has to turn a read lock into a write lock. Whoever finds the row in
        # another's transaction waits for its end, and then for a window.
        took = self._write(first.values(key=key, at=now), again)
        return now if took else None

    def release(self, key: str, claimed: float) -> None:
        """Give a claim back; see :meth:`AlertDedupe.release`."""
        self._write(sa.delete(_notices).where(_notices.c.key == key, _notices.c.at == claimed))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def _write(self, *statements: Any) -> bool:
        """Execute statements in one transaction until one of them changes a row; return whether one did."""
        try:
            with self._engine.begin() as connection:
                return any(connection.execute(statement).rowcount == 1 for statement in statements)
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


def _read(file: int) -> float | None:
    try:
        return float(os.pread(file, 64, 0))
    except ValueError:
        # Empty, or cut off while it was written: whoever wrote it has not sent yet.
        return None


def _failed(error: SQLAlchemyError) -> LedgerError:
    return LedgerError(
        f"The database that remembers notices failed ({cause_of(error)}), so none is sent.",
        hint="See that the database of ledger_conn_id can be reached and written to.",
    )
