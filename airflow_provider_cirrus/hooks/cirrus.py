"""
The hook: from an Airflow connection to a Cirrus client, and to all that can be done with it. One room, however long,
as a hook's users look for its methods in one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

from airflow.providers.common.compat.sdk import AirflowException, BaseHook

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import is_true, time_span, whole_number
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import Delivery, Report, Rules
from airflow_provider_cirrus.hooks.connection import client_options, connection_options, database_url, ledger_conn_id_of

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Connection, Context
    from sqlalchemy.engine import Engine

    from airflow_provider_cirrus.api.async_client import AsyncCirrusClient
    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.guard import Guard
    from airflow_provider_cirrus.delivery.audience.fields import MessageFields
    from airflow_provider_cirrus.delivery.ledger.base import Ledger
    from airflow_provider_cirrus.delivery.rules.policy import Allowlist
    from airflow_provider_cirrus.templates.store import Templates

DEFAULT_MESSAGES_PER_SECOND = 80


class CirrusHook(BaseHook):
    """
    Connects Airflow to Cirrus.

    The connection's password is the API token, its host the deployment (default
    ``https://api.commbox.io``); its extra holds ``stream_id``, ``streams`` (names to ids), ``api_version``,
    ``messages_per_second``, ``timeout``, ``console_url``, ``allowed_recipients``, ``require_opt_in``,
    ``validations_per_day``, ``ledger_conn_id``, ``allow_large_state``, ``show_recipients``, ``rules`` and
    ``delivery``. See
    docs/connection.md.

    :param cirrus_conn_id: id of the connection
    :param stream: name of a stream in the connection's ``streams``, or an encrypted stream id; None: the
        connection's ``stream_id``
    """

    conn_name_attr = "cirrus_conn_id"
    default_conn_name = "cirrus_default"
    conn_type = "cirrus"
    hook_name = "Cirrus (WhatsApp)"

    def __init__(self, cirrus_conn_id: str = default_conn_name, stream: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cirrus_conn_id = cirrus_conn_id
        self.stream = stream

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields for Airflow 2.11 to 3.1; later ones read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import IntegerField, StringField
        from wtforms.validators import Optional

        from airflow_provider_cirrus.get_provider_info import CONNECTION_FIELDS

        return {
            name: (IntegerField if "integer" in field["schema"]["type"] else StringField)(
                lazy_gettext(field["label"]),
                description=field["description"],
                widget=BS3TextFieldWidget(),
                # Without it the form would not let an empty number pass.
                validators=[Optional()],
            )
            for name, field in CONNECTION_FIELDS.items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the standard fields, for Airflow 2.11 to 3.1."""
        from airflow_provider_cirrus.get_provider_info import FIELD_BEHAVIOUR

        return {key.replace("-", "_"): value for key, value in FIELD_BEHAVIOUR.items()}

    def get_conn(self) -> CirrusClient:
        """
        Return the client of the connection and the stream, made once.

        It sends to nobody but the connection's ``allowed_recipients``, and to nobody at all where that requires an
        opt-in, which only :meth:`deliver` and the operators can ask for.

        :raises InvalidInput: the connection lacks something, or something in it cannot be right
        """
        return self.client

    @cached_property
    def client(self) -> CirrusClient:
        """The client that :meth:`get_conn` returns."""
        return self.make_client()

    @cached_property
    def checked_client(self) -> CirrusClient:
        """A client for callers that have looked at the connection's rules themselves; closed with the hook."""
        return self.make_client(is_checked=True)

    def _guard(self, extra: Mapping[str, Any]) -> Guard:
        from airflow_provider_cirrus.api.guard import Guard
        from airflow_provider_cirrus.delivery.rules.policy import allowlist_of, everybody_is_allowed

        allowlist = allowlist_of(extra.get("allowed_recipients"))
        needs_opt_in = is_true(extra.get("require_opt_in", False), "require_opt_in")
        return Guard(allowlist, allowlist is not everybody_is_allowed, needs_opt_in)

    def make_client(self, *, is_checked: bool = False, **options: Any) -> CirrusClient:
        """
        Return a new client of the connection and the stream; the caller closes it.

        :param is_checked: whether the caller has looked at ``allowed_recipients`` and ``require_opt_in`` itself; else
            the client does, as :meth:`get_conn` says
        :param options: override the client's own, such as ``attempts``
        :raises InvalidInput: as :meth:`get_conn`
        """
        from airflow_provider_cirrus.api.client import CirrusClient

        extra = self._extra(self._connection)
        guard = None if is_checked else self._guard(extra)
        return CirrusClient(
            **{"pool_size": 24, "guard": guard, **self._client_options(self._connection, extra), **options}
        )

    async def aget_conn(self) -> AsyncCirrusClient:
        """
        Return a new async client, for triggers and async callbacks; the caller closes it.

        On an event loop only this may look the connection up: the synchronous way deadlocks there.
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        from airflow_provider_cirrus.api.async_client import AsyncCirrusClient

        connection = await get_async_connection(self.cirrus_conn_id)
        extra = await get_async_extra_dejson(connection)
        return AsyncCirrusClient(guard=self._guard(extra), **self._client_options(connection, extra))

    async def amake_client(self, *, is_checked: bool = False, **options: Any) -> CirrusClient:
        """Return what :meth:`make_client` does, its connection looked up on an event loop; it is used in a thread."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        from airflow_provider_cirrus.api.client import CirrusClient

        connection = await get_async_connection(self.cirrus_conn_id)
        extra = await get_async_extra_dejson(connection)
        guard = None if is_checked else self._guard(extra)
        return CirrusClient(**{"pool_size": 24, "guard": guard, **self._client_options(connection, extra), **options})

    def allowlist(self) -> Allowlist:
        """
        Return what says of a recipient's digits why they get nothing: the connection's ``allowed_recipients``.

        :raises InvalidInput: something in it is no number
        """
        from airflow_provider_cirrus.delivery.rules.policy import allowlist_of

        return allowlist_of(self._extra(self._connection).get("allowed_recipients"))

    async def aallowlist(self) -> Allowlist:
        """Return the same on an event loop; see :meth:`aget_conn`."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        from airflow_provider_cirrus.delivery.rules.policy import allowlist_of

        extra = await get_async_extra_dejson(await get_async_connection(self.cirrus_conn_id))
        return allowlist_of(extra.get("allowed_recipients"))

    def close(self) -> None:
        """Close the client's connections, if one was made."""
        for name in ("client", "checked_client"):
            if name in self.__dict__:
                getattr(self, name).close()

    def upload_media(self, path: Any, filename: str | None = None) -> dict[str, str]:
        """
        Upload a media file, after checking that WhatsApp takes it.

        :param path: local path, ``ObjectStoragePath`` or URI of one; read as a stream
        :param filename: with extension; None: that of the path
        :return: ``{"id", "filename", "type"}``, as a template's header takes it
        :raises CirrusError: WhatsApp or Cirrus do not take the file, or no answer came
        """
        from airflow_provider_cirrus.api import media
        from airflow_provider_cirrus.delivery.storage import object_path, open_source

        if path is None or not str(path).strip():
            raise InvalidInput("path", "is missing.", hint="Give a local path, or a URI such as s3://bucket/key.")
        if not isinstance(path, str) and not hasattr(path, "__fspath__") and not hasattr(path, "protocol"):
            raise InvalidInput("path", f"is of type {type(path).__name__}.", hint="Give a local path, or a URI.")
        if not isinstance(filename, str | None):
            raise InvalidInput("filename", f"is of type {type(filename).__name__}, not a text.")
        source = object_path(path)
        name = filename or source.name
        try:
            size = source.stat().st_size
            with open_source(source) as file:
                kind = media.check(file, name, size)
                upload = self.get_conn().upload_media(file, name, kind.mime)
        except FileNotFoundError:
            raise InvalidInput("path", f"{str(path)!r} does not exist.", hint="The worker must see the file.") from None
        except IsADirectoryError:
            raise InvalidInput("path", f"{str(path)!r} is a folder.", hint="Give one file.") from None
        return {"id": upload.id, "filename": name, "type": kind.kind}

    def deliver(
        self,
        *,
        to: Any = None,
        messages: Any = None,
        audience: Any = None,
        columns: Columns | Mapping[str, Any] | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        delivery: Delivery | Mapping[str, Any] | None = None,
        report: Report | Mapping[str, Any] | str | None = None,
        on_empty: str = "skip",
        templates_path: Any = None,
        languages: Sequence[str] | None = None,
        approved: Any = None,
        tolerance: Any = None,
        context: Context | None = None,
        **message: Unpack[MessageFields],
    ) -> dict[str, Any]:
        """
        Send from a plain task what :class:`~airflow_provider_cirrus.operators.cirrus.SendTemplateOperator` sends.

        With the same guarantees: the task's tries remember what was sent, the rules are asked, everybody is accounted
        for. Who waits for the end of quiet hours is left to the task's next try. Send once in a task: two sends of
        one task would take each other's records for their own.

        :param on_empty: ``skip``, ``succeed`` or ``fail``, where there is nobody to message
        :param templates_path: folder of the templates' definitions; None: that of the connection
        :param languages: in which to look for a definition, in this order, where there is none in the message's own
        :param approved: the result of a plan that somebody approved: nothing is sent that differs from it. None: nobody
            was to be asked
        :param tolerance: by how many messages it may differ: a count, or a ratio; None: by none
        :param context: of the task; None: that of the task that is running
        :param message: ``template``, ``language``, ``body`` and the like, as the operator takes them
        :return: as the operator
        :raises AirflowFailException, CirrusUnsentError: as the operator
        """
        from airflow.providers.common.compat.sdk import get_current_context

        from airflow_provider_cirrus.hooks.delivery import TaskDelivery

        context = get_current_context() if context is None else context
        task = TaskDelivery(
            self,
            context,
            context["task"].retries or 0,
            columns=columns,
            rules=rules,
            delivery=delivery,
            report=report,
            audience=[to, messages, audience],
            message=dict(message),
            templates_path=templates_path,
            languages=languages,
            approved=approved,
            tolerance=tolerance,
        )
        client, found, total = task.open(on_empty, to=to, messages=messages, audience=audience)
        with client:
            result = task.run(client, found, total)
        return task.end(result)

    def templates(self, path: Any = None, languages: Any = None, folder: str | None = None) -> Templates | None:
        """
        Return the definitions of templates that a send goes by: the connection's, where ``path`` is None.

        :param path: of their folder
        :param languages: in which to look, in this order, where a message's own language has no definition
        :param folder: that a relative path begins at
        :raises InvalidInput: there are none, and the connection requires them (``require_templates``)
        """
        from airflow_provider_cirrus.hooks.templates import templates_in

        return templates_in(path, languages, folder=folder, extra=self._extra(self._connection))

    def conversation_url(self, object_id: str | int) -> str:
        """
        Return the address of a conversation's page in the console, for people.

        :param object_id: as an outcome or a conversation has it
        :raises InvalidInput: the connection's ``console_url`` cannot be right
        """
        from airflow_provider_cirrus.api.console import conversation_url

        return conversation_url(object_id, self._extra(self._connection).get("console_url"))

    def sql_ledger(self, ledger_conn_id: str, ti: Any) -> Ledger:
        """
        Return the ledger of a task in a database; it is yet to be opened.

        :param ledger_conn_id: an Airflow connection of type sqlite, postgres or mysql
        :param ti: the task instance: its tries, and the mapped tasks beside it, share what they remember
        :raises InvalidInput: a connection of another type, or a SQLite file without an absolute path
        :raises LedgerUnavailable: the database does not answer
        :raises LedgerError: no tables and no right to create them
        """
        from airflow_provider_cirrus.delivery.ledger.base import is_global
        from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger

        task = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"
        map_index = -1 if ti.map_index is None else ti.map_index
        engine = self.sql_engine(ledger_conn_id)
        return SqlLedger(engine, task, uuid4().hex, map_index=map_index, is_global=is_global)

    def check_opt_in(self, opt_in: Any) -> None:
        """
        Refuse to send without a source of opt-ins where the connection requires one.

        :param opt_in: what the caller was given
        :raises InvalidInput: nothing, and ``require_opt_in`` is set
        """

        required = is_true(self._extra(self._connection).get("require_opt_in", False), "require_opt_in")
        if required and opt_in is None:
            raise InvalidInput(
                "opt_in",
                f"is missing, and {self._where} requires it (require_opt_in).",
                hint="Say where it is recorded who agreed to messages: a column, a list, a file or a query; see "
                "docs/consent.md.",
            )

    def sql_engine(self, conn_id: str) -> Engine:
        """
        Return a new engine of a database; the caller disposes of it.

        :param conn_id: an Airflow connection of type sqlite, postgres or mysql
        :raises InvalidInput: a connection of another type
        :raises LedgerError: no driver for it is installed
        """
        from airflow_provider_cirrus.delivery.sql.store import engine_for

        return engine_for(database_url(self.get_connection(conn_id)))

    def source_engine(self, conn_id: str) -> Engine:
        """Return the same for a database that is not a ledger: nothing about it is set up."""
        from airflow_provider_cirrus.delivery.sql.store import engine_for

        url = database_url(self.get_connection(conn_id), "conn_id", may_be_relative=True)
        return engine_for(url, is_ours=False)

    def validate_contact(
        self,
        number: Any,
        *,
        opt_in: Any,
        ledger_conn_id: str,
        max_age: timedelta | float | None = None,
        owner: str | None = None,
    ) -> bool:
        """
        Return whether a number is on WhatsApp; ask Cirrus only where the ledger has no answer.

        Checking numbers that are then not messaged gets a business banned. So nobody is asked for without an
        opt-in, nobody twice within ``max_age``, and no more in a day than the connection's ``validations_per_day``.

        :param number: one number
        :param opt_in: where it is recorded that its owner agreed: a list, a file, a query, a function, as
            docs/consent.md has it; or True: the caller has made sure
        :param ledger_conn_id: connection of the database that remembers what was asked
        :param max_age: for how long an answer holds: a timedelta, or seconds; None: 30 days
        :param owner: the same for all tries of one task and no other; None: this call stands alone
        :raises InvalidInput: no number, or no opt-in
        :raises NotAsked: the day's numbers are used up, or an earlier answer was lost
        :raises CirrusError: no answer, or no ledger
        """
        from airflow_provider_cirrus.api.phone import to_digits
        from airflow_provider_cirrus.delivery.contact_checks.guard import DEFAULT_MAX_AGE, require_opt_in
        from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore

        digits = to_digits(number, "phone_number")
        age = DEFAULT_MAX_AGE if max_age is None else time_span(max_age, "max_age")
        client, budget = self.checked_client, self.validations_per_day
        require_opt_in(opt_in, digits, self.source_engine)
        engine = self.sql_engine(ledger_conn_id)
        try:
            return CheckStore(engine).once(
                client.endpoint.stream_id,
                digits,
                lambda: client.validate_contact(digits).valid,
                owner=owner or uuid4().hex,
                max_age=age,
                budget=budget,
            )
        finally:
            engine.dispose()

    def erase(self, number: Any, *, ledger_conn_id: str) -> dict[str, int]:
        """
        Forget a person in the database of a ledger; see docs/privacy.md.

        :param number: the person's number
        :param ledger_conn_id: connection of the database
        :return: how many rows are gone: ``messages``, ``slots`` (of frequency caps) and ``checks``; and, as
            ``unattributed_messages``, how many stay as they do not say whose they are
        :raises InvalidInput: no number, or a connection of another type
        :raises LedgerError: nothing was erased, or it is not known to be
        """
        from airflow_provider_cirrus.delivery.erase import erase

        engine = self.sql_engine(ledger_conn_id)
        try:
            return erase(engine, number)
        finally:
            engine.dispose()

    @property
    def messages_per_second(self) -> int:
        """Most messages that a task sends in one second, by the connection."""

        value = self._extra(self._connection).get("messages_per_second")
        if value in (None, ""):
            return DEFAULT_MESSAGES_PER_SECOND
        return self._whole("messages_per_second", value, 1)

    @property
    def ledger_conn_id(self) -> str | None:
        """The connection of the database that remembers what was sent and asked, by the connection; None: none."""
        return ledger_conn_id_of(self._extra(self._connection))

    def ledger_conn_id_or(self, own: str | None) -> str | None:
        """
        Return the connection of the database that remembers: the caller's own, or else the connection's.

        :param own: what the caller was given; empty: nothing
        :raises InvalidInput: it is no id
        """
        if own and not isinstance(own, str):
            raise InvalidInput("ledger_conn_id", f"is of type {type(own).__name__}.", hint="Give a connection's id.")
        return own or self.ledger_conn_id

    async def aledger_conn_id_or(self, own: str | None) -> str | None:
        """Return the same on an event loop; see :meth:`aget_conn`."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        if own:
            return own
        return ledger_conn_id_of(await get_async_extra_dejson(await get_async_connection(self.cirrus_conn_id)))

    @property
    def rules(self) -> Rules:
        """The rules of every send that says nothing else, by the connection."""
        return connection_options(self._extra(self._connection), Rules, "rules")

    @property
    def delivery(self) -> Delivery:
        """How every send is sent that says nothing else, by the connection."""
        return connection_options(self._extra(self._connection), Delivery, "delivery")

    @property
    def allow_large_state(self) -> bool:
        """Whether Airflow's own database may remember more than 200,000 messages of one task, by the connection."""

        return is_true(self._extra(self._connection).get("allow_large_state") or False, "allow_large_state")

    @property
    def show_recipients(self) -> bool:
        """Whether Airflow's pages show the whole numbers of a task's arguments, by the connection."""
        return is_true(self._extra(self._connection).get("show_recipients") or False, "show_recipients")

    @property
    def validations_per_day(self) -> int:
        """Most numbers that may be asked for on a stream in a day (UTC), by the connection; 0: none."""
        from airflow_provider_cirrus.delivery.contact_checks.guard import DEFAULT_BUDGET

        value = self._extra(self._connection).get("validations_per_day")
        if value in (None, ""):
            return DEFAULT_BUDGET
        return self._whole("validations_per_day", value, 0)

    def test_connection(self) -> tuple[bool, str]:
        """Check host, token and stream with a read that has no side effect; the message is for a person."""

        try:
            # What a send, a check or a link would stumble over later is told here.
            self.conversation_url(0)
            self.allowlist()
            self.check_opt_in(True)
            _ = (self.messages_per_second, self.validations_per_day, self.allow_large_state, self.show_recipients)
            _ = (self.rules, self.delivery)
            self.get_conn().stream_availability()
            remembers = self._test_ledger()
        except (CirrusError, AirflowException) as error:
            return False, str(error)
        return True, f"Cirrus at {self.client.endpoint.base_url} knows the token and the stream.{remembers}"

    def _test_ledger(self) -> str:
        """Check that the database of ``ledger_conn_id`` answers, without writing to it; return what to say of it."""
        if (conn_id := self.ledger_conn_id) is None:
            return ""
        from airflow_provider_cirrus.delivery.sql.probe import check_database

        try:
            connection = self.get_connection(conn_id)
        except AirflowException as error:
            raise InvalidInput("ledger_conn_id", f"names a connection that is not there: {error}.") from error
        check_database(database_url(connection))
        return f" The database of {conn_id!r} answers."

    def _whole(self, name: str, value: Any, least: int) -> int:
        try:
            return whole_number(value, name, least)
        except InvalidInput:
            problem = f"{value!r} in {self._where} is no whole number from {least} on."
            raise InvalidInput(name, problem) from None

    @cached_property
    def _connection(self) -> Connection:
        if not isinstance(self.cirrus_conn_id, str) or not self.cirrus_conn_id.strip():
            what = f"is of type {type(self.cirrus_conn_id).__name__}, or empty."
            raise InvalidInput("cirrus_conn_id", what, hint="Give the id of the connection.")
        return self.get_connection(self.cirrus_conn_id)

    @property
    def _where(self) -> str:
        return f"connection {self.cirrus_conn_id!r}"

    def _client_options(self, connection: Connection, extra: Mapping[str, Any]) -> dict[str, Any]:
        return client_options(connection, extra, self.cirrus_conn_id, self.stream)

    def _extra(self, connection: Connection) -> Mapping[str, Any]:
        extra: Mapping[str, Any] = connection.extra_dejson
        return extra
