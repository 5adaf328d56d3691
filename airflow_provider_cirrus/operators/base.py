"""What the operators share: connection and stream, errors in Airflow's terms, and everything about a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_cirrus.arguments import allowance, is_literal, is_true, whole
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.retries import CirrusUnsentError, policy_or_default

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.errors import CirrusError
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.audience import Refused
    from airflow_provider_cirrus.delivery.dispatch import Delivery
    from airflow_provider_cirrus.delivery.ledger import Ledger
    from airflow_provider_cirrus.delivery.report_file import ReportFile


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
        resend = is_true(self.resend, "resend") and first_try
        ledger = self._make_ledger(context)
        if ledger is None and ti.try_number > 1 and not resend:
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
            from airflow_provider_cirrus.delivery.state_ledger import TaskStateLedger

            return TaskStateLedger(store)
        return None


class SendingOperator(LedgerOperator):
    """
    Base of the operators that send an audience; the parameters are described where users meet them.

    A subclass names its own template fields beside :data:`SENDING_FIELDS`.
    """

    SENDING_FIELDS: Sequence[str] = (
        "template",
        "language",
        "header",
        "body",
        "buttons",
        "components",
        "authentication_code",
        "object_data",
        "schedule",
        "delivery",
        "max_failed",
        "messages_per_second",
        "report_path",
        "report_recipients",
        "ledger_conn_id",
        "shard",
        "shards",
        "resend",
        "dry_run",
        "stream",
        "cirrus_conn_id",
    )

    def __init__(
        self,
        *,
        template: str | None = None,
        language: str | None = None,
        header: Any = None,
        body: Any = None,
        buttons: Any = None,
        components: Any = None,
        authentication_code: Any = None,
        object_data: Any = None,
        schedule: Any = None,
        delivery: Literal["at_most_once", "at_least_once"] | str = "at_most_once",
        max_failed: int | float | str = 0,
        messages_per_second: int | str | None = None,
        report_path: Any = None,
        report_recipients: Literal["full", "masked", "hash"] | str = "full",
        shard: int | str | None = None,
        shards: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.language = language
        self.header = header
        self.body = body
        self.buttons = buttons
        self.components = components
        self.authentication_code = authentication_code
        self.object_data = object_data
        self.schedule = schedule
        self.delivery = delivery
        self.max_failed = max_failed
        self.messages_per_second = messages_per_second
        self.report_path = report_path
        self.report_recipients = report_recipients
        self.shard = shard
        self.shards = shards
        self._stop = Event()

    def on_kill(self) -> None:
        """Let no further batch leave; what is in flight is recorded by the threads that sent it."""
        # Runs in a signal handler: anything but setting an Event could deadlock.
        self._stop.set()

    def _writes(self) -> list[Any]:
        return [self.report_path] if self.report_path else []

    def _common(self) -> dict[str, Any]:
        """Return what all messages share."""
        from airflow_provider_cirrus.delivery.audience import MESSAGE_FIELDS, TEMPLATE_FIELDS

        names = [name for name in (*TEMPLATE_FIELDS, *MESSAGE_FIELDS) if name != "message_key"]
        return {name: getattr(self, name) for name in names}

    def _check_literals(self, needs_template: bool) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.delivery.audience import check_common

        self._check_options(only_literals=True)
        literal = {name: value for name, value in self._common().items() if value is not None and is_literal(value)}
        if needs_template:
            literal |= {name: "" for name in ("template", "language") if getattr(self, name) is None}
        # Stand-ins for what is templated, or what each message brings.
        check_common({"template": "any", "language": "en", **literal})

    def _check_options(self, only_literals: bool = False) -> None:
        from airflow_provider_cirrus.api.errors import InvalidInput

        def known(name: str) -> bool:
            return not only_literals or is_literal(getattr(self, name))

        if known("max_failed"):
            allowance(self.max_failed, 1)
        for name, choices in (
            ("delivery", ("at_most_once", "at_least_once")),
            ("report_recipients", ("full", "masked", "hash")),
        ):
            if known(name) and getattr(self, name) not in choices:
                raise InvalidInput(name, f"{getattr(self, name)!r} is unknown; known are {', '.join(choices)}.")
        if known("messages_per_second") and self.messages_per_second is not None:
            whole(self.messages_per_second, "messages_per_second", 1)
        if known("shard") and known("shards"):
            self._shard()
        for name in ("resend", "dry_run"):
            if known(name):
                is_true(getattr(self, name), name)

    def _shard(self) -> tuple[int, int] | None:
        """Return this task's shard and the number of shards, or None for the whole audience."""
        from airflow_provider_cirrus.api.errors import InvalidInput

        if self.shard is None and self.shards is None:
            return None
        if self.shard is None or self.shards is None:
            raise InvalidInput("shard", "and shards go together.", hint="Give both, or neither.")
        shards = whole(self.shards, "shards", 1)
        shard = whole(self.shard, "shard", 0)
        if shard >= shards:
            raise InvalidInput("shard", f"{shard} of {shards} does not exist.", hint=f"Give 0 to {shards - 1}.")
        return shard, shards

    def _deliver(
        self,
        context: Context,
        client: CirrusClient,
        audience: Iterable[tuple[int, Message | Refused]],
        total: int | None,
    ) -> dict[str, Any]:
        """Send an audience; return the summary, or fail the task where the outcomes call for it."""
        from airflow_provider_cirrus.api.errors import CirrusError
        from airflow_provider_cirrus.delivery import report
        from airflow_provider_cirrus.delivery.dispatch import Dispatcher
        from airflow_provider_cirrus.operators.metrics import Metrics

        try:
            rate = self._rate()
            is_dry = self._is_dry()
            many = "messages" if total is None else f"{total} messages"
            self.log.info("Sending %s, at most %d a second.%s", many, rate, " A dry run: nothing." if is_dry else "")
            metrics = Metrics(context["ti"])
            with self._report() as report_file:
                tell_report = None if report_file is None else report.lines_to(report_file)
                dispatcher = Dispatcher(
                    metrics.timed(client.send),
                    client.endpoint.stream_id,
                    None if is_dry else self._ledger(context),
                    messages_per_second=rate,
                    attempt=context["ti"].try_number,
                    repeat_unknown=self.delivery == "at_least_once",
                    stop=self._stop,
                    listener=metrics.counted(tell_report),
                    screen=self.hook.screening(),
                    dry_run=is_dry,
                )
                delivery = dispatcher.run(audience, total)
        except CirrusError as error:
            fail(error)
        found = report.summary(delivery, None if report_file is None else report_file.uri)
        self.log.info("%s, in %.1f s.", report.in_words(delivery), delivery.seconds)
        self._judge(delivery, found, context)
        return found

    def _rate(self) -> int:
        """Return the messages a second of this task: the task's own, or the connection's, or a shard's part of it."""
        rate = whole(self.messages_per_second or self.hook.messages_per_second, "messages_per_second", 1)
        shard = self._shard()
        return max(1, rate // shard[1]) if shard else rate

    def _report(self) -> Any:
        """Return the report file as a context manager, or one that is None."""
        if not self.report_path:
            return nullcontext()
        from airflow_provider_cirrus.delivery.report_file import ReportFile

        made: ReportFile = ReportFile(self.report_path, recipients=self.report_recipients)  # type: ignore[arg-type]
        return made

    def _judge(self, delivery: Delivery, found: dict[str, Any], context: Context) -> None:
        """Fail the task where the outcomes call for it, after everybody else was served."""
        from airflow_provider_cirrus.delivery import report

        counts = delivery.counts
        failed = counts["rejected"] + counts["unknown"]
        unsent = 0 if self._is_dry() else counts["unsent"]
        # A task that was told to end did not read its audience to the end: what is left is in no count.
        was_ended = self._stop.is_set()
        if not was_ended and not unsent and failed <= allowance(self.max_failed, delivery.total):
            return
        # A failed task's result is worth as much as a successful one's: who got it and who did not.
        context["ti"].xcom_push(key="return_value", value=found)
        message = f"{report.in_words(delivery)}. {report.complaints(delivery)}."
        if delivery.error:
            message += f" {delivery.error.hint}"
        # What a retry would send: what is unsent and, at least once, what may not have been sent.
        if was_ended:
            message = f"The task was told to end before all was sent. {message}"
        if was_ended or unsent or (counts["unknown"] and self.delivery == "at_least_once"):
            raise CirrusUnsentError(message, delivery.error.retry_after if delivery.error else None)
        raise AirflowFailException(f"{message} (max_failed={self.max_failed})")


def fail(error: CirrusError) -> NoReturn:
    """Raise Airflow's exception for ours: retryable only where time alone may mend it."""
    if not error.passing:
        raise AirflowFailException(str(error)) from error
    failure = AirflowException(str(error))
    # For the retry policy.
    failure.retry_after = error.retry_after  # type: ignore[attr-defined]
    raise failure from error
