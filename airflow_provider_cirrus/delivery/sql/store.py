"""What is kept in SQL tables: engines, tables and their format, transactions. For ledger, caps, checks and notices."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.errors import cause_of, may_pass, store_error, was_rolled_back
from airflow_provider_cirrus.delivery.sql.private import make_private
from airflow_provider_cirrus.delivery.sql.statements import insert_or_ignore

_TRIES = 8
# Seconds that a transaction waits for the locks of others.
_LOCK_WAIT = 30
# Module to SQLAlchemy's name for it, the one that is tried first before.
_DRIVERS = {
    "postgresql": {"psycopg2": "psycopg2", "psycopg": "psycopg"},
    "mysql": {"MySQLdb": "mysqldb", "pymysql": "pymysql"},
}
#: Of every table, for MySQL.
MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
_meta = sa.Table(
    "cirrus_meta",
    sa.MetaData(),
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(32), nullable=False),
    **MYSQL,
)

_T = TypeVar("_T")


def engine_for(uri: str, *, is_ours: bool = True) -> Engine:
    """
    Return an engine fit for a ledger.

    :param uri: as SQLAlchemy takes it; ``postgres://`` as Airflow writes it is understood
    :param is_ours: whether a SQLite file may be set up for many writers; that of somebody else stays as it is
    :raises LedgerError: no driver for this database is installed
    """
    url = _with_driver(make_url("postgresql://" + uri.partition("://")[2] if uri.startswith("postgres://") else uri))
    if url.get_backend_name() != "sqlite":
        # Without it, psycopg2 makes a round trip for every row.
        batch = {"executemany_mode": "values_plus_batch"} if url.get_driver_name() == "psycopg2" else {}
        arguments = {name: value for name, value in _timeouts(url, is_ours).items() if name not in url.query}
        return sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments, **batch)
    # Few statements are remembered: those that write hundreds of rows are large, and each number of rows makes another.
    arguments = {"timeout": _LOCK_WAIT, "cached_statements": 8}
    engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
    if is_ours:
        event.listen(engine, "do_connect", make_private)
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _timeouts(url: URL, is_ours: bool) -> dict[str, int]:
    """Return what keeps a driver from waiting for ever for a server that went without a word; it would for hours."""
    if url.get_backend_name() == "postgresql":
        keepalives = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
        # An old libpq does not know it.
        writes = {"tcp_user_timeout": _LOCK_WAIT * 1000} if is_ours else {}
        return {"connect_timeout": 10, **keepalives, **writes}
    # A query of somebody else's may take its time; what is ours waits for locks at most.
    answers = {"read_timeout": 2 * _LOCK_WAIT, "write_timeout": 2 * _LOCK_WAIT} if is_ours else {}
    return {"connect_timeout": 10, **answers}


def _with_driver(url: URL) -> URL:
    """Name the driver that is installed: which one SQLAlchemy takes by itself changed with its version 2.1."""
    drivers = _DRIVERS.get(url.drivername, {})
    for module, driver in drivers.items():
        if find_spec(module) is not None:
            return url.set(drivername=f"{url.drivername}+{driver}")
    if drivers:
        name = "postgres" if url.drivername == "postgresql" else "mysql"
        raise LedgerError(
            f"No driver for {url.drivername} is installed ({' or '.join(drivers)}).",
            hint=f"pip install apache-airflow-providers-{name}",
        )
    return url


class Tables:
    """
    Tables that belong together, and the format that they are in.

    A new format is for what an older version could no longer use. A column that comes later is nullable instead: it
    is added where it is missing, and an older version leaves it empty.

    :param name: of the row of ``cirrus_meta`` that holds the format
    :param tables: all but ``cirrus_meta``, which they share with others
    :param what: how errors call what they hold
    :param version: of the format in which they are made
    :param reads: older formats that are used as they are
    """

    def __init__(
        self, name: str, tables: Sequence[sa.Table], what: str, version: str = "1", *, reads: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._tables = tables
        self._what = what
        self._version = version
        self._known = (version, *reads)

    def ddl(self, dialect_name: str) -> str:
        """
        Return the statements that create the tables.

        :param dialect_name: ``sqlite``, ``postgresql`` or ``mysql``
        :raises LedgerError: another database
        """
        dialect = _dialect(dialect_name)
        made: list[Any] = [CreateTable(table) for table in self._tables]
        made += [CreateTable(_meta, if_not_exists=True)]
        made += [CreateIndex(index) for table in self._tables for index in _indexes(table)]
        texts = [str(one.compile(dialect=dialect)).strip() for one in made]
        # A person runs these: plain literals, no bind parameters.
        texts.append(f"INSERT INTO cirrus_meta (name, value) VALUES ('{self._name}', '{self._version}')")  # noqa: S608
        return ";\n".join(texts) + ";\n"

    def open(self, engine: Engine, create: bool) -> str:
        """
        Find or make the tables; others may be making them at the same moment.

        :param create: create what is missing
        :return: the format that they are in
        :raises LedgerUnavailable: the database does not answer
        :raises LedgerError: no tables and no right to create them (with the DDL), another version's format
        """
        trouble: SQLAlchemyError | None = None
        missing: list[str] = []
        for attempt in range(_TRIES if create else 1):
            try:
                found = self._found_version(engine)
                if found is None and create:
                    self._create(engine)
                    found = self._found_version(engine)
                missing = _missing_columns(engine, self._tables) if found in self._known else []
                if missing and create:
                    with engine.begin() as connection:
                        for statement in missing:
                            connection.execute(sa.text(statement))
                    missing = _missing_columns(engine, self._tables)
            except SQLAlchemyError as error:
                trouble = error
                if may_pass(error) and not was_rolled_back(error):
                    # Others who make the tables are over in a moment, a server that is away is not.
                    break
                time.sleep(0.05 * attempt)
                continue
            trouble = None
            if found in self._known and not missing:
                return str(found)
            if found is not None and found not in self._known:
                raise LedgerError(
                    f"The tables of {self._what} are in format {found}, and this version reads {self._version}.",
                    hint="Use the version of the provider that wrote them, or a later one.",
                )
        if trouble is not None and may_pass(trouble):
            engine.dispose()
            raise store_error(trouble, "nothing can be looked up or recorded") from trouble
        why = "" if trouble is None else f" ({cause_of(trouble)})"
        statements = ";\n".join([*missing, ""]) if missing else self.ddl(engine.dialect.name)
        raise LedgerError(
            f"The tables of {self._what} are missing, incomplete or cannot be read, and could not be created{why}.",
            hint=f"Let somebody who may create tables run:\n{statements}",
        ) from trouble

    def _create(self, engine: Engine) -> None:
        with engine.begin() as connection:
            for table in (*self._tables, _meta):
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in _indexes(table):
                    index.create(connection, checkfirst=True)
            row = {"name": self._name, "value": self._version}
            connection.execute(insert_or_ignore(_meta, engine.dialect.name), [row])

    def _found_version(self, engine: Engine) -> str | None:
        if not sa.inspect(engine).has_table(_meta.name):
            return None
        with engine.connect() as connection:
            found = connection.execute(sa.select(_meta.c.value).where(_meta.c.name == self._name)).scalar()
        return None if found is None else str(found)


def _missing_columns(engine: Engine, tables: Sequence[sa.Table]) -> list[str]:
    """Return the statements that add what came later; only columns that may be empty can have."""
    inspector = sa.inspect(engine)
    preparer = engine.dialect.identifier_preparer
    statements = []
    for table in tables:
        known = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        statements += [
            f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN "
            f"{CreateColumn(column).compile(dialect=engine.dialect)}"
            for column in table.columns
            if column.nullable and column.name not in known
        ]
    return statements


def make_table(engine: Engine, table: sa.Table, refuse: Callable[[SQLAlchemyError, str], Exception]) -> None:
    """
    Make a table that has no format, or add what came later to it; others may be doing so at the same moment.

    :param refuse: makes the error from the database's and from a hint with the DDL
    :raises SQLAlchemyError: the database does not answer
    :raises Exception: of ``refuse``: it is missing and cannot be made
    """

    def missing() -> list[str]:
        if sa.inspect(engine).has_table(table.name, schema=table.schema):
            return _missing_columns(engine, [table])
        return [str(CreateTable(table, if_not_exists=True).compile(dialect=engine.dialect)).strip()]

    if not (statements := missing()):
        return
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
    except SQLAlchemyError as error:
        if statements := missing():
            ddl = ";\n".join(statements).replace("CREATE TABLE IF NOT EXISTS", "CREATE TABLE")
            raise refuse(error, f"Let somebody who may create tables run:\n{ddl};") from error


class SqlStore:
    """
    Base of what is kept in SQL tables.

    :param engine: such as :func:`engine_for` returns
    :param create: create the tables where they are missing
    :raises LedgerError: no tables and no right to create them (with the DDL), another version's format, no database
    """

    TABLES: ClassVar[Tables]
    #: What errors say of a failed transaction's consequence.
    CONSEQUENCE: ClassVar[str] = "nothing more is sent"

    def __init__(self, engine: Engine, *, create: bool = True) -> None:
        self._dialect = engine.dialect.name
        _dialect(self._dialect)
        # Under MySQL's default, a transaction would not see what a competitor has committed meanwhile.
        # Once: SQLAlchemy 1.4, of Airflow before 3.1, takes it of no engine that has it already.
        is_set = self._dialect == "sqlite" or "isolation_level" in engine.get_execution_options()
        self.engine = engine if is_set else engine.execution_options(isolation_level="READ COMMITTED")
        self._format = self.TABLES.open(self.engine, create)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _transaction(self, work: Callable[[Connection], _T]) -> _T:
        return transaction(self.engine, work, self.CONSEQUENCE)


def transaction(engine: Engine, work: Callable[[Connection], _T], consequence: str) -> _T:
    """
    Do it in a transaction; again where the server rolled that back because of others.

    :param consequence: what the error says of a transaction that failed
    :raises LedgerUnavailable: the database does not answer, and it is not known whether it was done
    :raises LedgerError: it failed, and will fail again
    """
    try:
        return repeated(engine, work)
    except SQLAlchemyError as error:
        if may_pass(error):
            # The others in the pool lead to the same server, which may be gone, or a standby by now.
            engine.dispose()
        raise store_error(error, consequence) from error


def repeated(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    """
    Do it in a transaction; again where the server rolled that back because of others.

    :raises SQLAlchemyError: it failed otherwise, or again and again
    """
    begun = time.monotonic()
    for attempt in range(_TRIES):
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    # It would wait for ever, as for the locks of a machine that stands still.
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}s'")
                return work(connection)
        except SQLAlchemyError as error:
            if attempt == _TRIES - 1 or time.monotonic() - begun >= _LOCK_WAIT or not was_rolled_back(error):
                raise
            time.sleep(0.02 * 2**attempt)
    raise AssertionError("the last try returns or raises")


def scope_of(scope: str) -> str:
    """Return how a task's scope is stored: a hash, as it has no limit to its length."""
    return hashlib.blake2b(scope.encode(), digest_size=16).hexdigest()


