"""Where an Airflow task's sends are remembered: a database, Airflow's own task state store, or nowhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.api.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.audience.columns import Columns
    from airflow_provider_cirrus.delivery.ledger.base import Ledger, TaskTry
    from airflow_provider_cirrus.delivery.options import Delivery
    from airflow_provider_cirrus.hooks.protocol import DeliveryHook


def task_try(context: Context, retries: int, **more: Any) -> TaskTry:
    """
    Return which try of a task this is, as far as Airflow says.

    :param retries: of the task
    :param more: what Airflow does not know: ``resend``, ``resumed`` and ``audience`` of
        :class:`~airflow_provider_cirrus.delivery.ledger.base.TaskTry`
    """
    from airflow_provider_cirrus.delivery.ledger.base import TaskTry

    ti = context["ti"]
    # Airflow 3 counts the clears of a run; before, there is no state store that would have to know.
    clears = getattr(context.get("dag_run"), "clear_number", 0) or 0
    return TaskTry(ti.try_number, ti.max_tries or 0, retries or 0, run_was_cleared=clears > 0, **more)


def open_ledger(hook: DeliveryHook, context: Context, task: TaskTry, ledger_conn_id: str | None) -> Ledger | None:
    """
    Return where outcomes are remembered, opened for this try; None: nothing is, and this is the first.

    :param task: which try of the task this is
    :param ledger_conn_id: the task's own; None: the Cirrus connection's, or Airflow's task state store
    :raises LedgerIncomplete: what earlier tries recorded is gone
    :raises LedgerError: it is of another part of the audience, or cannot be used
    :raises AirflowFailException: an earlier try may have sent, and nothing remembers what
    """
    ledger = _ledger(hook, context, ledger_conn_id)
    if ledger is None:
        _refuse_without_memory(hook, task)
        return None
    if task.resend and task.was_cleared:
        _say_that_it_is_sent_again(hook)
    ledger.open(task)
    return ledger


def _ledger(hook: DeliveryHook, context: Context, ledger_conn_id: str | None) -> Ledger | None:
    if conn_id := hook.ledger_conn_id_or(ledger_conn_id):
        return hook.sql_ledger(conn_id, context["ti"])
    store = context.get("task_state_store")
    if store is None:
        return None
    from airflow_provider_cirrus.delivery.ledger.large import max_in_state
    from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger

    return TaskStateLedger(store, retention=for_ever(), limit=max_in_state(hook.allow_large_state))


def _say_that_it_is_sent_again(hook: DeliveryHook) -> None:
    hook.log.warning("resend is set: what was sent before the task was last cleared is sent again.")


def _refuse_without_memory(hook: DeliveryHook, task: TaskTry) -> None:
    # Airflow raises max_tries with every clear: this is the first try since then.
    is_first = task.try_number == task.max_tries - task.retries + 1
    may_be_new = bool(task.audience) and task.run_was_cleared and not task.resend
    if task.try_number == 1 and not task.resumed and not may_be_new:
        return
    if task.resend and is_first and not task.resumed:
        _say_that_it_is_sent_again(hook)
        return
    raise AirflowFailException(
        "An earlier try of this task, or of one that it was mapped to before, may have sent messages, and Airflow "
        "before 3.3 does not remember "
        "which: nothing was sent now. Give the task, or the Cirrus connection, a ledger_conn_id; or look into the "
        "console, then clear the task with resend=True and only those recipients that are missing."
    )


class Remembering(Protocol):
    """What a task says of a send that may need a memory across runs."""

    hook: DeliveryHook
    message: Mapping[str, Any]
    audience: Sequence[Any]

    @property
    def effective_columns(self) -> Columns:
        """Which column fills what."""

    @property
    def effective_delivery(self) -> Delivery:
        """How to send."""


def check_memory(task: Remembering) -> None:
    """
    Say what is asked for and needs a memory across runs, which only a database has.

    :raises InvalidInput: it makes no sense without one
    """
    if task.effective_delivery.retry_rejected_after is not None:
        raise InvalidInput(
            "retry_rejected_after",
            "needs a database that remembers across runs.",
            hint="Give the Cirrus connection, or the delivery of the task, a ledger_conn_id.",
        )
    lists = [given for given in task.audience if isinstance(given, list | tuple)]
    of_messages = any(isinstance(one, Mapping) and one.get("message_key") for given in lists for one in given)
    if task.message.get("message_key") or task.effective_columns.key or of_messages:
        task.hook.log.warning(
            "Message keys are remembered for this task and run only: another run sends the same messages again. "
            "Give the Cirrus connection a ledger_conn_id, so that a database remembers them for ever."
        )


def expect(ledger: Ledger | None, total: int | None) -> None:
    """
    Say what it costs to remember so many messages, where Airflow's own database is to.

    :param total: messages of this task; None: nobody knows, and the ledger counts them as they come
    :raises LedgerError: more than it is to take
    """
    from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger

    if total is not None and isinstance(ledger, TaskStateLedger):
        ledger.expect(total)


def for_ever() -> timedelta:
    """Return what makes Airflow's state stores keep a value for ever (3.3 and later): by itself it goes in a month."""
    from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

    never: timedelta = NEVER_EXPIRE
    return never


def fingerprint(*given: Any) -> str:
    """
    Return a short name of what a mapped task was given, the same in every process.

    :param given: rendered arguments: what JSON has, paths, dates
    """
    text = json.dumps(given, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    # Without the address, which is another one in every process.
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
