"""The operator that says what sending the rows of a query would come to, before anybody is messaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_cirrus.operators.plan import Planning
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.deliver import Messages
    from airflow_provider_cirrus.hooks.delivery import TaskDelivery


class PlanSqlToCirrusOperator(Planning, SqlToCirrusOperator):
    """
    Say what sending the rows of a query would come to, and send nothing.

    .. seealso:: docs/plan.md

    It takes the arguments of :class:`~airflow_provider_cirrus.transfers.sql_to_cirrus.SqlToCirrusOperator`, runs the
    query once, and returns what :class:`~airflow_provider_cirrus.operators.plan.PlanSendOperator` returns.

    Example::

        orders = {
            "sql": "SELECT phone, name FROM orders",
            "sql_conn_id": "shop",
            "template": "order_update",
            "language": "en",
            "columns": Columns(to="phone", body=["name"]),
        }
        plan = PlanSqlToCirrusOperator(task_id="plan", **orders)
        send = SqlToCirrusOperator(task_id="send", **orders, approved=plan.output["approval"])

    :param rate_card: as in ``PlanSendOperator``, like ``page``
    :param kwargs: as ``SqlToCirrusOperator``
    :return: as ``PlanSendOperator``
    :raises AirflowFailException: wrong arguments, a query that the database refuses, or something that cannot be used
    """

    template_fields: Sequence[str] = (*SqlToCirrusOperator.template_fields, "rate_card", "page")
    operator_extra_links = ()
    template_fields_renderers: ClassVar[dict[str, str]] = SqlToCirrusOperator.template_fields_renderers

    @contextmanager
    def _planned(self, task: TaskDelivery) -> Iterator[Messages]:
        from airflow_provider_cirrus.delivery.errors import EmptyAudience

        with self._rows(task, is_planned=True) as (query, messages, _):
            if query.is_empty and self.on_empty != "succeed":
                raise EmptyAudience("sql", "returns no rows.")
            yield messages
