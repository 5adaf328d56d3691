"""Numbers in a SQL database, looked up many at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of, could_be_number, spellings_of
from airflow_provider_cirrus.delivery.audience.sql_rows import one_statement
from airflow_provider_cirrus.delivery.contact_lists.spec import (
    NO_RECORD,
    ConsentRecord,
    SqlNumbers,
    choose_columns,
    record_text,
)
from airflow_provider_cirrus.delivery.errors import QueryFailed, QueryRefused
from airflow_provider_cirrus.delivery.sql.errors import cause_of

# SQLite before 3.32 takes 999 parameters in a statement.
_MOST = 900
# PostgreSQL takes them as one.
_MOST_AS_JSON = 10_000
# What the number of an entry must look like for it to be found.
_PLAIN = r"^\+?[1-9][0-9]{6,14}$"
# SQLite's code for a query that is wrong as it stands; Python calls it an OperationalError like all else.
_SQLITE_ERROR = 1


class SqlLookup:
    """
    Numbers of a query or a table. Each look-up is a transaction of its own, which is rolled back.

    :param source: what to look up in
    :param field: how errors name it
    :param engine: closed with this
    :param strict: whether an entry that can never be found is an error; to look for one reads all of them once
    :raises InvalidInput: no such table or column, several statements, or an entry that can never be found
    :raises QueryRefused: the database does not take the query
    :raises QueryFailed: it does not answer, or anything else that may pass
    """

    def __init__(self, source: SqlNumbers, field: str, engine: Engine, *, strict: bool = False) -> None:
        self._field = field
        self._engine = engine
        self._parameters = dict(source.parameters or {})
        self._statement: Any = None
        self._pack: Callable[[list[str | int]], Any] = list
        try:
            self._source = self._open(source)
            columns = choose_columns(source, self._columns(), field)
            self._number: Any = sa.column(columns.pop("number"), _selectable=self._source)
            self._others: dict[str, Any] = {
                part: sa.column(name, _selectable=self._source) for part, name in columns.items()
            }
            self._prepare()
            if strict:
                self._check_all()
        except BaseException:
            engine.dispose()
            raise

    def find(self, numbers: Sequence[str]) -> Mapping[str, ConsentRecord]:
        """Return those that are held; see :meth:`Numbers.find`."""
        if self._statement is None:
            # It held nothing when it was opened, so that the type of its numbers is not known yet.
            self._prepare()
        if self._statement is None:
            return {}
        held: dict[str, ConsentRecord] = {}
        accounts = {number: account_of(number) for number in numbers}
        parts = tuple(self._others)
        for forms in self._forms(dict.fromkeys(accounts.values())):
            for number, *known in self._run(self._statement, {"cirrus_forms": self._pack(forms)}):
                account = account_of(str(number).strip().removeprefix("+"))
                said = {part: record_text(value, part) for part, value in zip(parts, known, strict=True)}
                proof = ConsentRecord(**said) if said else NO_RECORD
                # Of several entries the latest, whatever the order in which they come.
                if (other := held.get(account)) is None or (other.time or "") < (proof.time or ""):
                    held[account] = proof
        return {number: held[account] for number, account in accounts.items() if account in held}

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def _open(self, source: SqlNumbers) -> Any:
        if source.table is not None:
            schema, _, name = source.table.rpartition(".")
            return sa.table(name, schema=schema or None)
        # On a line of its own, as the query may end in a comment.
        sql = one_statement(source.sql or "", f"{self._field}.sql")
        return sa.text(f"{sql}\n").columns().subquery("q")

    def _columns(self) -> list[str]:
        nothing = sa.select(sa.text("*")).select_from(self._source).where(sa.text("1 = 0"))
        return self._run(nothing, columns_only=True)

    def _prepare(self) -> None:
        """Make the statement for the type that the numbers have in the database."""
        first = sa.select(self._number).where(self._number.is_not(None)).limit(1)
        found = [row[0] for row in self._run(first)]
        if not found:
            return
        if isinstance(found[0], bool) or not isinstance(found[0], str | int | Decimal):
            raise InvalidInput(
                f"{self._field}.number_column",
                f"holds values of type {type(found[0]).__name__}.",
                hint="Let the query return numbers as text or as whole numbers.",
            )
        # SQLite's columns may hold both, whatever their type is called.
        any_type = self._engine.dialect.name == "sqlite"
        self._as_text = isinstance(found[0], str) or any_type
        self._as_int = not isinstance(found[0], str) or any_type
        kind: Any = sa.types.NullType() if any_type else sa.String() if self._as_text else sa.BigInteger()
        if self._engine.dialect.name == "postgresql":
            # Of a list or an array it weighs every value when it plans, which takes longer than to look them up.
            given = sa.cast(sa.bindparam("cirrus_forms", type_=sa.Text()), postgresql.JSON)
            values = sa.func.json_array_elements_text(given).table_valued("value")
            is_asked = self._number.in_(sa.select(sa.cast(values.c.value, sa.Text() if self._as_text else kind)))
            self._most, self._pack = _MOST_AS_JSON, json.dumps
        else:
            is_asked = self._number.in_(sa.bindparam("cirrus_forms", expanding=True, type_=kind))
            self._most, self._pack = _MOST - len(self._parameters), list
        self._statement = sa.select(self._number, *self._others.values()).where(is_asked)

    def _forms(self, accounts: Iterable[str]) -> Iterator[list[str | int]]:
        """Yield all ways in which the database may write these accounts, as many as one statement takes."""
        forms: list[str | int] = []
        for account in accounts:
            for spelling in spellings_of(account):
                if self._as_text:
                    forms += (spelling, f"+{spelling}")
                if self._as_int:
                    forms.append(int(spelling))
            # The next account adds up to six.
            if len(forms) > self._most - 6:
                yield forms
                forms = []
        if forms:
            yield forms

    def _check_all(self) -> None:
        """Refuse entries in a form that is never asked for: whoever is meant there would be messaged."""
        text = sa.cast(self._number, sa.String)
        strange = sa.or_(self._number.is_(None), ~text.regexp_match(_PLAIN))
        ((count,),) = self._run(sa.select(sa.func.count()).select_from(self._source).where(strange))
        if count:
            raise InvalidInput(
                self._field,
                f"{count} entries of the database are no numbers in digits with country code.",
                hint="Let the query return digits alone and leave out those without a number; whoever is meant by "
                "another spelling would be messaged. Nobody was.",
            )

    def _run(self, statement: Any, more: Mapping[str, Any] | None = None, *, columns_only: bool = False) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                result = connection.execute(statement, {**self._parameters, **(more or {})})
                return list(result.keys() if columns_only else result)
        except SQLAlchemyError as error:
            raise failed(error, self._field) from None


def failed(error: SQLAlchemyError, field: str) -> QueryFailed:
    """
    Return the error for what a database said.

    :param field: how it names the source or sink
    """
    words = words_of(error)
    cause = getattr(error, "orig", None)
    passing = isinstance(error, OperationalError | InterfaceError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
    if passing and getattr(cause, "sqlite_errorcode", None) != _SQLITE_ERROR:
        return QueryFailed(f"{field}: the database failed ({words}).", hint="The next try asks it again.")
    return QueryRefused(
        f"{field}: the database refuses the query ({words}).",
        hint="The query must be one SELECT that suits the database, and each of its placeholders have a value.",
    )


def words_of(error: SQLAlchemyError) -> str:
    """Return what a database said, without numbers."""
    words = cause_of(error)
    # Databases quote what they stumble over: it may be somebody's number, in whatever spelling.
    return re.sub(r"\d", "*", words) if could_be_number(words) else words
