"""What the operators share: connection and stream, what is remembered, and errors in Airflow's terms."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_cirrus.arguments import is_true
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.retries import policy_or_default

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.errors import CirrusError
    from airflow_provider_cirrus.delivery.ledger.base import Ledger, TaskTry


class CirrusOperator(BaseOperator):
    """
    Base of all operators.

    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    """

    ui_color = "#dcf8c6"

    def __init__(
        self, *, stream: str | None = None, cirrus_conn_id: str = CirrusHook.default_conn_name, **kwargs: Any
    ) -> None:
        # Mapped tasks pass None explicitly.
        kwargs["retry_policy"] = policy_or_default(kwargs.get("retry_policy"))
        if kwargs["retry_policy"] is None:
            # An argument that Airflow before 3.3 does not know.
            del kwargs["retry_policy"]
        super().__init__(**kwargs)
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id

    @cached_property
    def hook(self) -> CirrusHook:
        """The hook for the connection and the stream."""
        return CirrusHook(self.cirrus_conn_id, self.stream)


class LedgerOperator(CirrusOperator):
    """
    Base of the operators that send: what they sent is remembered.

    :param ledger_conn_id: connection of a database that remembers it; None: the Cirrus connection's own, or Airflow's
        task state store (3.3 and later)
    :param resend: send again what an earlier run of this task sent, on purpose
    :param dry_run: do everything but the requests; nothing is remembered of it
    """

    def __init__(
        self,
        *,
        ledger_conn_id: str | None = None,
        resend: bool | str = False,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.resend = resend
        # Takes the place of a method of BaseOperator, which only `airflow tasks test --dry-run` calls.
        self.dry_run = dry_run  # type: ignore[assignment,method-assign]
        self._is_resumed = False

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the files that are read and written, for OpenLineage."""
        from airflow_provider_cirrus.operators.lineage import lineage_of

        return lineage_of(self._reads(), self._writes())

    def _reads(self) -> list[Any]:
        """Return the paths of the files that are read."""
        return []

    def _writes(self) -> list[Any]:
        """Return the paths of the files that are written."""
        return []

    def _is_dry(self) -> bool:
        return is_true(self.dry_run, "dry_run")

    def _audience_identity(self, context: Context) -> dict[str, Any]:
        """
        Return what this task's part of the audience is, as JSON has it: the same for all its tries.

        Airflow's task state store shows a mapped task its own records only. Where the mapping changes between two
        tries, somebody else's may be meant by them, and the later one refuses.
        """
        return {}

    def _task_try(self, context: Context) -> TaskTry:
        """Return which try of the task this is."""
        # What waited for the end of quiet hours is still the same try.
        return task_try(
            self,
            context,
            resend=is_true(self.resend, "resend"),
            resumed=self._is_resumed,
            audience=self._audience_identity(context),
        )

    def _ledger_conn_id(self) -> str | None:
        """Return the connection of the database that remembers: the task's own, or else the Cirrus connection's."""
        return self.hook.ledger_conn_id_or(self.ledger_conn_id)

    def _ledger(self, context: Context) -> Ledger | None:
        """
        Return where outcomes are remembered, opened for this try; None: nothing is, and this is the first.

        :raises LedgerIncomplete: what earlier tries recorded is gone
        :raises LedgerError: it is of another part of the audience, or cannot be used
        """
        task = self._task_try(context)
        ledger = self._make_ledger(context)
        if ledger is None:
            self._refuse_without_memory(task)
            return None
        if task.resend and task.was_cleared:
            self.log.warning("resend is set: what was sent before the task was last cleared is sent again.")
        ledger.open(task)
        return ledger

    def _refuse_without_memory(self, task: TaskTry) -> None:
        # Airflow raises max_tries with every clear: this is the first try since then.
        is_first = task.try_number == task.max_tries - task.retries + 1
        may_be_new = bool(task.audience) and task.run_was_cleared and not task.resend
        if task.try_number == 1 and not task.resumed and not may_be_new:
            return
        if task.resend and is_first and not task.resumed:
            self.log.warning("resend is set: what was sent before the task was last cleared is sent again.")
            return
        raise AirflowFailException(
            "An earlier try of this task, or of one that it was mapped to before, may have sent messages, and Airflow "
            "before 3.3 does not remember "
            "which: nothing was sent now. Give the task, or the Cirrus connection, a ledger_conn_id; or look into the "
            "console, then clear the task with resend=True and only those recipients that are missing."
        )

    def _expect(self, ledger: Ledger | None, total: int | None) -> None:
        """
        Say what it costs to remember so many messages, where Airflow's own database is to.

        :param total: messages of this task; None: nobody knows, and the ledger counts them as they come
        :raises LedgerError: more than it is to take
        """
        from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger

        if total is not None and isinstance(ledger, TaskStateLedger):
            ledger.expect(total)

    def _make_ledger(self, context: Context) -> Ledger | None:
        if conn_id := self._ledger_conn_id():
            return self.hook.sql_ledger(conn_id, context["ti"])
        store = context.get("task_state_store")
        if store is None:
            return None
        from airflow_provider_cirrus.delivery.ledger.large import most_in_state
        from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger

        return TaskStateLedger(store, retention=for_ever(), most=most_in_state(self.hook.allow_large_state))


def task_try(operator: BaseOperator, context: Context, **more: Any) -> TaskTry:
    """
    Return which try of a task this is, as far as Airflow says.

    :param more: what Airflow does not know: ``resend``, ``resumed`` and ``audience`` of
        :class:`~airflow_provider_cirrus.delivery.ledger.base.TaskTry`
    """
    from airflow_provider_cirrus.delivery.ledger.base import TaskTry

    ti = context["ti"]
    # Airflow 3 counts the clears of a run; before, there is no state store that would have to know.
    clears = getattr(context.get("dag_run"), "clear_number", 0) or 0
    return TaskTry(ti.try_number, ti.max_tries or 0, operator.retries or 0, run_was_cleared=clears > 0, **more)


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


def fail(error: CirrusError) -> NoReturn:
    """Raise Airflow's exception for ours: retryable only where time alone may mend it."""
    if not error.retryable:
        raise AirflowFailException(str(error)) from error
    failure = AirflowException(str(error))
    # For the retry policy.
    failure.retry_after = error.retry_after  # type: ignore[attr-defined]
    raise failure from error
