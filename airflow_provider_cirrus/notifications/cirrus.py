"""The notifier: a WhatsApp message from a callback of a task or a DAG, or from a deadline alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from copy import copy
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseNotifier

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import from_text, is_literal, time_span
from airflow_provider_cirrus.delivery.options import (
    Delivery,
    Rules,
    at_the_edge,
    options_of,
    refuse_others,
)
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.notifications.definitions import check_definition, templates_of
from airflow_provider_cirrus.notifications.problems import problems_of
from airflow_provider_cirrus.notifications.recipients import good_and_wrong, numbers_in
from airflow_provider_cirrus.notifications.rules import check_rules, engines_of, rules_with
from airflow_provider_cirrus.notifications.window import (
    AlertWindow,
    RecoveryWindow,
    check_window,
    dag_id_of,
    deliver_in_window,
    memory_of,
)

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context
    from sqlalchemy.engine import Engine

    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.alert_dedupe import AlertDedupe
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult
    from airflow_provider_cirrus.delivery.rules.policy import Allowlist
    from airflow_provider_cirrus.templates.store import Templates

#: Most characters of one parameter of the body, where the notifier is not told otherwise.
MAX_PARAMETER_LENGTH = 400

# What a template without native objects renders to text, where it stands for the whole.
_RENDERED_TO_TEXT = ("header", "body", "buttons", "components", "object_data")

# Airflow ends a process that is not done 20 s after its task, callbacks included ([core] task_success_overtime).
_TIMEOUT = 15.0


class CirrusNotifier(BaseNotifier):
    """
    Send a templated WhatsApp message when something happens to a task or a DAG.

    .. seealso:: docs/notifier.md

    Example::

        CirrusNotifier(
            template="task_failed",
            language="en",
            to=["+44 7700 900123"],
            body=["{{ ti.dag_id }}.{{ ti.task_id }}", "{{ exception }}"],
            dedupe_window=timedelta(minutes=10),
        )

    One notifier may serve many tasks and contexts. Texts of header, body and url buttons are cleaned, since
    exceptions hold what WhatsApp refuses: newlines, tabs and runs of spaces become one space, what is too long is
    cut and ends in ``…``, and an empty text becomes ``-``. A header is cut at 60 characters, a url button at
    2,000, a body's parameter at ``max_parameter_length``, and all of them together at 800, or at
    ``max_parameter_length`` where that is more.

    All parameters but ``dedupe_window``, ``max_parameter_length`` and ``timeout`` are templated. Beside what the
    context holds, templates know ``held_back``: how many notices the window has held back since the last one.

    :param template: name of the template, as the console shows it
    :param language: its language code, such as ``en`` or ``pt_BR``
    :param to: a number, or a list of them, with country code
    :param header: as in :class:`~airflow_provider_cirrus.operators.cirrus.SendTemplateOperator`, like the next five
    :param body: parameters in order as a list, or by name as a dict
    :param buttons: dicts such as ``{"type": "url", "text": "suffix"}``
    :param components: raw components in Meta's JSON; not cleaned
    :param authentication_code: the code of an authentication template; not cleaned
    :param object_data: the conversation to open, keys as Cirrus writes them
    :param rules: whom to message, as :class:`~airflow_provider_cirrus.Rules` or a dict of its names: ``opt_in``, such
        as the numbers of the people on call, and ``suppression``; the others need an audience
    :param dedupe_window: send one message in this time, and none for what else happens in it; None: one each time
    :param dedupe_key: what shares a window, beside template, recipients and stream; None: the DAG
    :param recovery_of: the template of a notice with a ``dedupe_window`` that this one is the end of: it is sent only
        where that one was, to the same people and with the same ``dedupe_key``, and opens its window again
    :param delivery: as :class:`~airflow_provider_cirrus.Delivery` or a dict of its names: of them ``ledger_conn_id``,
        the connection of a database that remembers the window for all workers; None: the Cirrus connection's own, or
        files on this machine, for the processes of the same user
    :param templates_path: folder of the templates' definitions in Meta's JSON, which a notice has to fit before it is
        sent; an absolute path is looked at when the DAG is parsed, too, a relative one begins at the DAG file. None:
        that of the connection
    :param max_parameter_length: most characters of one parameter of the body, up to 1,024
    :param timeout: seconds for all of it, from the first connection to the last byte of the last answer; Airflow ends
        a process that takes longer than 20
    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    :raises AirflowException: a message was not accepted, or somebody in ``to`` is no number: the others were told.
        Airflow logs it, and the task's own error stays what it is
    """

    template_fields: Sequence[str] = (
        "template",
        "language",
        "to",
        "header",
        "body",
        "buttons",
        "components",
        "authentication_code",
        "object_data",
        "rules",
        "delivery",
        "dedupe_key",
        "recovery_of",
        "templates_path",
        "stream",
        "cirrus_conn_id",
    )
    # Of a copy that is rendered: renders anew what tells how many notices were held back.
    _render_count: Callable[[int], None] | None = None

    def __init__(
        self,
        *,
        template: str,
        language: str,
        to: Any,
        header: Any = None,
        body: Any = None,
        buttons: Any = None,
        components: Any = None,
        authentication_code: Any = None,
        object_data: Any = None,
        rules: Rules | Mapping[str, Any] | None = None,
        delivery: Delivery | Mapping[str, Any] | None = None,
        dedupe_window: timedelta | None = None,
        dedupe_key: str | None = None,
        recovery_of: str | None = None,
        templates_path: str | None = None,
        max_parameter_length: int = MAX_PARAMETER_LENGTH,
        timeout: float = _TIMEOUT,
        stream: str | None = None,
        cirrus_conn_id: str = CirrusHook.default_conn_name,
        # Deadline alerts of Airflow 3.1 and later pass a context.
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.language = language
        self.to = to
        self.header = header
        self.body = body
        self.buttons = buttons
        self.components = components
        self.authentication_code = authentication_code
        self.object_data = object_data
        self.rules = at_the_edge(Rules, rules, "rules", may_call=True)
        self.delivery = at_the_edge(Delivery, delivery, "delivery")
        self.dedupe_window = dedupe_window
        self.dedupe_key = dedupe_key
        self.recovery_of = recovery_of
        self.templates_path = templates_path
        self.max_parameter_length = max_parameter_length
        self.timeout = timeout
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id
        self._check_options()
        self._check_literals()
        if is_literal(self.rules):
            check_rules(self._rules())
        if is_literal(self.delivery):
            self._check_delivery()

    def __call__(self, *args: Any) -> None:
        """Render a copy and send it."""
        # Airflow renders in place: with a second context, self would repeat the first message.
        super(CirrusNotifier, copy(self)).__call__(*args)

    def __await__(self) -> Generator[Any, None, None]:
        """Render a copy and send it, on an event loop."""
        return super(CirrusNotifier, copy(self)).__await__()

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the templated parameters of this object, which is a copy."""
        # Under dag.test(), a DAG's callback gets the serialised DAG, which has no environment.
        dag = context.get("dag")
        env = jinja_env or self.get_template_env(dag=dag if hasattr(dag, "get_template_env") else None)
        given = {name: getattr(self, name) for name in self.template_fields}

        def render(names: Iterable[str], held_back: int) -> None:
            # An environment of its own: the context is shared with others, who look nothing up in it either.
            counting = env.overlay()
            counting.globals = {**env.globals, "held_back": held_back}
            for name in names:
                # Airflow 2.11 would leave the source of what renders to nothing, and it would be sent.
                setattr(self, name, self.render_template(given[name], context, counting))

        render(given, 0)
        # How many is known once the window is claimed, and the window goes by what was rendered.
        self._render_count = partial(render, [name for name in _RENDERED_TO_TEXT if "held_back" in repr(given[name])])

    def notify(self, context: Context) -> None:
        """
        Send the messages.

        :param context: where it happened
        """
        deadline = time.monotonic() + self.timeout
        hook = self._hook
        self._check_delivery()
        extra = hook.get_connection(self.cirrus_conn_id).extra_dejson
        rules, templates = self._rules(extra), templates_of(self.templates_path, extra, context)
        messages, wrong = self._messages(rules, hook.allowlist(), hook.source_engine, templates)
        result = None
        if messages:
            client = hook.make_client(is_checked=True, attempts=1, deadline=deadline)
            with client, closing(self._window(context, hook, messages)) as window:
                counting = partial(self._with_count, messages)
                result = deliver_in_window(messages, client, window, deadline, counting)
        self._say(messages, result, wrong)

    async def async_notify(self, context: Context) -> None:
        """
        Send the messages from an event loop.

        :param context: where it happened
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        deadline = time.monotonic() + self.timeout
        hook = self._hook
        self._check_delivery()
        allowlist = await hook.aallowlist()
        extra = await get_async_extra_dejson(await get_async_connection(self.cirrus_conn_id))
        rules, templates = self._rules(extra), templates_of(self.templates_path, extra, context)
        connect = await engines_of(rules)
        # What waits for a file, a database or a lock waits in a thread: the event loop also keeps others alive.
        messages, wrong = await asyncio.to_thread(self._messages, rules, allowlist, connect, templates)
        result = None
        if messages:
            client = await hook.amake_client(is_checked=True, attempts=1, deadline=deadline)
            with client, closing(await self._awindow(context, messages)) as window:
                counting = partial(self._with_count, messages)
                result = await asyncio.to_thread(deliver_in_window, messages, client, window, deadline, counting)
        self._say(messages, result, wrong)

    def _update_context(self, context: Context) -> Context:
        # Airflow would put our parameters into the context, which the callbacks after us share.
        return context

    @property
    def _hook(self) -> CirrusHook:
        return CirrusHook(self.cirrus_conn_id, self.stream)

    def _check_delivery(self) -> Delivery:
        delivery = options_of(Delivery, self.delivery, "delivery")
        refuse_others(delivery, ("ledger_conn_id",), "delivery", "has no effect on a notice.", "Leave it out.")
        return delivery

    def _check_options(self) -> None:
        from airflow_provider_cirrus.api.text import BODY_LIMIT

        length = self.max_parameter_length
        time_span(self.timeout, "timeout")
        if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= BODY_LIMIT:
            raise InvalidInput("max_parameter_length", f"{length!r} is no whole number from 1 to {BODY_LIMIT}.")
        check_window(self.dedupe_window, self.recovery_of, {"dedupe_key": self.dedupe_key, "delivery": self.delivery})

    def _check_literals(self) -> None:
        """Check what is written out in the DAG file; what is templated is checked when it is rendered."""
        from airflow_provider_cirrus.delivery.audience.messages import check_common, check_recipients
        from airflow_provider_cirrus.notifications.texts import cleaned

        given = self._common()
        literal = {name: value for name, value in given.items() if value is not None and is_literal(value)}
        literal |= {name: "" for name in ("template", "language") if given[name] is None}
        # Stand-ins for what is templated.
        check_common({"template": "any", "language": "en", **cleaned(literal, self.max_parameter_length)})
        if is_literal(self.to):
            numbers = numbers_in(self.to)
            check_recipients(numbers[0] if len(numbers) == 1 else numbers)
        check_definition(self.templates_path, self._common())

    def _rules(self, extra: Mapping[str, Any] | None = None) -> Rules:
        """Return the rules, with those of the connection that a notice can keep; without ``extra``, its own alone."""
        own = options_of(Rules, self.rules, "rules")
        return own if extra is None else rules_with(own, extra, self.cirrus_conn_id)

    def _common(self) -> dict[str, Any]:
        """Return what all messages share."""
        from airflow_provider_cirrus.delivery.audience.fields import TEMPLATE_FIELDS

        return {name: getattr(self, name) for name in (*TEMPLATE_FIELDS, "object_data")}

    def _messages(
        self, rules: Rules, allowlist: Allowlist, connect: Callable[[str], Engine], templates: Templates | None
    ) -> tuple[list[Message], list[InvalidInput]]:
        """
        Return one message for each who may get one, and what is wrong with others; waits for files and databases.

        :param connect: returns the engine of a connection
        :param templates: the definitions that the messages have to fit
        :raises InvalidInput: they do not
        """
        from airflow_provider_cirrus.api.phone import account_of, mask
        from airflow_provider_cirrus.delivery.rules.consent import Consent
        from airflow_provider_cirrus.delivery.rules.policy import Policy

        numbers, wrong = good_and_wrong(self.to)
        everybody = self._messages_to(numbers)
        with Consent(rules.opt_in, rules.suppression, connect=connect) as consent:
            looks = Policy(allowlist, consent=consent).evaluate(everybody)
        found: dict[str, Message] = {}
        for message, look in zip(everybody, looks, strict=True):
            if isinstance(look, str):
                self.log.warning("%s gets no notice: %s.", mask(message.to), look)
            else:
                found.setdefault(account_of(message.to), message)
        messages = list(found.values())
        if templates is not None and messages:
            # One template with the same parameters for all.
            templates.check(messages[0].template)
        for remark in messages[0].template.advice() if messages else ():
            self.log.warning(remark)
        return messages, wrong

    def _messages_to(self, numbers: Sequence[Any]) -> list[Message]:
        from airflow_provider_cirrus.delivery.audience.messages import read_messages
        from airflow_provider_cirrus.notifications.texts import cleaned, masked

        common = {**self._common(), **{name: from_text(getattr(self, name)) for name in _RENDERED_TO_TEXT}}
        return list(read_messages(to=numbers, common=cleaned(masked(common), self.max_parameter_length)))

    def _with_count(self, messages: Sequence[Message], held_back: int) -> list[Message]:
        """Return the messages as they are where some were held back before them."""
        if self._render_count is not None:
            self._render_count(held_back)
        return self._messages_to([message.to for message in messages])

    def _window(self, context: Context, hook: CirrusHook, messages: Sequence[Message]) -> AlertWindow:
        if not self._remembers:
            return AlertWindow()
        conn_id = hook.ledger_conn_id_or(self._check_delivery().ledger_conn_id)
        connection = hook.get_connection(conn_id) if conn_id else None
        return self._window_in(memory_of(connection), context, messages)

    async def _awindow(self, context: Context, messages: Sequence[Message]) -> AlertWindow:
        from airflow.providers.common.compat.connection import get_async_connection

        if not self._remembers:
            return AlertWindow()
        conn_id = await self._hook.aledger_conn_id_or(self._check_delivery().ledger_conn_id)
        connection = await get_async_connection(conn_id) if conn_id else None
        return self._window_in(await asyncio.to_thread(memory_of, connection), context, messages)

    @property
    def _remembers(self) -> bool:
        return self.dedupe_window is not None or self.recovery_of is not None

    def _window_in(self, memory: AlertDedupe, context: Context, messages: Sequence[Message]) -> AlertWindow:
        if self.dedupe_window is not None:
            return AlertWindow(memory, self._key(context, messages), self.dedupe_window.total_seconds())
        return RecoveryWindow(memory, self._key(context, messages))

    def _key(self, context: Context, messages: Sequence[Message]) -> str:
        """Return the name of the window: who is told by which template, and of what."""
        from airflow_provider_cirrus.api.phone import account_of
        from airflow_provider_cirrus.delivery.alert_dedupe import dedupe_name

        shared = dag_id_of(context) if self.dedupe_key is None else str(self.dedupe_key)
        accounts = sorted(account_of(message.to) for message in messages)
        return dedupe_name([shared, self.recovery_of or self.template, accounts, self.stream, self.cirrus_conn_id])

    def _say(self, messages: Sequence[Message], result: DeliveryResult | None, wrong: Sequence[InvalidInput]) -> None:
        """Log what was accepted; raise for what was not, and for who could not be written to."""
        if messages and result is None:
            if self.recovery_of is None:
                self.log.info("No notice is sent: one was claimed in the last %s (dedupe_window).", self.dedupe_window)
            else:
                self.log.info("No notice is sent: none of %r was, or its end was told.", self.recovery_of)
        if result is not None and (accepted := result.counts["accepted"]):
            self.log.info("Notice %r: %d accepted.", self.template, accepted)
        if problems := problems_of(result, wrong):
            raise AirflowException(" ".join(problems))
