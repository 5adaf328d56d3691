"""What the operators share that send an audience: everything about a delivery."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.arguments import allowance, is_literal, is_true, whole
from airflow_provider_cirrus.links.cirrus import ConversationLink, leave_link
from airflow_provider_cirrus.operators.base import fail, fingerprint
from airflow_provider_cirrus.operators.rules import RulesOperator
from airflow_provider_cirrus.retries import CirrusUnsentError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult
    from airflow_provider_cirrus.delivery.ledger.base import Ledger
    from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
    from airflow_provider_cirrus.delivery.rules.policy import Policy
    from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
    from airflow_provider_cirrus.operators.rules import Rules


class SendingOperator(RulesOperator):
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
        "quiet_hours",
        "frequency_cap",
        "on_reject",
        *RulesOperator.RULE_FIELDS,
        "stream",
        "cirrus_conn_id",
    )
    operator_extra_links = (ConversationLink(),)

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
        quiet_hours: Any = None,
        frequency_cap: Any = None,
        on_reject: Any = None,
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
        self.quiet_hours = quiet_hours
        self.frequency_cap = frequency_cap
        self.on_reject = on_reject
        self._stop = Event()

    def on_kill(self) -> None:
        """Let no further batch leave; what is in flight is recorded by the threads that sent it."""
        # Runs in a signal handler: anything but setting an Event could deadlock.
        self._stop.set()

    def _writes(self) -> list[Any]:
        return [self.report_path] if self.report_path else []

    def _common(self) -> dict[str, Any]:
        """Return what all messages share."""
        from airflow_provider_cirrus.delivery.audience.messages import MESSAGE_FIELDS, TEMPLATE_FIELDS

        names = [name for name in (*TEMPLATE_FIELDS, *MESSAGE_FIELDS) if name != "message_key"]
        return {name: getattr(self, name) for name in names}

    def _check_literals(self, needs_template: bool) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.delivery.audience.messages import check_common

        self._check_options(only_literals=True)
        literal = {name: value for name, value in self._common().items() if value is not None and is_literal(value)}
        if needs_template:
            literal |= {name: "" for name in ("template", "language") if getattr(self, name) is None}
        # Stand-ins for what is templated, or what each message brings.
        check_common({"template": "any", "language": "en", **literal})

    def _check_options(self, only_literals: bool = False) -> None:
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink

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
        if known("quiet_hours"):
            self._quiet_hours()
        if known("frequency_cap"):
            self._frequency_cap()
        if known("on_reject") and self.on_reject is not None:
            RejectSink.of(self.on_reject)
        self._check_rules(only_literals)

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
        audience: Iterable[tuple[int, Message | RejectedRow]],
        total: int | None,
    ) -> dict[str, Any]:
        """Send an audience; return the summary, or fail the task where the outcomes call for it."""
        from airflow_provider_cirrus.api.errors import CirrusError
        from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
        from airflow_provider_cirrus.delivery.report import summary as report
        from airflow_provider_cirrus.operators.metrics import Metrics

        try:
            rate = self._rate()
            is_dry = self._is_dry()
            many = "messages" if total is None else f"{total} messages"
            self.log.info("Sending %s, at most %d a second.%s", many, rate, " A dry run: nothing." if is_dry else "")
            metrics = Metrics(context["ti"])
            ledger = None if is_dry else self._ledger(context)
            self._expect(ledger, total)
            with (
                self._opened_rules(self.on_reject) as rules,
                self._policy(context, rules, ledger) as policy,
                self._report() as report_file,
            ):
                tell_report = None if report_file is None else report.lines_to(report_file)
                dispatcher = Dispatcher(
                    metrics.timed(client.send),
                    client.endpoint.stream_id,
                    ledger,
                    messages_per_second=rate,
                    attempt=context["ti"].try_number,
                    repeat_unknown=self.delivery == "at_least_once",
                    stop=self._stop,
                    listener=metrics.counted(rules.noting(tell_report, context["ti"].try_number)),
                    policy=policy,
                    dry_run=is_dry,
                    start_after=self._start_after(rate),
                )
                delivery = dispatcher.run(audience, total)
        except CirrusError as error:
            fail(error)
        found = report.summary(delivery, None if report_file is None else report_file.uri)
        self.log.info("%s, in %.1f s.", report.in_words(delivery), delivery.seconds)
        leave_link(found, self.hook, context["ti"])
        self._judge(delivery, found, context)
        return found

    def _rate(self) -> float:
        """Return the messages a second of this task: the task's own, or the connection's, or a shard's part of it."""
        rate = whole(self.messages_per_second or self.hook.messages_per_second, "messages_per_second", 1)
        shard = self._shard()
        # Not rounded up: a hundred shards must not come to more than the whole.
        return rate / shard[1] if shard else rate

    def _start_after(self, rate: float) -> float:
        """Return the seconds until this shard's turn, where there are more shards than messages in a second."""
        shard = self._shard()
        if shard is None or rate >= 1:
            return 0.0
        # By the clock on the wall, which all shards share: each has its own moment in the time of one message.
        return (shard[0] / (rate * shard[1]) - time.time()) % (1 / rate)

    def _audience_identity(self, context: Context) -> dict[str, Any]:
        """Return the shards, or what a mapped task was given: records of another part would be somebody else's."""
        if shard := self._shard():
            return {"shards": shard[1], "shard": shard[0]}
        map_index = context["ti"].map_index
        is_mapped = map_index is not None and map_index >= 0
        return {"mapped": fingerprint(*self._recipients())} if is_mapped else {}

    def _recipients(self) -> list[Any]:
        """Return the arguments that say who is messaged, as far as they tell mapped tasks apart."""
        return []

    def _report(self) -> Any:
        """Return the report file as a context manager, or one that is None."""
        if not self.report_path:
            return nullcontext()
        from airflow_provider_cirrus.delivery.report.writer import ReportFile

        return ReportFile(
            self.report_path,
            recipients=self.report_recipients,  # type: ignore[arg-type]
            consent_records=self.opt_in is not None,
        )

    def _quiet_hours(self) -> QuietHours | None:
        from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours

        return None if self.quiet_hours is None else QuietHours.of(self.quiet_hours)

    def _frequency_cap(self) -> FrequencyCap | None:
        from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap

        return None if self.frequency_cap is None else FrequencyCap.of(self.frequency_cap)

    @contextmanager
    def _policy(self, context: Context, rules: Rules, ledger: Ledger | None) -> Iterator[Policy]:
        """Return the rules of this delivery, opened."""
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.delivery.rules.policy import Policy

        quiet_hours, cap = self._quiet_hours(), self._frequency_cap()
        if quiet_hours is not None:
            quiet_hours.check()
            if quiet_hours.on_quiet == "defer" and ledger is None and not self._is_dry():
                raise InvalidInput(
                    "quiet_hours",
                    "defers messages, and Airflow before 3.3 would not remember which were sent.",
                    hint='Give the task a ledger_conn_id, or choose on_quiet="schedule" or "suppress".',
                )
        # Nobody takes a place in a dry run.
        slots = None
        if cap is not None and not self._is_dry():
            slots = self.hook.frequency_cap_store(ledger)
        try:
            yield Policy(
                rules.screen,
                consent=rules.consent,
                quiet_hours=quiet_hours,
                zone_column=self._zone_column(),
                cap=cap,
                slots=slots,
                category=self._category(),
            )
        finally:
            if slots is not None:
                slots.close()

    def _zone_column(self) -> str | None:
        """Return the column of the rows that holds their IANA zone."""
        return None

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on after quiet hours: what was sent stays sent, whoever waited gets the message now."""
        self._is_resumed = True
        found: dict[str, Any] = self.execute(context)
        return found

    def _wait_for_the_end_of_quiet_hours(self, delivery: DeliveryResult) -> None:
        """Give the worker's slot back until the first of those who wait may be messaged."""
        from airflow_provider_cirrus.triggers.date_time import DateTimeTrigger

        assert delivery.resume_at is not None
        until = datetime.fromtimestamp(delivery.resume_at, UTC).isoformat(timespec="seconds")
        self.log.info("%d messages wait for the end of quiet hours; going on at %s.", delivery.deferred, until)
        self.defer(trigger=DateTimeTrigger(delivery.resume_at), method_name="resume")

    def _is_first_run(self, context: Context) -> bool:
        """Return whether nothing of this task can have been sent yet."""
        return bool(context["ti"].try_number == 1) and not self._is_resumed

    def _judge(self, delivery: DeliveryResult, found: dict[str, Any], context: Context) -> None:
        """Fail the task where the outcomes call for it, after everybody else was served."""
        from airflow_provider_cirrus.delivery.engine.verdict import Verdict, verdict
        from airflow_provider_cirrus.delivery.report import summary as report

        counts = delivery.counts if not self._is_dry() else {**delivery.counts, "unsent": 0}
        # A task that was told to end did not read its audience to the end: what is left is in no count.
        was_ended = self._stop.is_set()
        how = verdict(
            counts,
            deferred=delivery.deferred,
            was_stopped=was_ended,
            repeats_unknown=self.delivery == "at_least_once",
            allowed=allowance(self.max_failed, delivery.total),
        )
        if how is Verdict.DEFER:
            self._wait_for_the_end_of_quiet_hours(delivery)
        if not was_ended and not counts["unsent"]:
            self._check_suppressed(found, context)
        if how is Verdict.SUCCESS:
            return
        # A failed task's result is worth as much as a successful one's: who got it and who did not.
        context["ti"].xcom_push(key="return_value", value=found)
        message = f"{report.in_words(delivery)}. {report.complaints(delivery)}."
        if delivery.error:
            message += f" {delivery.error.hint}"
        if was_ended:
            message = f"The task was told to end before all was sent. {message}"
        if how is Verdict.RETRY:
            # What a retry sends: what is unsent and, at least once, what may not have been sent.
            raise CirrusUnsentError(message, delivery.error.retry_after if delivery.error else None)
        raise AirflowFailException(f"{message} (max_failed={self.max_failed})")
