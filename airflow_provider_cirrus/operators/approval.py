"""The operator that asks people on WhatsApp for a decision that Airflow waits for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowOptionalProviderFeatureException

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException) as error:
    raise AirflowOptionalProviderFeatureException(
        "CirrusApprovalOperator needs Airflow 3.1 or later, which asks people."
    ) from error

from airflow_provider_cirrus.api.approval import Meanings, Question
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.phone import mask, to_digits
from airflow_provider_cirrus.arguments import from_text, is_literal, time_span
from airflow_provider_cirrus.delivery.audience.fields import MESSAGE_FIELDS, TEMPLATE_FIELDS
from airflow_provider_cirrus.delivery.options import Delivery, Rules, at_the_edge, options_of
from airflow_provider_cirrus.hooks.delivery import TaskDelivery
from airflow_provider_cirrus.hooks.ending import fail, push_result
from airflow_provider_cirrus.operators.base import CirrusOperator
from airflow_provider_cirrus.operators.hidden import unhidden

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.templates.store import Templates

# As many as a person would ask.
_MOST = 20
_FIELDS = (*TEMPLATE_FIELDS, *MESSAGE_FIELDS)
_TOLD = ("chosen_options", "params_input", "responded_at", "responded_by_user")
# A conversation of its own, in which nothing was answered before.
_NEW_CONVERSATION = {"createChildObject": False}


class CirrusApprovalOperator(CirrusOperator, ApprovalOperator):
    """
    Ask people on WhatsApp to approve or reject; whoever answers first decides, there or on Airflow's own page.

    .. seealso:: docs/approval.md

    Airflow 3.1 and later. It is Airflow's ``ApprovalOperator``: the request stands under *Required Actions*, a
    *Reject* skips what follows. Besides, each approver gets a template, whose quick replies, or what they write, is
    their answer. It waits in the triggerer. Each is asked once by all tries of the task.

    Example::

        approve = CirrusApprovalOperator(
            task_id="approve",
            subject="Send the summer news?",
            body=plan.output["markdown"],
            approvers={"Ann": "+44 7700 900201", "Ben": "+44 7700 900202"},
            message={"template": "approve_send", "language": "en", "body": ["summer news"]},
            response_timeout=timedelta(hours=2),
            defaults="Reject",
        )
        plan >> approve >> send

    :param approvers: who is asked, and whose answers count: numbers, or numbers by name; at most 20 (templated)
    :param message: what they are sent: a dict of the arguments of ``SendTemplateOperator`` that make a message,
        ``template``, ``language``, ``header``, ``body``, ``buttons``, ``object_data`` … (templated)
    :param answers: more texts by option, beside ``Approve`` and ``Reject`` themselves: those of the quick replies,
        such as ``{"Approve": ["Yes, send it"], "Reject": ["No"]}``; case, blanks and a full stop do not count
    :param rules: whom to message, as :class:`~airflow_provider_cirrus.Rules`; None: the connection's (templated)
    :param delivery: ledger, ``max_failed``, ``resend`` and the like, as :class:`~airflow_provider_cirrus.Delivery`.
        Where more messages fail than ``max_failed`` (none), the task fails and waits for nobody (templated)
    :param templates_path: folder of the templates' definitions; None: the connection's (templated)
    :param poll_interval: seconds between two looks at the conversations, or a timedelta
    :param kwargs: ``subject``, ``body``, ``defaults``, ``response_timeout``, ``assigned_users``, ``notifiers`` and
        whatever else ``ApprovalOperator`` takes, but ``params``: nobody can fill in a form with a quick reply
    :return: as ``ApprovalOperator``, ``{"chosen_options", "params_input", "responded_at", "responded_by_user"}``, and
        ``channel``: ``whatsapp``, ``airflow`` or ``timeout``
    :raises AirflowFailException: wrong arguments, or nobody can be asked
    :raises HITLTimeoutError: nobody answered in time, and there are no ``defaults``
    """

    hidden_fields: ClassVar[Sequence[str]] = ("approvers", "rules")
    text_fields: ClassVar[Sequence[str]] = ("message",)
    template_fields: Sequence[str] = (
        "subject",
        "body",
        "approvers",
        "message",
        "rules",
        "delivery",
        "templates_path",
        "stream",
        "cirrus_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "md", "message": "json", "delivery": "json"}

    _is_resumed = False
    _begun = 0

    def __init__(
        self,
        *,
        approvers: Any,
        message: Mapping[str, Any],
        answers: Mapping[str, Sequence[str] | str] | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        delivery: Delivery | Mapping[str, Any] | None = None,
        templates_path: str | None = None,
        poll_interval: Any = 15.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.approvers = approvers
        self.message = message
        self.answers = answers
        self.rules = rules
        self.delivery = delivery
        self.templates_path = templates_path
        with self._checking():
            self.poll_interval = time_span(poll_interval, "poll_interval")
            if kwargs.get("params"):
                raise InvalidInput("params", "cannot be filled in with a quick reply.", hint="Leave them out.")
            Meanings(self.options, answers)
            self.rules = at_the_edge(Rules, rules, "rules")
            self.delivery = at_the_edge(Delivery, delivery, "delivery")
            if isinstance(self.rules, Mapping):
                options_of(Rules, self.rules, "rules").check()
            if isinstance(self.delivery, Mapping):
                options_of(Delivery, self.delivery, "delivery").check()
            if is_literal(approvers):
                _numbers_by_name(approvers)
            self._check_message()

    def execute(self, context: Context) -> Any:
        """Ask; then wait in the triggerer."""
        from airflow_provider_cirrus.triggers.approval import ApprovalTrigger

        if not self._is_resumed and not self._begun:
            # First, so that nobody's answer is too quick for it; once only, as it would take an answer away.
            self._open_request(context)
        questions = self._ask(context)
        self.defer(
            trigger=ApprovalTrigger(
                ti_id=context["ti"].id,
                options=self.options,
                questions=[question.as_dict() for question in questions],
                answers=self.answers,
                defaults=self.defaults,
                deadline=self._deadline,
                not_before=_run_start(context),
                stream=self.stream,
                cirrus_conn_id=self.cirrus_conn_id,
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the decision, or skip what follows; the event is ours, or Airflow's own from 3.3 on."""
        if event.get("error_type") == "cirrus":
            raise AirflowFailException(event["error"])
        channel = event.get("channel") or ("timeout" if event.get("timedout") else "airflow")
        if event.get("chosen_options") == [self.REJECT]:
            # Airflow leaves no result where it skips what follows; who said no is worth as much as who said yes.
            push_result(context, {**{name: event.get(name) for name in _TOLD}, "channel": channel})
        return {**super().execute_complete(context, event), "channel": channel}

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after quiet hours, or with the decision that came meanwhile."""
        self._is_resumed = True
        return self._go_on(context, event)

    def begin_anew(self, context: Context, event: dict[str, Any]) -> Any:
        """Ask whom nothing could be sent to, in the same try; or go on with the decision that came meanwhile."""
        self._begun = event.get("begun", 1)
        return self._go_on(context, event)

    def on_kill(self) -> None:
        """Let no further message leave."""
        # Runs in a signal handler: anything but setting an Event could deadlock.
        self._stop.set()

    def _go_on(self, context: Context, event: dict[str, Any] | None) -> Any:
        return self.execute_complete(context, event) if event and "chosen_options" in event else self.execute(context)

    def _open_request(self, context: Context) -> None:
        from airflow.sdk.execution_time.hitl import upsert_hitl_detail

        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=self.options,
            subject=self.subject,
            body=self.body,
            defaults=self.defaults,
            multiple=False,
            params={},
            assigned_users=self.assigned_users,
        )
        for notifier in self.notifiers:
            notifier(context)

    def _ask(self, context: Context) -> list[Question]:
        """Send the question to all approvers who were not asked by an earlier try; return what all were asked."""
        try:
            names = _numbers_by_name(unhidden(self.approvers))
            task = self._task_delivery(context, names)
            self._check_buttons(task.templates)
        except CirrusError as error:
            fail(error)
        client, messages, total = task.open("fail", to=list(names))
        with client:
            result = task.run(client, messages, total)
        task.end(result, self._defer)
        questions = [
            Question.of(names.get(one.recipient, mask(one.recipient)), one.recipient, one.object_id, one.message_id)
            for one in result.results
            if one.outcome == "accepted" and one.object_id
        ]
        if result.counts["accepted"] and not questions:
            raise AirflowFailException(
                "The approvers were asked, but Cirrus opened no conversation: no answer could be heard. Approve with "
                "Airflow's own ApprovalOperator, or ask whether object_data opens conversations in this stream."
            )
        if questions:
            asked = ", ".join(question.name for question in questions)
            self.log.info("Asked on WhatsApp: %s. Whoever answers first decides, there or in Airflow.", asked)
        else:
            self.log.warning("Nobody is asked on WhatsApp: the decision can be given in Airflow only.")
        return questions

    def _task_delivery(self, context: Context, names: Mapping[str, str]) -> TaskDelivery:
        message = dict.fromkeys(_FIELDS) | {"object_data": _NEW_CONVERSATION} | dict(self._given_message())
        return TaskDelivery(
            self.hook,
            context,
            self.retries or 0,
            rules=unhidden(self.rules),
            delivery=self.delivery,
            audience=[list(names)],
            message=message,
            templates_path=self.templates_path,
            is_resumed=self._is_resumed,
            begun=self._begun,
            stop=self._stop,
        )

    def _given_message(self) -> Mapping[str, Any]:
        message = from_text(self.message)
        if not isinstance(message, Mapping):
            raise InvalidInput(
                "message",
                f"is of type {type(message).__name__}.",
                hint="Give a dict, such as {'template': 'approve_send', 'language': 'en'}.",
            )
        if strange := [name for name in message if name not in _FIELDS]:
            raise InvalidInput("message", f"has no {str(strange[0])[:40]!r}.", hint=f"It has {', '.join(_FIELDS)}.")
        return message

    def _check_message(self) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.delivery.audience.messages import check_common

        if not isinstance(self.message, Mapping) and not is_literal(self.message):
            return
        message = self._given_message()
        if missing := [name for name in ("template", "language") if message.get(name) is None]:
            raise InvalidInput(f"message.{missing[0]}", "is missing.", hint="Name the template that asks.")
        literal = {name: value for name, value in message.items() if value is not None and is_literal(value)}
        check_common({"template": "any", "language": "en", **literal})

    def _check_buttons(self, templates: Templates | None) -> None:
        """Refuse a template of which a quick reply would decide nothing, where its definition is known."""
        if templates is None:
            return
        message = self._given_message()
        definition = templates.find(str(message.get("template")), str(message.get("language")))
        if definition is None:
            return
        meanings = Meanings(self.options, self.answers)
        for button in definition.parts.buttons:
            if button.type == "QUICK_REPLY" and meanings.option_of(button.text) is None:
                raise InvalidInput(
                    "answers",
                    f"do not say what the quick reply {button.text!r} of template {definition.name!r} means.",
                    hint=f"Name it, such as answers={{{self.options[0]!r}: [{button.text!r}]}}.",
                )

    def _defer(self, until: float, begun: int | None) -> None:
        """Give the worker's slot back; see :meth:`~.hooks.delivery.TaskDelivery.end`."""
        from airflow_provider_cirrus.triggers.date_time import DateTimeTrigger

        if begun is None:
            self.defer(trigger=DateTimeTrigger(until), method_name="resume")
        self.defer(trigger=DateTimeTrigger(until, begun), method_name="begin_anew")

    @property
    def _deadline(self) -> float | None:
        return None if self.response_timeout is None else time.time() + self.response_timeout.total_seconds()

    @cached_property
    def _stop(self) -> Event:
        # Made when it is first needed: operators are copied, and an Event cannot be.
        return Event()


