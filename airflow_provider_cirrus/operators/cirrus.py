"""Operators: send a template, upload media for its header, ask whether a contact is on WhatsApp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import allowance, is_literal, plain_without_functions, time_span
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import (
    Delivery,
    Report,
    Rules,
    options_of,
    refuse_columns,
    with_row_context,
)
from airflow_provider_cirrus.hooks.connection import task_scope
from airflow_provider_cirrus.hooks.ending import check_on_empty, fail, push_result
from airflow_provider_cirrus.hooks.ledger import task_try
from airflow_provider_cirrus.operators.base import CirrusOperator, with_any_category
from airflow_provider_cirrus.operators.hidden import unhidden
from airflow_provider_cirrus.operators.send import SEND_FIELDS, SendOperator

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.providers.common.compat.sdk import Context


class SendTemplateOperator(SendOperator):
    """
    Send a templated WhatsApp message to one or many recipients.

    .. seealso:: docs/sending.md, and the Cirrus API "Send templated message"

    Example::

        SendTemplateOperator(
            task_id="send",
            template="order_update",
            language="en",
            to=["+44 7700 900123", "+44 7700 900124"],
            header=upload.output,
            body=["{{ params.order }}"],
        )

    Everything is checked before the first request: one bad recipient or parameter, and nothing is sent.
    Then the messages leave in batches of 20, and every message ends in exactly one outcome: ``accepted``,
    ``rejected``, ``suppressed``, ``duplicate``, ``unknown`` or ``unsent``. Nobody is messaged twice: a retry or a
    clear sends only what is unsent, and where it is not known whom earlier tries messaged, nothing is sent. What is
    known after what is in docs/delivery.md.

    All parameters are templated. Those of the last group are small objects that many tasks may share; a dict of their
    names does as well, and what they leave out is the connection's.

    :param template: name of the template, as the console shows it
    :param language: its language code, such as ``en`` or ``pt_BR``
    :param to: a number, or a list of them, with country code; ``+``, spaces, dots, dashes and parentheses may
        stand in it. Or ``messages``:
    :param messages: dicts with ``to`` and whatever differs from the other arguments: ``template``,
        ``language``, ``header``, ``body``, ``buttons``, ``components``, ``authentication_code``, ``schedule``,
        ``object_data``, ``message_key``. Or ``audience``:
    :param audience: a path or URI of a CSV, JSON Lines or Parquet file, or an iterable of rows (dicts); read as a
        stream, see docs/audiences.md
    :param header: a text of up to 60 characters; ``{"type": "image" | "video" | "document", "link" | "id": …}``;
        or the output of :class:`UploadMediaOperator`
    :param body: parameters in order as a list, or by name as a dict
    :param buttons: dicts such as ``{"type": "url", "text": "suffix"}``; also ``quick_reply`` (``payload``),
        ``copy_code`` (``coupon_code``), ``flow`` and ``catalog``; ``index`` where it is not the place in the list
    :param components: raw components in Meta's JSON, for what the others do not cover
    :param authentication_code: the code of an authentication template, at most 15 characters
    :param object_data: the conversation to open, keys as Cirrus writes them
    :param schedule: when the messages are to leave: aware datetime, ISO text with a zone, or Unix seconds
    :param message_key: your own name for what is told, such as an order's number: with a ``ledger_conn_id`` each
        recipient gets it once for ever, by whatever run or DAG, however it is worded
    :param columns: which columns of an audience fill what, as :class:`~airflow_provider_cirrus.Columns`
    :param rules: whom to message, when and how often, as :class:`~airflow_provider_cirrus.Rules`
    :param delivery: mode, limits, shards, ledger, as :class:`~airflow_provider_cirrus.Delivery`
    :param report: path or URI of a report with a line per message, or :class:`~airflow_provider_cirrus.Report`
    :param templates_path: folder of the templates' definitions in Meta's JSON; a relative path begins at the DAG file.
        What is written out is then checked when the DAG is parsed, and each message before anything of it leaves.
        None: the connection's. See docs/templates.md
    :param languages: where the template has no definition in ``language``, or none is given: the first of these in
        which it has
    :param approved: what a :class:`~.operators.plan.PlanSendOperator` returned and somebody approved: where audience,
        message, rules, the templates' definitions or the rate are others now, nothing is sent. See docs/plan.md
    :param tolerance: by how many messages the audience may differ from what was approved: a count (int) or a ratio of
        it (float, or ``5%``); None: by none
    :param on_empty: what the task does where there is nobody to message: ``skip``, ``succeed`` with a summary of
        nothing, or ``fail``; an empty list that is written out in the DAG file is an error
    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    :return: ``{"total", "accepted", "rejected", "suppressed", "duplicate", "unknown", "unsent", "seconds"}``, and
        ``"outcomes"`` for up to 100 messages
    :raises AirflowFailException: wrong arguments, or only failures that no retry would mend
    :raises CirrusUnsentError: messages are left that a retry can send
    """

    template_fields: Sequence[str] = (
        "to",
        "messages",
        "audience",
        *SEND_FIELDS,
        "approved",
        "tolerance",
        "on_empty",
    )
    hidden_fields: ClassVar[Sequence[str]] = ("to", "messages", "audience", *SendOperator.hidden_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SendOperator.template_fields_renderers,
        "to": "json",
        "messages": "json",
    }

    def __init__(
        self,
        *,
        template: str | None = None,
        language: str | None = None,
        to: Any = None,
        messages: Any = None,
        audience: Any = None,
        header: Any = None,
        body: Sequence[Any] | Mapping[str, Any] | str | None = None,
        buttons: Sequence[Mapping[str, Any]] | str | None = None,
        components: Sequence[Mapping[str, Any]] | str | None = None,
        authentication_code: str | None = None,
        object_data: Mapping[str, Any] | str | None = None,
        schedule: datetime | str | float | None = None,
        message_key: str | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        delivery: Delivery | Mapping[str, Any] | None = None,
        report: Report | Mapping[str, Any] | str | None = None,
        templates_path: str | None = None,
        languages: Sequence[str] | str | None = None,
        approved: Mapping[str, Any] | str | None = None,
        tolerance: int | float | str | None = None,
        on_empty: Literal["skip", "succeed", "fail"] | str = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.language = language
        self.on_empty = on_empty
        self.approved = approved
        self._needs_approval = approved is not None
        self.tolerance = tolerance
        self.to = to
        self.messages = messages
        self.audience = audience
        self.header = header
        self.body = body
        self.buttons = buttons
        self.components = components
        self.authentication_code = authentication_code
        self.object_data = object_data
        self.schedule = schedule
        self.message_key = message_key
        self.columns = columns
        self.rules = rules
        self.delivery = delivery
        self.report = report
        self.templates_path = templates_path
        self.languages = languages
        with self._checking():
            self._keep_options()
            self._check_recipients()
            if is_literal(on_empty):
                check_on_empty(on_empty)
            if tolerance is not None and is_literal(tolerance):
                allowance(tolerance, 1, "tolerance")
            self._check_message(needs_template=messages is None and not self._brings_template())

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the messages; return what became of them."""
        task = self._task_delivery(context)
        client, messages, total = task.open(
            self.on_empty,
            to=unhidden(self.to),
            messages=unhidden(self.messages),
            audience=unhidden(self.audience),
        )
        with client:
            result = task.run(client, messages, total)
        return task.end(result, self._defer)

    def _recipients(self) -> list[Any]:
        messages = unhidden(self.messages)
        if isinstance(messages, list | tuple):
            messages = [one.get("to") if isinstance(one, Mapping) else one for one in messages]
        return [unhidden(self.to), messages, unhidden(self.audience)]

    def _reads(self) -> list[Any]:
        from airflow_provider_cirrus.delivery.audience.rows import is_path

        audience = unhidden(self.audience)
        return [audience] if audience is not None and is_path(audience) else []

    def _check_recipients(self) -> None:
        from airflow_provider_cirrus.delivery.audience.messages import check_recipients

        given = {"to": self.to, "messages": self.messages, "audience": self.audience}
        if sum(one is not None for one in given.values()) != 1:
            raise InvalidInput("to", "messages or audience: give exactly one of them.")
        for name, one in given.items():
            if isinstance(one, Iterator):
                # Read when the DAG file is parsed, it would be empty when the task runs.
                what = f"is a {type(one).__name__}, which can be read only once."
                raise InvalidInput(name, what, hint="Give a list, or what another task returns.")
        if self.to is None:
            return
        if is_literal(self.to):
            check_recipients(self.to)
        if is_literal(self.rules) and is_literal(self.columns):
            columns, rules = options_of(Columns, self.columns, "columns"), options_of(Rules, self.rules, "rules")
            if self.templates_path is not None:
                rules = with_any_category(rules)
            refuse_columns(with_row_context(columns, rules))


