"""``pause``, ``resume``, ``rate`` and ``stop``: say what is wanted of a send that runs."""

from __future__ import annotations

import getpass
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.cli.output import answer_only, write_line
from airflow_provider_cirrus.delivery.steering.wish import Wish, wanted


def run(options: Namespace) -> int:
    """
    Write down what is wanted, and print it as JSON.

    :param options: as :func:`~airflow_provider_cirrus.cli.definition.add_steering_options` has them; ``command`` is
        one of the four
    :return: 0 if it is written down, else 1
    """
    from airflow.providers.common.compat.sdk import AirflowException

    # As Airflow's own commands do: without it, Airflow 3 does not look into its database for connections.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with answer_only() as out:
        try:
            rate = _rate(getattr(options, "messages_per_second", "-"))

            def change(before: Wish | None) -> Wish:
                return wanted(before, options.command, getpass.getuser(), rate)

            wish = (_in_ledger if options.ledger_conn_id else _in_airflow)(options, change)
        except (CirrusError, AirflowException) as error:
            write_line(str(error), sys.stderr)
            return 1
    write_line(json.dumps(wish.to_value()), out)
    return 0


def _rate(text: str) -> float | None:
    if text == "-":
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidInput("RATE", f"{text[:20]!r} is no number.", hint="Give messages a second, or -.") from None


def _in_ledger(options: Namespace, change: Callable[[Wish | None], Wish]) -> Wish:
    from airflow_provider_cirrus.delivery.steering.sql import SqlSteering
    from airflow_provider_cirrus.hooks.cirrus import CirrusHook
    from airflow_provider_cirrus.hooks.steering import task_name

    engine = CirrusHook().sql_engine(options.ledger_conn_id)
    try:
        steering = SqlSteering(engine, task_name(options.dag_id, options.run_id, options.task_id))
        wish = change(steering.read())
        steering.write(wish)
    finally:
        engine.dispose()
    return wish


def _in_airflow(options: Namespace, change: Callable[[Wish | None], Wish]) -> Wish:
    """Write it for every mapped task, into Airflow's own database."""
    from airflow_provider_cirrus.delivery.steering.state import WISH

    try:
        from airflow._shared.state import TaskScope
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        raise InvalidInput(
            "--ledger-conn-id",
            "is missing, and Airflow before 3.3 has no task state store.",
            hint="Name the connection of the database in which the send remembers what it sent.",
        ) from None
    store = MetastoreBackend()
    found: Wish | None = None
    for map_index in _map_indexes(options):
        scope = TaskScope(dag_id=options.dag_id, run_id=options.run_id, task_id=options.task_id, map_index=map_index)
        if found is None:
            known = store.get(scope, WISH)
            found = change(Wish.of(json.loads(known)) if known else None)
        store.set(scope, WISH, json.dumps(found.to_value()), expires_at=None)
    assert found is not None
    return found


def _map_indexes(options: Namespace) -> list[int]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance.map_index).where(
        TaskInstance.dag_id == options.dag_id,
        TaskInstance.run_id == options.run_id,
        TaskInstance.task_id == options.task_id,
    )
    with create_session() as session:
        found = list(session.scalars(query))
    if not found:
        raise InvalidInput(
            "TASK",
            f"{options.task_id!r} is in no run {options.run_id!r} of DAG {options.dag_id!r}.",
            hint="airflow dags list-runs shows the runs.",
        )
    return found
