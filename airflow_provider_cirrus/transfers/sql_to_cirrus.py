"""From a database to WhatsApp: one row, one message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import allowance, is_literal
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import Delivery, Report, Rules
from airflow_provider_cirrus.hooks.ending import check_on_empty, end_empty, fail
from airflow_provider_cirrus.operators.send import SEND_FIELDS, SendOperator

if TYPE_CHECKING:
    from datetime import datetime

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.audience.sql_rows import Query
    from airflow_provider_cirrus.delivery.deliver import Messages
    from airflow_provider_cirrus.hooks.delivery import TaskDelivery

_ENDING = ".sql"


class SqlToCirrusOperator(SendOperator):
    """
    Send a templated WhatsApp message for every row of a query.

    .. seealso:: docs/audiences.md

    Example::

        SqlToCirrusOperator(
            task_id="send",
            sql="SELECT phone, name, number FROM orders WHERE day = %(day)s",
            sql_conn_id="shop",
            parameters={"day": "{{ ds }}"},
            template="order_update",
            language="en",
            columns=Columns(to="phone", body=["name", "number"], key="number"),
        )

    The rows are read as a stream while messages are sent, in one transaction that stays open until the last has
    left and is then rolled back. A row that cannot become a message is rejected and stops no other. What stands in a
    row is never rendered.

    A retry runs the query again and sends only what is unsent: a message is known by what is in it, not by its place,
    so the order of the rows is of no matter. What differs from try to try, such as ``now()``, makes another message:
    leave it out of the columns that are used, or name a column as the key.

    Needs ``pip install 'airflow-provider-cirrus[sql]'`` and the provider of the database. All parameters are
    templated.

    :param sql: one query, or the name of a file that ends in ``.sql`` and holds one, beside the DAG file or in the
        DAG's ``template_searchpath``
    :param sql_conn_id: connection of the database, of any type whose hook is a ``DbApiHook``
    :param parameters: values for the placeholders of the database's driver, a list or a dict; they are passed to the
        driver, and never become part of the query's text
    :param hook_params: arguments of the database's hook, as common-sql's operators take them
    :param database: another database than the connection's (templated)
    :param on_empty: what the task does where the query returns no rows at all: ``skip``, ``succeed`` (with a summary
        of zeros) or ``fail``; a shard without a row of its own succeeds
    :param template: as in :class:`~airflow_provider_cirrus.operators.cirrus.SendTemplateOperator`, like all that follow
    :param approved: what a :class:`~.plan_sql_to_cirrus.PlanSqlToCirrusOperator` returned and somebody approved, as in
        ``SendTemplateOperator``, and so ``tolerance``: the query is then run once more before anything is sent
    :return: as ``SendTemplateOperator``
    :raises AirflowSkipException: no rows, and ``on_empty="skip"``
    :raises AirflowFailException: wrong arguments, a query that the database refuses, only failures that no retry
        would mend, or no rows and ``on_empty="fail"``
    :raises AirflowException: the database broke off
    :raises CirrusUnsentError: messages are left that a retry can send
    """

    template_fields: Sequence[str] = (
        # First: see render_template.
        "sql",
        "sql_conn_id",
        "parameters",
        "on_empty",
        "hook_params",
        "database",
        *SEND_FIELDS,
        "approved",
        "tolerance",
    )
    # No template_ext: it would make a file name of every text that ends so, and texts are what is sent here.
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SendOperator.template_fields_renderers,
        "sql": "sql",
        "parameters": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Any = None,
        on_empty: Literal["skip", "succeed", "fail"] | str = "skip",
        hook_params: Mapping[str, Any] | None = None,
        database: str | None = None,
        template: str | None = None,
        language: str | None = None,
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
        self.message_key = message_key
        self.columns = columns
        self.rules = rules
        self.delivery = delivery
        self.report = report
        self.templates_path = templates_path
        self.languages = languages
        self.approved = approved
        self._needs_approval = approved is not None
        self.tolerance = tolerance
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.on_empty = on_empty
        self.hook_params = hook_params
        self.database = database
        with self._checking():
            self._keep_options()
            self._check_query(only_literals=True)
            self._check_message(needs_template=not self._brings_template())

    def prepare_template(self) -> None:
        """Put the file's content in place of its name; Airflow calls this when the DAG is parsed."""
        if is_literal(self.sql) and _is_file_name(self.sql):
            self.sql = _content(self.sql, self.get_template_env())

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value; that of ``sql`` may be the name of a file."""
        # Mapped tasks are not prepared. As sql is rendered first, no other field is mistaken for it. What
        # seen_oids holds came from another task or from expand(), and is not rendered.
        if content is self.sql and _is_file_name(content) and id(content) not in (seen_oids or ()):
            content = _content(content, jinja_env or self.get_template_env())
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the query and send its rows; return what became of them."""
        task = self._task_delivery(context)
        with ExitStack() as opened:
            try:
                task.check()
                if task.approved is not None:
                    # Late, as most sends are not planned.
                    from airflow_provider_cirrus.hooks.plan import check_approval

                    with self._rows(task, is_planned=True) as (_, planned, _):
                        check_approval(task, planned)
                query, messages, total = opened.enter_context(self._rows(task))
                client = opened.enter_context(self.hook.make_client(is_checked=True, attempts=1))
            except CirrusError as error:
                fail(error)
            if query.is_empty and self.on_empty != "succeed":
                end_empty(self.on_empty, "The query returns no rows.")
            result = task.run(client, messages, total)
        return task.end(result, self._defer)

    @contextmanager
    def _rows(self, task: TaskDelivery, *, is_planned: bool = False) -> Iterator[tuple[Query, Messages, int | None]]:
        """
        Run the query, and return its messages while its transaction is open.

        :param is_planned: as of :meth:`~.hooks.delivery.TaskDelivery.messages`
        """
        from airflow_provider_cirrus.delivery.audience.sql_rows import Query
        from airflow_provider_cirrus.delivery.deliver import messages_of

        self._check_query()
        with closing(self._connect()) as connection:
            query = Query(connection, self.sql, self.parameters)
            messages, total = messages_of(
                self._message(),
                audience=query,
                columns=task.effective_columns,
                rules=task.effective_rules,
                shard=task.effective_delivery.part(),
                not_before=0.0 if is_planned else task.not_before,
                templates=task.templates,
                experiment=task.effective_delivery.experiment,
            )
            yield query, messages, total

    def _recipients(self) -> list[Any]:
        return [self.sql, self.parameters, self.sql_conn_id]

    def _check_query(self, only_literals: bool = False) -> None:
        def known(value: Any) -> bool:
            return not only_literals or is_literal(value)

        if known(self.sql):
            if not isinstance(self.sql, str):
                raise InvalidInput("sql", f"is of type {type(self.sql).__name__}.", hint="Give one query as text.")
            if not self.sql.strip():
                raise InvalidInput("sql", "is empty.", hint="Give a query, or the name of a .sql file.")
            if not only_literals and _is_file_name(self.sql):
                raise InvalidInput(
                    "sql",
                    f"{self.sql!r} came from expand() or from another task, where a file's name is not replaced.",
                    hint="Give the query itself.",
                )
        if known(self.sql_conn_id) and not (isinstance(self.sql_conn_id, str) and self.sql_conn_id.strip()):
            raise InvalidInput("sql_conn_id", "is missing.", hint="Give the id of the database's connection.")
        if known(self.parameters) and not isinstance(self.parameters, list | tuple | dict | None):
            raise InvalidInput(
                "parameters",
                f"is of type {type(self.parameters).__name__}.",
                hint="Give a list or a dict; one that is templated as a whole needs render_template_as_native_obj.",
            )
        if known(self.hook_params) and not isinstance(self.hook_params, Mapping | None):
            raise InvalidInput("hook_params", f"is of type {type(self.hook_params).__name__}.", hint="Give a dict.")
        if known(self.database) and not isinstance(self.database, str | None):
            raise InvalidInput("database", f"is of type {type(self.database).__name__}.", hint="Give its name.")
        if known(self.on_empty):
            check_on_empty(self.on_empty)
        if known(self.tolerance) and self.tolerance is not None:
            allowance(self.tolerance, 1, "tolerance")

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the tables that the query reads, and the report, for OpenLineage."""
        from airflow_provider_cirrus.operators.lineage import tables_of

        found = super().get_openlineage_facets_on_start()
        hook = self._database_hook()
        found.inputs = [*found.inputs, *tables_of(self.sql, hook, self.sql_conn_id, self.database)]
        return found

    def _connect(self) -> Any:
        """Return a new connection to the database."""
        return self._database_hook().get_conn()

    def _database_hook(self) -> Any:
        try:
            from airflow.providers.common.sql.hooks.sql import DbApiHook
        except ImportError:
            raise InvalidInput(
                "sql_conn_id", "needs common-sql.", hint="pip install 'airflow-provider-cirrus[sql]'"
            ) from None
        connection = self.hook.get_connection(self.sql_conn_id)
        where = f"leads to a connection of type {connection.conn_type!r}"
        try:
            hook = connection.get_hook(hook_params=dict(self.hook_params or {}))  # type: ignore[no-untyped-call]
        except TypeError as error:
            raise InvalidInput("hook_params", f"are not taken by the hook: {error}.") from error
        except (AirflowException, ImportError) as error:
            raise InvalidInput(
                "sql_conn_id", f"{where}, whose hook cannot be had: {error}.", hint="Install the provider of that type."
            ) from error
        if not isinstance(hook, DbApiHook):
            raise InvalidInput("sql_conn_id", f"{where}.", hint="Give that of a database with a DbApiHook.")
        if self.database:
            # As common-sql's own operators do: hooks differ in what they call it.
            hook.database = hook.schema = self.database
        return hook


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(_ENDING)


def _content(name: str, env: jinja2.Environment) -> str:
    """Return what the file holds, not yet rendered."""
    from jinja2 import TemplateNotFound

    try:
        # Outside a DAG there is no loader, and so no file.
        content: str | None = env.loader.get_source(env, name)[0] if env.loader else None
    except TemplateNotFound:
        content = None
    if content is None:
        raise InvalidInput(
            "sql",
            f"there is no file {name!r}.",
            hint="It is looked for beside the DAG file and in the DAG's template_searchpath. "
            "A query itself must not end in .sql: put a semicolon after it.",
        )
    return content
