"""Numbers that refuse messages for good, in a SQL table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of, spellings_of
from airflow_provider_cirrus.delivery.contact_lists.rejects import Rejected, rows_of
from airflow_provider_cirrus.delivery.contact_lists.spec import REJECT_FIELDS
from airflow_provider_cirrus.delivery.contact_lists.sql import words_of
from airflow_provider_cirrus.delivery.errors import SinkFailed
from airflow_provider_cirrus.delivery.sql.store import make_table

# Rows in a transaction; each number has up to four forms, and SQLite takes 999 parameters.
_CHUNK = 200
_TRIES = 8


class RejectTable:
    """
    A table with one row per account. Several tasks may add to it at the same time.

    :param engine: closed with this
    :param name: the table, ``schema.table`` where it is in a schema; made where it is missing
    :param clock: Unix seconds
    :raises InvalidInput: no right to make it (with the DDL), or it lacks a column
    :raises SinkFailed: no database
    """

    def __init__(self, engine: Engine, name: str, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        try:
            self._table = self._open(*name.rpartition(".")[::2])
        except SQLAlchemyError as error:
            engine.dispose()
            raise _failed(error) from None
        except BaseException:
            engine.dispose()
            raise
        kinds = {column.name: column.type for column in self._table.columns}
        self._as_int = isinstance(kinds["number"], sa.Numeric | sa.Integer)
        self._as_time = isinstance(kinds["time"], sa.DateTime)

    def add(self, rejected: Sequence[Rejected]) -> int:
        """Write them down; see :meth:`OpenSink.add`."""
        # One spelling of each; of several answers to one number, the last.
        rows = {account_of(row[0]): row for row in rows_of(rejected, self._clock())}
        accounts = list(rows)
        for start in range(0, len(accounts), _CHUNK):
            self._add({account: rows[account] for account in accounts[start : start + _CHUNK]})
        return len(rows)

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def _add(self, rows: dict[str, Any]) -> None:
        number = self._table.c.number
        forms = [form for account in rows for spelling in spellings_of(account) for form in self._forms(spelling)]
        known = sa.select(number).where(number.in_(forms))
        for attempt in range(_TRIES):
            try:
                with self._engine.begin() as connection:
                    held = {account_of(str(row[0]).strip().removeprefix("+")) for row in connection.execute(known)}
                    new = [self._row(row) for account, row in rows.items() if account not in held]
                    if new:
                        connection.execute(sa.insert(self._table), new)
                return
            except IntegrityError as error:
                # Another task wrote one of them after this one had looked: look again.
                if attempt == _TRIES - 1:
                    raise _failed(error) from None
            except SQLAlchemyError as error:
                raise _failed(error) from None

    def _forms(self, digits: str) -> Sequence[Any]:
        return (int(digits),) if self._as_int else (digits, f"+{digits}")

    def _row(self, row: tuple[str, int, str, str]) -> dict[str, Any]:
        digits, code, reason, at = row
        when = datetime.fromisoformat(at).astimezone(UTC) if self._as_time else at
        values = (int(digits) if self._as_int else digits, code, reason, when)
        return dict(zip(REJECT_FIELDS, values, strict=True))

    def _open(self, schema: str, name: str) -> sa.Table:
        metadata = sa.MetaData(schema=schema or None)
        made = sa.Table(
            name,
            metadata,
            sa.Column("number", sa.String(20), primary_key=True),
            sa.Column("code", sa.BigInteger, nullable=False),
            sa.Column("reason", sa.String(200), nullable=False),
            sa.Column("time", sa.String(32), nullable=False),
        )
        make_table(
            self._engine,
            made,
            lambda error, hint: InvalidInput(
                "on_reject", f"the table {name!r} is missing and could not be created ({words_of(error)}).", hint=hint
            ),
        )
        found = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=self._engine)
        if missing := [column for column in REJECT_FIELDS if column not in found.columns]:
            raise InvalidInput(
                "on_reject",
                f"the table {name!r} has no column {', '.join(missing)}.",
                hint=f"Give one with {', '.join(REJECT_FIELDS)}, or one that is not there yet.",
            )
        return found


def _failed(error: SQLAlchemyError) -> SinkFailed:
    return SinkFailed(
        f"on_reject: the database failed ({words_of(error)}), so who refused is not written down.",
        hint="See that it can be reached and written to, then let the task retry.",
    )
