"""What the operators share: connection and stream, what is remembered, and errors in Airflow's terms."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_cirrus.arguments import is_true
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.retries import policy_or_default

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.errors import CirrusError
    from airflow_provider_cirrus.delivery.ledger.base import Ledger


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

    :param ledger_conn_id: connection of a database that remembers it; None: Airflow's task state store (3.3 and
        later)
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

    def _ledger(self, context: Context) -> Ledger | None:
        """Return where outcomes are remembered; refuse a second try where nothing is."""
        ti = context["ti"]
        # Airflow raises max_tries with every clear: this is the first try since then.
        first_try = ti.try_number == (ti.max_tries or 0) - (self.retries or 0) + 1
        # What waited for the end of quiet hours is still the same try.
        resend = is_true(self.resend, "resend") and first_try and not self._is_resumed
        ledger = self._make_ledger(context)
        if ledger is None and (ti.try_number > 1 or self._is_resumed) and not resend:
            raise AirflowFailException(
                "An earlier try of this task may have sent messages, and Airflow before 3.3 does not remember "
                "which: nothing was sent now. Give the task a ledger_conn_id; or look into the console, then clear "
                "the task with resend=True and only those recipients that are missing."
            )
        if ledger is not None and resend:
            self.log.warning("resend is set: what was sent before is sent again.")
            ledger.forget()
        return ledger

    def _make_ledger(self, context: Context) -> Ledger | None:
        store = context.get("task_state_store")
        if self.ledger_conn_id:
            return self.hook.sql_ledger(self.ledger_conn_id, context["ti"])
        if store is not None:
            from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger

            return TaskStateLedger(store)
        return None


def fail(error: CirrusError) -> NoReturn:
    """Raise Airflow's exception for ours: retryable only where time alone may mend it."""
    if not error.passing:
        raise AirflowFailException(str(error)) from error
    failure = AirflowException(str(error))
    # For the retry policy.
    failure.retry_after = error.retry_after  # type: ignore[attr-defined]
    raise failure from error
