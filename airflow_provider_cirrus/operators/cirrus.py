"""Operators: send a template, upload media for its header, ask whether a contact is on WhatsApp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
)

from airflow_provider_cirrus.hooks.cirrus import CirrusHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.errors import CirrusError
    from airflow_provider_cirrus.delivery.dispatch import Delivery
    from airflow_provider_cirrus.delivery.ledger import Ledger


class CirrusUnsentError(AirflowException):
    """
    Some messages were certainly not sent; a retry of the task sends those, and only those.

    :ivar retry_after: seconds that Cirrus asked to wait, or None
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _CirrusOperator(BaseOperator):
    """What the operators share: the connection, the stream, and errors in Airflow's terms."""

    def __init__(
        self, *, stream: str | None = None, cirrus_conn_id: str = CirrusHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id

    @cached_property
    def hook(self) -> CirrusHook:
        """The hook for the connection and the stream."""
        return CirrusHook(self.cirrus_conn_id, self.stream)


class SendTemplateOperator(_CirrusOperator):
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
    ``rejected``, ``duplicate``, ``unknown`` or ``unsent``. Nobody is messaged twice: on Airflow 3.3 and later a
    retry or a manual clear sends only what is unsent; older versions cannot remember, and refuse.

    All parameters are templated.

    :param template: name of the template, as the console shows it
    :param language: its language code, such as ``en`` or ``pt_BR``
    :param to: a number, or a list of them, with country code; ``+``, spaces, dots, dashes and parentheses may
        stand in it. Or ``messages``:
    :param messages: dicts with ``to`` and whatever differs from the other arguments: ``template``,
        ``language``, ``header``, ``body``, ``buttons``, ``components``, ``authentication_code``, ``schedule``,
        ``object_data``, ``message_key``
    :param header: a text of up to 60 characters; ``{"type": "image" | "video" | "document", "link" | "id": …}``;
        or the output of :class:`UploadMediaOperator`
    :param body: parameters in order as a list, or by name as a dict
    :param buttons: dicts such as ``{"type": "url", "text": "suffix"}``; also ``quick_reply`` (``payload``),
        ``copy_code`` (``coupon_code``), ``flow`` and ``catalog``; ``index`` where it is not the place in the list
    :param components: raw components in Meta's JSON, for what the others do not cover
    :param authentication_code: the code of an authentication template, at most 15 characters
    :param object_data: the conversation to open, keys as Cirrus writes them
    :param schedule: when the messages are to leave: aware datetime, ISO text with a zone, or Unix seconds
    :param max_failed: how many messages may be rejected or unknown before the task fails: a count (int) or a
        ratio of all (float, up to 1.0); everybody else was served by then
    :param resend: send again what an earlier run of this task sent, on purpose
    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    :return: ``{"total", "accepted", "rejected", "suppressed", "duplicate", "unknown", "unsent", "seconds"}``, and
        ``"outcomes"`` for up to 100 messages
    :raises AirflowFailException: wrong arguments, or only failures that no retry would mend
    :raises CirrusUnsentError: messages are left that a retry can send
    """

    template_fields: Sequence[str] = (
        "template",
        "language",
        "to",
        "messages",
        "header",
        "body",
        "buttons",
        "components",
        "authentication_code",
        "object_data",
        "schedule",
        "max_failed",
        "resend",
        "stream",
        "cirrus_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "to": "json",
        "messages": "json",
        "header": "json",
        "body": "json",
        "buttons": "json",
        "components": "json",
        "object_data": "json",
    }
    ui_color = "#dcf8c6"

    def __init__(
        self,
        *,
        template: str | None = None,
        language: str | None = None,
        to: Any = None,
        messages: Any = None,
        header: Any = None,
        body: Any = None,
        buttons: Any = None,
        components: Any = None,
        authentication_code: Any = None,
        object_data: Any = None,
        schedule: Any = None,
        max_failed: int | float | str = 0,
        resend: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.language = language
        self.to = to
        self.messages = messages
        self.header = header
        self.body = body
        self.buttons = buttons
        self.components = components
        self.authentication_code = authentication_code
        self.object_data = object_data
        self.schedule = schedule
        self.max_failed = max_failed
        self.resend = resend
        self._stop = Event()
        self._check_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the messages; return what became of them."""
        from airflow_provider_cirrus.api.errors import CirrusError
        from airflow_provider_cirrus.delivery import report
        from airflow_provider_cirrus.delivery.audience import read_messages
        from airflow_provider_cirrus.delivery.dispatch import Dispatcher

        try:
            messages = read_messages(self.to, self.messages, self._common())
            _allowance(self.max_failed, len(messages))
            client = self.hook.get_conn()
            rate = self.hook.messages_per_second
        except CirrusError as error:
            raise AirflowFailException(f"{error} Nothing was sent.") from error
        for remark in dict.fromkeys(remark for message in messages for remark in message.template.advice()):
            self.log.warning(remark)
        self.log.info("Sending %d messages, at most %d a second.", len(messages), rate)
        try:
            ledger = self._ledger(context)
            dispatcher = Dispatcher(
                client.send, client.endpoint.stream_id, ledger, messages_per_second=rate, stop=self._stop
            )
            delivery = dispatcher.run(messages)
        except CirrusError as error:
            raise AirflowFailException(str(error)) from error
        finally:
            client.close()
        found = report.summary(delivery)
        self.log.info("%s.", report.in_words(delivery))
        self._judge(delivery, found, context)
        return found

    def on_kill(self) -> None:
        """Let no further batch leave; what is in flight is recorded by the thread that sent it."""
        # Runs in a signal handler: anything but setting an Event could deadlock.
        self._stop.set()

    def _common(self) -> dict[str, Any]:
        from airflow_provider_cirrus.delivery.audience import MESSAGE_FIELDS, TEMPLATE_FIELDS

        names = [name for name in (*TEMPLATE_FIELDS, *MESSAGE_FIELDS) if name != "message_key"]
        return {name: getattr(self, name) for name in names}

    def _check_literals(self) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.api.errors import InvalidInput
        from airflow_provider_cirrus.delivery.audience import check_common, check_recipients

        if _is_literal(self.max_failed):
            _allowance(self.max_failed, 1)
        if (self.to is None) == (self.messages is None):
            raise InvalidInput("to", "and messages: give exactly one of them.")
        if _is_literal(self.to) and self.to is not None:
            check_recipients(self.to)
        literal = {name: value for name, value in self._common().items() if value is not None and _is_literal(value)}
        if self.messages is None:
            literal |= {name: "" for name in ("template", "language") if getattr(self, name) is None}
        # Stand-ins for what is templated, or what each message brings.
        check_common({"template": "any", "language": "en", **literal})

    def _ledger(self, context: Context) -> Ledger | None:
        """Return where outcomes are remembered; refuse a second try where nothing is."""
        from airflow_provider_cirrus.delivery.ledger import TaskStateLedger

        ti = context["ti"]
        # Airflow raises max_tries with every clear: this is the first try since then.
        first_try = ti.try_number == (ti.max_tries or 0) - (self.retries or 0) + 1
        resend = _is_true(self.resend)
        store = context.get("task_state_store")
        if store is not None:
            ledger = TaskStateLedger(store)
            if resend and first_try:
                self.log.warning("resend is set: what was sent before is sent again.")
                ledger.forget()
            return ledger
        if ti.try_number > 1 and not (resend and first_try):
            raise AirflowFailException(
                "An earlier try of this task may have sent messages, and Airflow before 3.3 does not remember which: "
                "nothing was sent now. Look into the console, then clear the task with resend=True and only those "
                "recipients that are missing."
            )
        return None

    def _judge(self, delivery: Delivery, found: dict[str, Any], context: Context) -> None:
        """Fail the task where the outcomes call for it, after everybody else was served."""
        from airflow_provider_cirrus.delivery import report

        counts, total = delivery.counts, len(delivery.results)
        failed = counts["rejected"] + counts["unknown"]
        if not counts["unsent"] and failed <= _allowance(self.max_failed, total):
            return
        # A failed task's result is worth as much as a successful one's: who got it and who did not.
        context["ti"].xcom_push(key="return_value", value=found)
        message = f"{report.in_words(delivery)}. {report.complaints(delivery)}."
        if delivery.error:
            message += f" {delivery.error.hint}"
        if counts["unsent"]:
            raise CirrusUnsentError(message, delivery.error.retry_after if delivery.error else None)
        raise AirflowFailException(f"{message} (max_failed={self.max_failed})")


class UploadMediaOperator(_CirrusOperator):
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
    ui_color = "#dcf8c6"

    def __init__(self, *, path: Any, filename: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.filename = filename

    def execute(self, context: Context) -> dict[str, str]:
        """Upload the file; return what a header needs."""
        from airflow_provider_cirrus.api.errors import CirrusError

        try:
            found = self.hook.upload_media(self.path, self.filename)
        except CirrusError as error:
            _fail(error)
        finally:
            self.hook.close()
        self.log.info("Uploaded %s as %s, id %s.", found["filename"], found["type"], found["id"])
        context["ti"].xcom_push(key="media_id", value=found["id"])
        return found


class ValidateContactOperator(_CirrusOperator):
    """
    Ask whether a phone number is on WhatsApp.

    .. warning:: Checking numbers that are then not messaged gets a business banned. Ask only for numbers whose
       owner opted in, just before a message to them, never for a list to clean it, and never twice. Since
       WhatsApp 2.43 most numbers are answered with valid anyway: a send is the better test.

    A number is asked for once in a DAG run: a retry, or another task of the run, gets the answer that was
    given; where an earlier try asked and no answer was kept, the task fails and does not ask again.

    .. seealso:: docs/contacts.md, and the Cirrus API "Validate contact"

    :param phone_number: one number, written as for :class:`SendTemplateOperator` (templated)
    :param fail_if_invalid: fail the task where the number is not on WhatsApp
    :param skip_if_invalid: skip the task, and so what follows it
    :param stream: as in :class:`SendTemplateOperator` (templated)
    :param cirrus_conn_id: the connection (templated)
    :return: ``{"valid": bool, "phone_number": str}``, the number in digits
    :raises AirflowFailException: no number, or ``fail_if_invalid``, or an answer that cannot be had again
    """

    template_fields: Sequence[str] = ("phone_number", "stream", "cirrus_conn_id")
    ui_color = "#dcf8c6"

    def __init__(
        self,
        *,
        phone_number: Any,
        fail_if_invalid: bool = False,
        skip_if_invalid: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if fail_if_invalid and skip_if_invalid:
            raise ValueError("fail_if_invalid and skip_if_invalid: set one of them.")
        self.phone_number = phone_number
        self.fail_if_invalid = fail_if_invalid
        self.skip_if_invalid = skip_if_invalid
        if _is_literal(phone_number):
            _one_number(phone_number)

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, or take the answer that was given in this run."""
        from airflow_provider_cirrus.api.errors import CirrusError
        from airflow_provider_cirrus.api.phone import mask
        from airflow_provider_cirrus.operators.asked import AskedNumbers

        try:
            number = _one_number(self.phone_number)
            asked = AskedNumbers(context, type(self).__name__)
            valid = asked.once(number, lambda: self.hook.get_conn().validate_contact(number).valid)
        except CirrusError as error:
            _fail(error)
        finally:
            self.hook.close()
        found = {"valid": valid, "phone_number": number}
        if not valid and (self.fail_if_invalid or self.skip_if_invalid):
            context["ti"].xcom_push(key="return_value", value=found)
            problem = f"{mask(number)} is not on WhatsApp."
            raise AirflowFailException(problem) if self.fail_if_invalid else AirflowSkipException(problem)
        return found


def _one_number(value: Any) -> str:
    from airflow_provider_cirrus.api.errors import InvalidInput
    from airflow_provider_cirrus.api.phone import to_digits

    if isinstance(value, list | tuple | set | Mapping):
        raise InvalidInput(
            "phone_number",
            f"is a {type(value).__name__} of {len(value)}; one number is asked for at a time.",
            hint="Checking lists of numbers gets a business banned.",
        )
    return to_digits(value, "phone_number")


def _fail(error: CirrusError) -> NoReturn:
    """Raise Airflow's exception for ours: retryable only where time alone may mend it."""
    raise (AirflowException if error.passing else AirflowFailException)(str(error)) from error


def _is_literal(value: Any) -> bool:
    """Return whether a value is written out in the DAG file, without Jinja and without an XCom in it."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value and "{#" not in value
    if isinstance(value, Mapping):
        return all(_is_literal(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(_is_literal(inner) for inner in value)
    # XComArgs and other things to be resolved live in Airflow's own modules; plain values do not.
    return not type(value).__module__.startswith("airflow")


def _allowance(max_failed: Any, total: int) -> float:
    """Return how many of ``total`` messages may fail: a count, or a ratio if written with a point."""
    from airflow_provider_cirrus.api.errors import InvalidInput

    value: Any = max_failed
    if isinstance(value, str):
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            value = None
    is_ratio = isinstance(value, float) and 0 <= value <= 1
    if not is_ratio and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidInput("max_failed", f"{max_failed!r} is no count (int) and no ratio (float from 0 to 1).")
    return float(value * total if is_ratio else value)


def _is_true(value: Any) -> bool:
    """Return what a templated switch says; a template without native objects renders to text."""
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else bool(value)