def stored_key(key: bytes, scope: str) -> str:
    """
    Return how a message's key is stored.

    :param scope: of :func:`scope_of`; empty where the key is the same for all runs and DAGs
    """
    return hashlib.blake2b(key, digest_size=16, key=scope.encode()).hexdigest()


def _dialect(dialect_name: str) -> Any:
    dialects: dict[str, Any] = {"sqlite": sqlite, "postgresql": postgresql, "mysql": mysql, "mariadb": mysql}
    if dialect_name not in dialects:
        raise LedgerError(f"There is no ledger for {dialect_name}.", hint="Use SQLite, PostgreSQL or MySQL.")
    return dialects[dialect_name].dialect()


def _indexes(table: sa.Table) -> list[sa.Index]:
    # A set, which has another order in every process.
    return sorted(table.indexes, key=lambda index: str(index.name))


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The wait comes first. WAL lets load() read while others write; FULL makes a commit survive a power cut.
    connection.execute(f"PRAGMA busy_timeout = {_LOCK_WAIT * 1000}")
    for attempt in range(_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            # Switching to WAL does not wait for others; it is kept in the file, so one success serves all.
            time.sleep(0.02 * 2**attempt)
    connection.execute("PRAGMA synchronous = FULL")
    # Pages of 4 KB that may wait in the log, instead of 1,000: hashed keys touch pages all over, and one that many
    # commits have touched is copied once.
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
