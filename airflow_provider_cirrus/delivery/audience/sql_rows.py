"""The rows of a query, read as a stream from a DB-API connection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask
from airflow_provider_cirrus.delivery.audience.table import Row, Table
from airflow_provider_cirrus.delivery.errors import QueryFailed, QueryRefused

# Rows that are in memory at a time.
_BATCH = 1000
# Errors that another try would meet again, by the names of PEP 249.
_LASTING = ("ProgrammingError", "NotSupportedError", "DataError", "IntegrityError")
# SQLite's code for a query that is wrong as it stands; Python calls it an OperationalError like all else.
_SQLITE_ERROR = 1
# Databases quote the value that they stumble over: a phone number in whatever spelling it has there.
_NUMBER = re.compile(r"\+?\(?\d(?:[\s.()\-]{0,2}\d){7,}")
# Most characters of a database's own words.
_SHOWN = 500


class Query(Table):
    """
    The rows of one query, as dicts.

    The query runs when this is made, and up to 1000 rows are read at once; the others stay with the database until
    they are needed, where the driver has such a cursor (psycopg2, psycopg, sqlite3, mysqlclient, PyMySQL; of another
    driver it depends on that driver). Nothing is ever committed. Rows can be taken once.

    :param connection: of any DB-API driver; the caller closes it, and with it the query, also one that is not read
        to its end
    :param sql: one query
    :param parameters: for the placeholders of the driver, a sequence or a mapping; passed to the driver as they are
    :raises InvalidInput: several statements, or one that returns no rows
    :raises QueryRefused: the database does not take it
    :raises QueryFailed: the connection is lost, or anything else that may pass; also while rows are taken
    """

    def __init__(self, connection: Any, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> None:
        one_statement(sql, "sql")
        self._connection = connection
        with _said_plainly(connection):
            self._cursor = _cursor(connection)
            # With no parameters at all a driver leaves a % in the query alone.
            self._cursor.execute(sql, *([parameters] if parameters else []))
        self._batch = self._next_batch()
        # Only now, as psycopg2 learns it with the first rows.
        if self._cursor.description is None:
            raise InvalidInput("sql", "returns no rows.", hint="Give a query, such as SELECT.")
        self.columns = [column[0] for column in self._cursor.description]

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows; asked before any is taken."""
        return not self._batch

    def __iter__(self) -> Iterator[Row]:
        """Return the rows as a stream."""
        while batch := self._batch:
            for row in batch:
                # Some connections are set up to return dicts.
                yield row if isinstance(row, Mapping) else dict(zip(self.columns, row, strict=True))
            self._batch = self._next_batch()

    def _next_batch(self) -> Sequence[Any]:
        with _said_plainly(self._connection):
            found: Sequence[Any] = self._cursor.fetchmany(_BATCH)
        return found


def _cursor(connection: Any) -> Any:
    """Return a cursor that leaves the rows with the database until they are fetched, where the driver has one."""
    for base in type(connection).__mro__:
        driver = base.__module__.partition(".")[0]
        if driver in ("psycopg", "psycopg2"):
            return connection.cursor(name=f"cirrus_{uuid4().hex}")
        if driver in ("MySQLdb", "pymysql"):
            return connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


@contextmanager
def _said_plainly(connection: Any) -> Iterator[None]:
    """Turn the driver's errors into ours, without whole phone numbers."""
    lasting = tuple(getattr(connection, name) for name in _LASTING if hasattr(connection, name))
    try:
        yield
    # PEP 249's optional extension, which all common drivers have; without it errors come as they are.
    except getattr(connection, "Error", ()) as error:
        words = _words(error)
        # From None: the traceback would show the original's words.
        if isinstance(error, lasting) or getattr(error, "sqlite_errorcode", None) == _SQLITE_ERROR:
            raise QueryRefused(
                f"sql: the database refuses the query ({type(error).__name__}): {words}",
                hint="The query must be one SELECT that suits the database, and its parameters the placeholders.",
            ) from None
        raise QueryFailed(
            f"sql: the query broke off ({type(error).__name__}): {words}", hint="The next try runs it again."
        ) from None


def _words(error: Exception) -> str:
    # The first line says what is wrong; the others quote the query and the row.
    first, *_ = str(error).strip().splitlines() or ["no reason given"]
    return _NUMBER.sub(lambda found: mask(found[0]), first)[:_SHOWN].rstrip(".") + "."


def one_statement(sql: str, field: str) -> str:
    """
    Return a query without the semicolon that ends it.

    :param field: how errors name it
    :raises InvalidInput: there are several
    """
    # Comes with the database's provider. Its lexer alone: its parser gives up on long lists.
    lexer, tokens = import_module("sqlparse.lexer"), import_module("sqlparse.tokens")
    found: list[str] = []
    is_ended = False
    for kind, text in lexer.tokenize(sql):
        if kind in tokens.Punctuation and text == ";":
            is_ended = True
        elif not is_ended:
            found.append(text)
        elif kind not in tokens.Whitespace and kind not in tokens.Comment:
            raise InvalidInput(field, "holds several statements.", hint="Give one query.")
    return "".join(found)