def _numbers_by_name(approvers: Any) -> dict[str, str]:
    """Return the approvers' names by their numbers in digits, in the order in which they are given."""
    given = from_text(approvers)
    if isinstance(given, str | int):
        given = [given]
    if isinstance(given, Mapping):
        named = [(str(name).strip(), number, f"approvers[{str(name)[:40]!r}]") for name, number in given.items()]
    elif isinstance(given, list | tuple):
        named = [("", number, f"approvers[{place}]") for place, number in enumerate(given)]
    else:
        raise InvalidInput("approvers", f"is of type {type(given).__name__}.", hint="Give numbers, or numbers by name.")
    if not 0 < len(named) <= _MOST:
        raise InvalidInput("approvers", f"are {len(named)}.", hint=f"Name 1 to {_MOST} of them.")
    found: dict[str, str] = {}
    for name, number, field in named:
        digits = to_digits(number, field)
        if digits in found:
            raise InvalidInput(field, "has the number of another approver.", hint="Name each number once.")
        found[digits] = name or mask(digits)
    return found


def _run_start(context: Context) -> float:
    """Return when the run began, in Unix seconds: before that nobody was asked, whichever try this is."""
    began = getattr(context.get("dag_run"), "start_date", None)
    return 0.0 if began is None else float(began.timestamp())
