"""What the operators share that send an audience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import Delivery, Report, Rules, at_the_edge, options_of
from airflow_provider_cirrus.hooks.delivery import TaskDelivery
from airflow_provider_cirrus.links.cirrus import ConversationLink
from airflow_provider_cirrus.operators.base import CirrusOperator, with_any_category
from airflow_provider_cirrus.operators.hidden import unhidden

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Arguments of every send, in the order in which they are rendered.
SEND_FIELDS: Sequence[str] = (
    "template",
    "language",
    "header",
    "body",
    "buttons",
    "components",
    "authentication_code",
    "object_data",
    "schedule",
    "message_key",
    "columns",
    "rules",
    "delivery",
    "report",
    "templates_path",
    "languages",
    "stream",
    "cirrus_conn_id",
)

_OPTIONS: Mapping[str, Any] = {"columns": Columns, "rules": Rules, "delivery": Delivery, "report": Report}


class SendOperator(CirrusOperator):
    """
    Base of the operators that send an audience; each has all arguments of :data:`SEND_FIELDS` in its own signature.

    Its options are kept as plain dicts: what is in these is rendered, serialised, found as a dependency and shown.
    """

    operator_extra_links: Sequence[Any] = (ConversationLink(),)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(
        ("header", "body", "buttons", "components", "object_data", "columns", "rules", "delivery"), "json"
    )

    hidden_fields: ClassVar[Sequence[str]] = ("authentication_code", "rules")
    # All that makes the message, and what names it.
    text_fields: ClassVar[Sequence[str]] = (*SEND_FIELDS[: SEND_FIELDS.index("schedule")], "message_key", "messages")

    template: str | None
    language: str | None
    header: Any
    body: Any
    buttons: Any
    components: Any
    authentication_code: Any
    object_data: Any
    schedule: Any
    message_key: str | None
    columns: Any
    rules: Any
    delivery: Any
    report: Any
    templates_path: Any
    languages: Any
    #: Of those whose audience can be read twice.
    approved: Any = None
    tolerance: Any = None
    #: What is given and renders to nothing approves nothing: it is not as if nobody was to be asked.
    _needs_approval = False

    #: The conversation that the send opened, for its link; see :mod:`airflow_provider_cirrus.links.cirrus`.
    conversation_url = ""

    _is_resumed = False
    _begun = 0

    @cached_property
    def _stop(self) -> Event:
        # Made when it is first needed: operators are copied, and an Event cannot be.
        return Event()

    def on_kill(self) -> None:
        """Let no further batch leave; what is in flight is recorded by the threads that sent it."""
        # Runs in a signal handler: anything but setting an Event could deadlock.
        self._stop.set()

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on after quiet hours: what was sent stays sent, whoever waited gets the message now."""
        self._is_resumed = True
        found: dict[str, Any] = self.execute(context)
        return found

    def begin_anew(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Send what could not be sent at all, in the same try: nothing was, so there is nothing to remember."""
        self._begun = event["begun"]
        found: dict[str, Any] = self.execute(context)
        return found

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the files that are read and written, for OpenLineage."""
        from airflow_provider_cirrus.operators.lineage import lineage_of

        report = options_of(Report, self.report, "report")
        return lineage_of(self._reads(), [report.path] if report.path else [])

    def _reads(self) -> list[Any]:
        """Return the paths of the files that are read."""
        return []

    def _recipients(self) -> list[Any]:
        """Return the arguments that say who is messaged, as far as they tell mapped tasks apart."""
        return []

    def _message(self) -> dict[str, Any]:
        """Return what all messages share."""
        from airflow_provider_cirrus.delivery.audience.fields import MESSAGE_FIELDS, TEMPLATE_FIELDS

        return {name: unhidden(getattr(self, name)) for name in (*TEMPLATE_FIELDS, *MESSAGE_FIELDS)}

    def _keep_options(self) -> None:
        """Put plain dicts in place of options, and check what is written out."""
        for name, kind in _OPTIONS.items():
            setattr(self, name, at_the_edge(kind, getattr(self, name), name))
            if isinstance(getattr(self, name), Mapping) and (name != "columns" or is_literal(self.columns)):
                options = options_of(kind, getattr(self, name), name)
                if isinstance(options, Rules) and self.templates_path is not None:
                    options = with_any_category(options)
                options.check()

    def _check_message(self, needs_template: bool) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.delivery.audience.messages import check_common

        literal = {name: value for name, value in self._message().items() if value is not None and is_literal(value)}
        if needs_template:
            missing = [name for name in ("template", "language") if getattr(self, name) is None]
            # The language may be one of those that are defined.
            literal |= {name: "" for name in missing if name == "template" or self.languages is None}
        # Stand-ins for what is templated, or what each message brings.
        columns = options_of(Columns, self.columns, "columns") if is_literal(self.columns) else None
        # What columns fill in may be left open: {"type": "image"}, {"type": "url", "index": 1}.
        open_to = None if columns is None or not (columns.header or columns.buttons) else columns
        if self.columns is not None and columns is None:
            literal = {name: value for name, value in literal.items() if name not in ("header", "buttons")}
        check_common({"template": "any", "language": "en", **literal}, open_to)
        self._check_definition()

    def _check_definition(self) -> None:
        """Check what is written out against the definition of its template, where the task says where that is."""
        if self.templates_path is None or not is_literal(self.templates_path):
            return
        # Late, as most DAGs have no definitions.
        from airflow_provider_cirrus.hooks.template_check import check_literals
        from airflow_provider_cirrus.hooks.templates import folder_of, templates_in

        dag = self.get_dag()
        languages = self.languages if is_literal(self.languages) else None
        templates = templates_in(self.templates_path, languages, folder=folder_of(dag))
        if templates is not None:
            columns = options_of(Columns, self.columns, "columns") if is_literal(self.columns) else None
            check_literals(templates, self._message(), columns, unhidden(getattr(self, "messages", None)))

    def _brings_template(self) -> bool:
        """Return whether the rows themselves name the template or its language; also where nobody knows yet."""
        if not is_literal(self.columns):
            return True
        columns = options_of(Columns, self.columns, "columns")
        return columns.template is not None or columns.language is not None

    def _task_delivery(self, context: Context) -> TaskDelivery:
        return TaskDelivery(
            self.hook,
            context,
            self.retries or 0,
            columns=self.columns,
            rules=unhidden(self.rules),
            delivery=self.delivery,
            report=self.report,
            audience=self._recipients(),
            message=self._message(),
            templates_path=self.templates_path,
            languages=self.languages,
            approved={} if self._needs_approval and self.approved is None else self.approved,
            tolerance=self.tolerance,
            is_resumed=self._is_resumed,
            begun=self._begun,
            stop=self._stop,
        )

    def _defer(self, until: float, begun: int | None) -> None:
        """Give the worker's slot back; see :meth:`~.hooks.delivery.TaskDelivery.end`."""
        from airflow_provider_cirrus.triggers.date_time import DateTimeTrigger

        if begun is None:
            self.defer(trigger=DateTimeTrigger(until), method_name="resume")
        # Not by way of its kwargs, which Airflow's test runner drops.
        self.defer(trigger=DateTimeTrigger(until, begun), method_name="begin_anew")
