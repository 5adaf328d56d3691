"""A send in an Airflow task: its ledger and rate, the door to delivery, and how the task ends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.arguments import allowance
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import Delivery, Report, Rules, options_of, with_defaults
from airflow_provider_cirrus.hooks.ending import (
    check_on_empty,
    check_suppressed,
    end_empty,
    fail,
    push_result,
    refuse_one_shot,
)
from airflow_provider_cirrus.hooks.ledger import check_memory, expect, fingerprint, open_ledger, task_try
from airflow_provider_cirrus.links.cirrus import leave_link
from airflow_provider_cirrus.retries import CirrusUnsentError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.errors import CirrusError
    from airflow_provider_cirrus.delivery.deliver import Messages, ThisTry
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult
    from airflow_provider_cirrus.delivery.ledger.base import Ledger
    from airflow_provider_cirrus.hooks.protocol import DeliveryHook
    from airflow_provider_cirrus.hooks.waiting import Defer
    from airflow_provider_cirrus.templates.store import Templates


@dataclass
class TaskDelivery:
    """
    What one try of a task sends.

    :ivar hook: of the connection, whose own ``rules`` and ``delivery`` fill in what is not said
    :ivar context: of the task
    :ivar retries: of the task
    :ivar columns: options, each as a dict, an object or None; so are the next three
    :ivar audience: the arguments that say who is messaged, as far as they tell mapped tasks apart
    :ivar message: what all messages share; ``template`` and ``language`` for the log, ``message_key``
    :ivar templates_path: folder of the templates' definitions; None: that of the connection
    :ivar languages: in which to look for one, in this order, where there is none in the message's own
    :ivar approved: the result of a plan: nothing is sent that differs from it; None: nobody was asked
    :ivar tolerance: by how many messages it may differ: a count, or a ratio
    :ivar is_resumed: whether it goes on after quiet hours
    :ivar begun: how often it has begun anew, as nothing was sent
    :ivar stop: once set, no further batch leaves
    :raises InvalidInput: options that are none
    """

    hook: DeliveryHook
    context: Context
    retries: int
    columns: Any = None
    rules: Any = None
    delivery: Any = None
    report: Any = None
    audience: Sequence[Any] = ()
    message: Mapping[str, Any] = field(default_factory=dict)
    templates_path: Any = None
    languages: Any = None
    approved: Any = None
    tolerance: Any = None
    is_resumed: bool = False
    begun: int = 0
    stop: Event = field(default_factory=Event)
    _is_remembered: bool = False

    @cached_property
    def effective_columns(self) -> Columns:
        """Which column fills what."""
        return options_of(Columns, self.columns, "columns")

    @cached_property
    def effective_rules(self) -> Rules:
        """The rules, with what the connection says; and the category that the template's definition has."""
        rules = with_defaults(options_of(Rules, self.rules, "rules"), self.hook.rules)
        if rules.category is not None or (category := self._category()) is None:
            return rules
        return replace(rules, category=category)

    @cached_property
    def templates(self) -> Templates | None:
        """The definitions of templates that this send goes by."""
        from airflow_provider_cirrus.hooks.templates import folder_of

        return self.hook.templates(self.templates_path, self.languages, folder_of(self.context.get("dag")))

    def _category(self) -> str | None:
        """Return the category of the template that all messages share, where it is defined."""
        name, language = self.message.get("template"), self.message.get("language")
        if self.templates is None or not isinstance(name, str) or self.effective_columns.template is not None:
            return None
        definition = self.templates.first(name, language if isinstance(language, str) else None)
        return None if definition is None else definition.category.value.lower()

    @cached_property
    def effective_delivery(self) -> Delivery:
        """How to send, with what the connection says."""
        return with_defaults(options_of(Delivery, self.delivery, "delivery"), self.hook.delivery)

    @cached_property
    def effective_report(self) -> Report:
        """The report."""
        report = options_of(Report, self.report, "report")
        # What a later try finds is that of an earlier one.
        return report if self._is_first else replace(report, if_exists=None)

    @property
    def _subject(self) -> str:
        """What is sent, as a part of a sentence."""
        template, language = self.message.get("template"), self.message.get("language")
        if not isinstance(template, str):
            return ""
        return f" of template {template!r}" + (f" ({language})" if isinstance(language, str) else "")

    @property
    def not_before(self) -> float:
        """Unix seconds before which no schedule may lie."""
        # A later try may find past what an earlier one sent in time: there, the machine looks at each message.
        return time.time() if self._is_first else 0.0

    @property
    def _is_first(self) -> bool:
        return self.context["ti"].try_number == 1 and not self.is_resumed and not self.begun

    def check(self) -> None:
        """
        Check all options, now that they are rendered.

        :raises InvalidInput: names what is wrong
        """
        for options in (self.effective_columns, self.effective_rules, self.effective_delivery, self.effective_report):
            options.check()

    def open(
        self, on_empty: str, *, to: Any = None, messages: Any = None, audience: Any = None
    ) -> tuple[CirrusClient, Messages, int | None]:
        """
        Return a client, the messages that it is to send, and how many they are where that is known.

        :param on_empty: one of :data:`~.hooks.ending.ON_EMPTY`
        :param to: as of :func:`~.delivery.deliver.messages_of`, like the next two
        :raises AirflowFailException: wrong arguments; nothing was sent
        :raises AirflowSkipException: nobody is to be messaged, and that is how the task is to end
        """
        from airflow_provider_cirrus.delivery.errors import EmptyAudience

        try:
            self.check()
            check_on_empty(on_empty)
            given = {"to": to, "messages": messages, "audience": audience, "may_be_empty": on_empty == "succeed"}
            if self.approved is not None or self.effective_delivery.spread_over is not None:
                refuse_one_shot(audience)
            if self.approved is not None:
                # Late, as most sends are not planned.
                from airflow_provider_cirrus.hooks.plan import check_approval

                check_approval(self, self.messages(**given, is_planned=True)[0])
            found, total = self.messages(**given)
            if total is None and self.effective_delivery.spread_over is not None:
                total = sum(1 for _ in found)
                found, _ = self.messages(**given)
            return self.hook.make_client(is_checked=True, attempts=1), found, total
        except EmptyAudience as error:
            end_empty(on_empty, f"{error.message} Nothing is sent.")
        except CirrusError as error:
            raise AirflowFailException(f"{error} Nothing was sent.") from error

    def messages(self, *, is_planned: bool = False, **given: Any) -> tuple[Messages, int | None]:
        """
        Return the messages of the audience, and how many they are where that is known.

        :param is_planned: also those whose schedule is past, which a plan rejects by itself: a later try's audience is
            then the same as the first one's
        :param given: ``to``, ``messages``, ``audience`` and ``may_be_empty`` of :func:`~.delivery.deliver.messages_of`
        :raises CirrusError: as that says
        """
        from airflow_provider_cirrus.delivery.deliver import messages_of

        return messages_of(
            self.message,
            **given,
            columns=self.effective_columns,
            rules=self.effective_rules,
            shard=self.effective_delivery.part(),
            not_before=0.0 if is_planned else self.not_before,
            refuse_bad_rows=self.effective_delivery.on_bad_rows == "fail",
            templates=self.templates,
            experiment=self.effective_delivery.experiment,
        )

    def run(self, client: CirrusClient, messages: Messages, total: int | None) -> DeliveryResult:
        """
        Send the messages.

        :param client: that tries once
        :param total: how many messages, where that is known
        :raises AirflowFailException: wrong arguments, or a ledger that no retry would mend
        :raises AirflowException: something that time may mend
        """
        from airflow_provider_cirrus.delivery.deliver import deliver
        from airflow_provider_cirrus.delivery.report.summary import in_words
        from airflow_provider_cirrus.hooks.metrics import Metrics
        from airflow_provider_cirrus.hooks.rate import start_after, warn_of_idle_shards

        ti, log, delivery = self.context["ti"], self.hook.log, self.effective_delivery
        try:
            rate = self.rate(total)
            many = "messages" if total is None else in_numbers(total, "message")
            if delivery.is_dry:
                log.info("A dry run: %s%s checked, and nothing is sent.", many, self._subject)
            else:
                log.info("Sending %s%s, at most %g a second.", many, self._subject, rate)
            warn_of_idle_shards(self.hook, self.context, delivery)
            metrics = Metrics(ti)
            ledger = None if delivery.is_dry else self.ledger()
            self._is_remembered = ledger is not None
            expect(ledger, total)
            self.hook.check_opt_in(self.effective_rules.opt_in)
            result = deliver(
                messages,
                client,
                total=total,
                rules=self.effective_rules,
                delivery=delivery,
                report=self.effective_report,
                zone_column=self.effective_columns.zone,
                allowlist=self.hook.allowlist(),
                connect=self.hook.source_engine,
                ledger=ledger,
                messages_per_second=rate,
                start_after=start_after(delivery, rate),
                this_try=self._this_try(ledger),
                send=metrics.timed(client.send),
                listener=metrics.counted(None),
                templates=self.templates,
            )
        except CirrusError as error:
            fail(error)
        report = f" Report: {result.report_uri}." if result.report_uri else ""
        log.info("%s, in %.1f s%s.%s", in_words(result, with_kinds=True), result.seconds, self._subject, report)
        return result

    def end(self, result: DeliveryResult, defer: Defer | None = None) -> dict[str, Any]:
        """
        Return the summary of a run, or fail the task where the outcomes call for it: everybody else was served.

        :param defer: gives the worker's slot back until a moment (Unix seconds), such as the end of quiet hours; with
            how often it has begun anew by then, where nothing was sent and nothing needs to be remembered. None: the
            task is retried then
        :raises AirflowFailException: only failures that no retry would mend
        :raises CirrusUnsentError: messages are left that a retry can send
        """
        from airflow_provider_cirrus.delivery.engine.verdict import Verdict, verdict
        from airflow_provider_cirrus.delivery.report.summary import explanation, in_words, summary
        from airflow_provider_cirrus.delivery.report.writer import shown_as
        from airflow_provider_cirrus.hooks.waiting import (
            begin_anew,
            wait_for_their_time,
            wait_until_resumed,
        )

        delivery = self.effective_delivery
        recipients: Any = self.effective_report.recipients or "full"
        found = summary(result, shown_as(recipients))
        leave_link(found, self.hook.conversation_url, self.context)
        counts = result.counts if not delivery.is_dry else {**result.counts, "unsent": 0}
        # A task that was told to end did not read its audience to the end: what is left is in no count.
        was_ended = self.stop.is_set()
        max_failed = 0 if delivery.max_failed is None else delivery.max_failed
        how = verdict(
            counts,
            deferred=result.deferred,
            was_stopped=was_ended,
            is_called_off=result.is_called_off,
            repeats_unknown=delivery.repeats_unknown,
            allowed=allowance(max_failed, result.total),
        )
        if result.is_paused and not was_ended and counts["unsent"]:
            wait_until_resumed(result, defer)
        if how is Verdict.DEFER:
            wait_for_their_time(self.hook.log, result, defer)
        if not was_ended and not counts["unsent"]:
            check_suppressed(self.effective_rules, found, self.context)
        if how is Verdict.SUCCESS:
            return found
        may_begin_anew = not was_ended and not self._is_remembered and self.begun < self.retries
        if how is Verdict.RETRY and may_begin_anew and defer is not None:
            begin_anew(self.hook.log, self.context["task"], result, (self.begun + 1, self.retries), defer)
        # A failed task's result is worth as much as a successful one's: who got it and who did not.
        push_result(self.context, found)
        lines = [f"{in_words(result)}{self._subject}.", *explanation(result)]
        if was_ended:
            lines.insert(0, "The task was told to end before all was sent.")
        if result.report_uri:
            lines.append(f"Report: {result.report_uri}")
        if how is Verdict.RETRY:
            # What a retry sends: what is unsent and, at least once, what may not have been sent.
            raise CirrusUnsentError("\n".join(lines), result.error.retry_after if result.error else None)
        if not result.is_called_off:
            lines.append(f"More than max_failed={max_failed} allows.")
        raise AirflowFailException("\n".join(lines))

    def ledger(self) -> Ledger | None:
        """
        Return where outcomes are remembered, opened for this try; see :func:`~.hooks.ledger.open_ledger`.

        :raises LedgerError: it is of another part of the audience, or cannot be used
        """
        task = task_try(
            self.context,
            self.retries,
            resend=self.effective_delivery.is_resend,
            # What waited for the end of quiet hours is still the same try.
            resumed=self.is_resumed,
            audience=self.identity(),
            retry_rejected_after=self.effective_delivery.rejected_wait(),
        )
        if not self.hook.ledger_conn_id_or(self.effective_delivery.ledger_conn_id):
            check_memory(self)
        return open_ledger(self.hook, self.context, task, self.effective_delivery.ledger_conn_id)

    def _this_try(self, ledger: Ledger | None) -> ThisTry:
        from airflow_provider_cirrus.delivery.deliver import ThisTry
        from airflow_provider_cirrus.hooks.rate import stream_rate
        from airflow_provider_cirrus.hooks.steering import steering_of

        this = task_try(self.context, self.retries)
        steering = steering_of(self.hook, self.context, ledger, this, self.effective_delivery)
        shared = stream_rate(self.hook, self.effective_delivery)
        return ThisTry(this.try_number, this.cleared_after, self.stop, steering, self.is_resumed, shared)

    def identity(self) -> Mapping[str, Any]:
        """
        Return what this task's part of the audience is, as JSON has it: the same for all its tries.

        Airflow's task state store shows a mapped task its own records only. Where the mapping changes between two
        tries, somebody else's may be meant by them, and the later one refuses.
        """
        if shard := self.effective_delivery.part():
            return {"shards": shard[1], "shard": shard[0]}
        map_index = self.context["ti"].map_index
        is_mapped = map_index is not None and map_index >= 0
        return {"mapped": fingerprint(*self.audience)} if is_mapped and self.audience else {}

    def rate(self, total: int | None) -> float:
        """
        Return the messages a second of this task, spread over the time that it is given.

        :param total: messages of this task, where they are to be spread over a time
        :raises InvalidInput: no whole number, or nobody knows how many there are to be spread
        """
        said = self.effective_delivery
        if said.spread_over is not None and total is None:
            raise InvalidInput(
                "spread_over",
                "needs an audience that can be counted, which a query is not.",
                hint="Set messages_per_second instead.",
            )
        spread = said.spread()
        return min(self.full_rate(), total / spread) if spread and total else self.full_rate()

    def full_rate(self) -> float:
        """
        Return the messages a second of this task at most; see :func:`~.hooks.rate.own_rate`.

        :raises InvalidInput: no whole number
        """
        from airflow_provider_cirrus.hooks.rate import own_rate

        return own_rate(self.hook, self.effective_delivery)
