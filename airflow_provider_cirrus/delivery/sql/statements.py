"""Statements that SQLAlchemy has no common words for: insert or ignore, upsert, many rows at once."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

# Parameters of a statement. SQLite before 3.32 takes no more than 999; after each statement the interpreter is somebody
# else's for a while, so there are few.
_PARAMETERS = 999 if sqlite3.sqlite_version_info < (3, 32) else 4_000
_CHUNK = 500

_T = TypeVar("_T")

#: From the columns of the row that is there and of the new one: whether the new one counts, and what is set otherwise.
Rule: TypeAlias = "Callable[[Any, Any], tuple[Any, Mapping[str, Any]]]"


def insert_or_ignore(table: sa.Table, dialect_name: str) -> Any:
    """Return an INSERT that leaves a row alone whose primary key is there."""
    if dialect_name in ("mysql", "mariadb"):
        return mysql.insert(table).prefix_with("IGNORE")
    made = postgresql.insert(table) if dialect_name == "postgresql" else sqlite.insert(table)
    return made.on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def upsert(
    table: sa.Table,
    dialect_name: str,
    keep: Collection[str] = (),
    rule: Rule | None = None,
    key: Sequence[str] | None = None,
) -> Any:
    """
    Return an INSERT that overwrites a row whose key is there; drivers send many at once, unlike UPDATEs.

    :param keep: columns that are left as they are there
    :param rule: from the row that is there and the new one, whether it is overwritten, and what by where that is not
        what the new one holds; without bound parameters. A column that the rule reads must come last in it
    :param key: the columns of the primary key, where the database has another one than ``table``
    """
    key = [column.name for column in table.primary_key] if key is None else key
    names = [column.name for column in table.columns if column.name not in key and column.name not in keep]
    if dialect_name in ("mysql", "mariadb"):
        into = mysql.insert(table)
        applies, values = _ruled(rule, table, into.inserted, names)
        # It has no condition for the whole, and each column sees what those before it were set to.
        if applies is not None:
            values = {name: sa.case((applies, value), else_=table.c[name]) for name, value in values.items()}
        return into.on_duplicate_key_update(list(values.items()))
    made = postgresql.insert(table) if dialect_name == "postgresql" else sqlite.insert(table)
    applies, values = _ruled(rule, table, made.excluded, names)
    return made.on_conflict_do_update(index_elements=list(key), set_=values, where=applies)


def _ruled(rule: Rule | None, table: sa.Table, new: Any, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    applies, changed = (None, {}) if rule is None else rule(table.c, new)
    return applies, {**{name: new[name] for name in names if name not in changed}, **changed}


def execute_many(connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """
    Execute an INSERT once for each row.

    :param statement: of :func:`insert_or_ignore` or :func:`upsert`, made once
    :param rows: all with the same columns
    :return: the number of rows that it touched, where the driver counts it: SQLite's does
    """
    if connection.dialect.name != "sqlite":
        return int(connection.execute(statement, rows).rowcount)
    # SQLAlchemy takes longer to hand a row over than SQLite to write it; here no type needs a conversion. Many rows
    # in one statement, as after each statement the interpreter is somebody else's for a while.
    before, one, after, names = _as_text(statement, tuple(rows[0]))
    most = _PARAMETERS // len(names)
    touched = 0
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        many = f"{before}{', '.join([one] * len(part))}{after}"
        touched += connection.exec_driver_sql(many, tuple(row[name] for row in part for name in names)).rowcount
    return touched


@lru_cache(maxsize=64)
def _as_text(statement: Any, columns: tuple[str, ...]) -> tuple[str, str, str, list[str]]:
    compiled = statement.compile(dialect=sqlite.dialect(), column_keys=columns)
    # Constants of the statement stand between the question marks; none holds a bracket.
    before, one, after = re.split(r"(?<=VALUES )(\([^()]*\))", str(compiled), maxsplit=1)
    return before, one, after, list(compiled.positiontup)


def is_pair(first: sa.Column[str], second: sa.Column[str], pairs: Collection[tuple[str, str]]) -> Any:
    """
    Return the condition that two columns hold one of the pairs.

    :param first: of texts that are all of one length; an index that begins with it is used
    :param second: any text
    """
    # As one text each: databases look pairs up in different ways, MariaDB by reading the whole table.
    return sa.and_(first.in_(sorted({one for one, _ in pairs})), (first + second).in_([a + b for a, b in pairs]))


def chunks(keys: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield the keys in parts of which a statement can name all."""
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
