"""What people want of a send, in a table beside the ledger: for every Airflow, and for all mapped tasks at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.errors import store_error
from airflow_provider_cirrus.delivery.sql.statements import upsert
from airflow_provider_cirrus.delivery.sql.store import MYSQL, make_table, scope_of, transaction
from airflow_provider_cirrus.delivery.steering.wish import Wish

_steering = sa.Table(
    "cirrus_steering",
    sa.MetaData(),
    # Of dag_id/run_id/task_id: mapped tasks obey together.
    sa.Column("task", sa.CHAR(32), primary_key=True),
    # JSON; empty: nobody wants anything any more.
    sa.Column("wish", sa.Text, nullable=False),
    **MYSQL,
)


class SqlSteering:
    """
    Wishes in a table.

    :param engine: such as :func:`~.sql.store.engine_for` returns
    :param task: ``dag_id/run_id/task_id``
    :raises LedgerUnavailable: the database does not answer
    :raises LedgerError: no table and no right to create it (with the DDL)
    """

    def __init__(self, engine: Engine, task: str) -> None:
        self._engine = engine
        self._task = scope_of(task)

        def refuse(error: SQLAlchemyError, hint: str) -> LedgerError:
            return LedgerError("The table of wishes for running sends is missing, and could not be created.", hint=hint)

        try:
            make_table(engine, _steering, refuse)
        except SQLAlchemyError as error:
            raise store_error(error, "nobody can steer a send") from error

    def read(self) -> Wish | None:
        """Return what is wanted; see :meth:`~.wish.Steering.read`."""
        query = sa.select(_steering.c.wish).where(_steering.c.task == self._task)
        text = transaction(self._engine, lambda connection: connection.execute(query).scalar(), "the send goes on")
        if not text:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            raise InvalidInput("wish", "in cirrus_steering is no JSON.", hint="Say what is wanted anew.") from None
        return Wish.of(value)

    def write(self, wish: Wish | None) -> None:
        """Say what is wanted; see :meth:`~.wish.Steering.write`."""
        row = {"task": self._task, "wish": "" if wish is None else json.dumps(wish.to_value())}
        statement = upsert(_steering, self._engine.dialect.name)
        transaction(self._engine, lambda connection: connection.execute(statement, [row]), "nothing was asked for")

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Do nothing: the log of the task says how far it has come."""

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