class UploadMediaOperator(CirrusOperator):
    """
    Upload an image, a video or a document, for the header of a template.

    The file is read as a stream, from a local path or any ``ObjectStoragePath`` URI, and checked first: its
    kind by its content, its size against Meta's limits (image 5 MB, video 16 MB, document 100 MB).

    .. seealso:: docs/sending.md, and the Cirrus API "Upload media"

    Example::

        upload = UploadMediaOperator(task_id="upload", path="s3://aws_default@shop/{{ ds }}.pdf")
        SendTemplateOperator(task_id="send", header=upload.output, …)

    :param path: local path, or URI such as ``s3://conn_id@bucket/key`` (templated)
    :param filename: the name that the recipient of a document sees, with extension; None: that of the path
        (templated)
    :param stream: as in :class:`SendTemplateOperator` (templated)
    :param cirrus_conn_id: the connection (templated)
    :return: ``{"id": str, "filename": str, "type": "image" | "video" | "document"}``; the bare id is pushed under
        the XCom key ``media_id``. It belongs to the stream's sending number and lives 30 days.
    :raises AirflowFailException: WhatsApp takes no such file, or Cirrus refuses it
    :raises AirflowException: no answer; uploading again does no harm
    """

    template_fields: Sequence[str] = ("path", "filename", "stream", "cirrus_conn_id")

    def __init__(self, *, path: Any, filename: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.filename = filename

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the file that is read, for OpenLineage."""
        from airflow_provider_cirrus.operators.lineage import lineage_of

        return lineage_of([self.path], [])

    def execute(self, context: Context) -> dict[str, str]:
        """Upload the file; return what a header needs."""

        try:
            found = self.hook.upload_media(self.path, self.filename)
        except CirrusError as error:
            fail(error)
        finally:
            self.hook.close()
        self.log.info("Uploaded %s as %s, id %s.", found["filename"], found["type"], found["id"])
        push_result(context, found["id"], key="media_id")
        return found


class ValidateContactOperator(CirrusOperator):
    """
    Ask whether a phone number is on WhatsApp.

    .. warning:: Checking numbers that are then not messaged gets a business banned. Ask only for numbers whose
       owner opted in, just before a message to them, never for a list to clean it, and never twice. Since
       WhatsApp 2.43 most numbers are answered with valid anyway: a send is the better test.

    A number is checked once by all tries of the task: a retry gets the answer that was given; where an earlier try
    asked and no answer was kept, the task fails and does not ask again. With a ``ledger_conn_id`` that holds for all
    tasks, runs and DAGs, as long as ``max_age``, and no more numbers are checked in a day than the connection's
    ``validations_per_day`` (50).

    .. seealso:: docs/contacts.md, and the Cirrus API "Validate contact"

    :param phone_number: one number, written as for :class:`SendTemplateOperator` (templated)
    :param opt_in: where it is recorded that its owner agreed: a list, a file or a query, see
        docs/consent.md; or True: you have made sure yourself (templated)
    :param ledger_conn_id: connection of a database that remembers what was checked; None: the Cirrus connection's
        own, or only this task does (templated)
    :param max_age: for how long an answer in the ledger holds: a timedelta, or seconds; None: 30 days
    :param fail_if_invalid: fail the task where the number is not on WhatsApp
    :param skip_if_invalid: skip the task, and so what follows it
    :param stream: as in :class:`SendTemplateOperator` (templated)
    :param cirrus_conn_id: the connection (templated)
    :return: ``{"valid": bool, "phone_number": str}``, the number in digits
    :raises AirflowFailException: no number, no opt-in, ``fail_if_invalid``, no more numbers today, or an answer that
        cannot be had again
    """

    hidden_fields: ClassVar[Sequence[str]] = ("phone_number", "opt_in")
    template_fields: Sequence[str] = ("phone_number", "opt_in", "ledger_conn_id", "stream", "cirrus_conn_id")

    def __init__(
        self,
        *,
        phone_number: Any,
        opt_in: Any = None,
        ledger_conn_id: str | None = None,
        max_age: timedelta | float | None = None,
        fail_if_invalid: bool = False,
        skip_if_invalid: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if fail_if_invalid and skip_if_invalid:
            raise ValueError("fail_if_invalid and skip_if_invalid: set one of them.")
        self.phone_number = phone_number
        self.opt_in = opt_in
        self.ledger_conn_id = ledger_conn_id
        self.max_age = max_age
        self.fail_if_invalid = fail_if_invalid
        self.skip_if_invalid = skip_if_invalid
        with self._checking():
            self.opt_in = plain_without_functions(opt_in, "opt_in")
            self._check_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, or take the answer that was given before."""
        from airflow_provider_cirrus.api.phone import mask

        try:
            number = _one_number(unhidden(self.phone_number))
            if str(unhidden(self.opt_in)).strip().lower() == "true":
                # What a template without native objects makes of True.
                self.opt_in = True
            valid = self._ask(number, context)
        except CirrusError as error:
            fail(error)
        finally:
            self.hook.close()
        found = {"valid": valid, "phone_number": number}
        if not valid and (self.fail_if_invalid or self.skip_if_invalid):
            push_result(context, found)
            problem = f"{mask(number)} is not on WhatsApp."
            raise AirflowFailException(problem) if self.fail_if_invalid else AirflowSkipException(problem)
        return found

    def _check_literals(self) -> None:
        from airflow_provider_cirrus.delivery.contact_checks.guard import check_opt_in

        if is_literal(self.phone_number):
            _one_number(self.phone_number)
        if is_literal(self.opt_in):
            check_opt_in(self.opt_in)
        if self.max_age is not None:
            time_span(self.max_age, "max_age")

    def _ask(self, number: str, context: Context) -> bool:
        from airflow_provider_cirrus.delivery.contact_checks.guard import require_opt_in
        from airflow_provider_cirrus.operators.checked_numbers import CheckedNumbers

        if ledger_conn_id := self.hook.ledger_conn_id_or(self.ledger_conn_id):
            return self.hook.validate_contact(
                number,
                opt_in=unhidden(self.opt_in),
                ledger_conn_id=ledger_conn_id,
                max_age=self.max_age,
                owner=task_scope(context["ti"]),
            )
        if self.max_age is not None:
            raise InvalidInput(
                "max_age",
                "needs a database that remembers: without one, only the run is remembered.",
                hint="Give the task, or the Cirrus connection, a ledger_conn_id.",
            )
        require_opt_in(unhidden(self.opt_in), number, self.hook.source_engine)
        task = task_try(context, self.retries or 0)
        checked = CheckedNumbers(context.get("task_state_store"), context["ti"].run_id, task)
        return checked.once(number, lambda: self.hook.checked_client.validate_contact(number).valid)


def _one_number(value: Any) -> str:
    from airflow_provider_cirrus.api.phone import to_digits

    if isinstance(value, list | tuple | set | Mapping):
        raise InvalidInput(
            "phone_number",
            f"is a {type(value).__name__} of {len(value)}; one number is asked for at a time.",
            hint="Checking lists of numbers gets a business banned.",
        )
    return to_digits(value, "phone_number")
