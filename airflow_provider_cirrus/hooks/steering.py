"""Where a running task reads what people want of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.hooks.ledger import for_ever

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.ledger.base import Ledger, TaskTry
    from airflow_provider_cirrus.delivery.options import Delivery
    from airflow_provider_cirrus.delivery.steering.wish import Steering
    from airflow_provider_cirrus.hooks.protocol import DeliveryHook


def steering_of(
    hook: DeliveryHook, context: Context, ledger: Ledger | None, task: TaskTry, delivery: Delivery
) -> Steering | None:
    """
    Return where a try reads what people want of it: beside its ledger, and in Airflow's task state store.

    A clear takes back what was said before it, but for a pause.

    :param ledger: of the task; None: nothing is remembered, so nothing can be put off
    :raises InvalidInput: the rest is to wait for somebody, and nobody could say so
    :raises LedgerError: what is wanted cannot be read
    """
    found = None if ledger is None else _steering(hook, context, ledger)
    if found is None:
        if delivery.asks_after_canary:
            raise InvalidInput(
                "canary_then",
                "needs a place where somebody can say that the send may go on.",
                hint="Give the Cirrus connection a ledger_conn_id, or use Airflow 3.3 or later.",
            )
        return None
    if task.was_cleared and task.try_number == task.cleared_after + 1:
        wish = found.read()
        if wish is not None and wish.state != "paused":
            found.write(None)
    return found


def _steering(hook: DeliveryHook, context: Context, ledger: Ledger) -> Steering | None:
    from airflow_provider_cirrus.delivery.errors import LedgerError
    from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
    from airflow_provider_cirrus.delivery.steering.state import StateSteering
    from airflow_provider_cirrus.delivery.steering.wish import Together

    places: list[Steering] = []
    if isinstance(ledger, SqlLedger):
        from airflow_provider_cirrus.delivery.steering.sql import SqlSteering

        ti = context["ti"]
        try:
            places.append(SqlSteering(ledger.engine, task_name(ti.dag_id, ti.run_id, ti.task_id)))
        except LedgerError as error:
            if error.retryable:
                raise
            hook.log.warning("Nobody can pause or stop this send by way of its ledger. %s", error)
    if (store := context.get("task_state_store")) is not None and not _is_supervised_in_process():
        places.append(StateSteering(store, for_ever()))
    return Together(places) if places else None


def _is_supervised_in_process() -> bool:
    """
    Return whether a task runs in the process that supervises it, as ``dag.test()`` has it.

    There only one thread may ask Airflow for anything: while it does, Airflow takes the way to itself away.
    """
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms"


def task_name(dag_id: str, run_id: str, task_id: str) -> str:
    """Return what names a task of a run beside its ledger, whatever its map_index."""
    return f"{dag_id}/{run_id}/{task_id}"
