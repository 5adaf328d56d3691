"""Plans of a task's send, and whether a send is still what was approved."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cirrus.arguments import from_text
from airflow_provider_cirrus.delivery import deliver
from airflow_provider_cirrus.delivery.plan.approval import check_approved, terms
from airflow_provider_cirrus.delivery.plan.plan import Plan, as_dict
from airflow_provider_cirrus.delivery.plan.rate_card import RateCard
from airflow_provider_cirrus.delivery.plan.words import markdown

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_provider_cirrus.delivery.audience.columns import Columns
    from airflow_provider_cirrus.delivery.deliver import Messages
    from airflow_provider_cirrus.delivery.options import Delivery, Rules
    from airflow_provider_cirrus.hooks.protocol import DeliveryHook
    from airflow_provider_cirrus.templates.store import Templates


class Planned(Protocol):
    """What a plan needs of a task's send."""

    hook: DeliveryHook
    message: Mapping[str, Any]
    approved: Any
    tolerance: Any

    @property
    def effective_columns(self) -> Columns:
        """Which column fills what."""

    @property
    def effective_rules(self) -> Rules:
        """The rules."""

    @property
    def effective_delivery(self) -> Delivery:
        """How to send."""

    @property
    def templates(self) -> Templates | None:
        """The definitions of templates."""

    def full_rate(self) -> float:
        """Return the messages a second, at most."""

    def rate(self, total: int | None) -> float:
        """Return the messages a second of so many."""


def plan_of(task: Planned, messages: Messages, rate_card: Any = None) -> dict[str, Any]:
    """
    Return what a task's send would come to, as plain JSON-able data.

    :param messages: of the audience
    :param rate_card: Meta's price list; None: nobody asks what it costs
    :raises CirrusError: wrong arguments, or something that cannot be used
    """
    # First: a list that cannot be read is found before a million rows are.
    prices = None if rate_card is None else RateCard.of(rate_card).prices()
    made = _planned(task, messages)
    rate = task.rate(made.total)
    found = as_dict(made, rate=rate, prices=prices, templates=task.templates)
    found["notes"] = list(_notes(task, made))
    found["budget"] = _budget(task)
    found["approval"] = _terms(task, made)
    return {**found, "markdown": markdown(found)}


def check_approval(task: Planned, messages: Messages) -> None:
    """
    Check that what a task would send is what was approved; the audience is read for that alone.

    :raises NotApproved: it is not, and how it differs; nobody was messaged
    """
    tolerance = 0 if task.tolerance is None else task.tolerance
    made = _planned(task, messages)
    check_approved(from_text(task.approved), _terms(task, made), tolerance)
    task.hook.log.info("What would be sent is what was approved: %d messages.", made.to_send)


def _budget(task: Planned) -> dict[str, int] | None:
    """Return what the day's budget allows, and what is left of it; None: there is none, or nobody counts."""
    ledger_conn_id = task.hook.ledger_conn_id_or(task.effective_delivery.ledger_conn_id)
    if task.effective_rules.daily_budget is None or not ledger_conn_id:
        return None
    # Late, as only a database needs SQLAlchemy.
    from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
    from airflow_provider_cirrus.delivery.rules.daily_budget_store import left_of

    budget = DailyBudget.of(task.effective_rules.daily_budget)
    with _closing(task.hook.sql_engine(ledger_conn_id)) as engine:
        people, left = left_of(engine, budget, budget.name_for(_stream_id(task)), time.time())
    return {"people": people, "left": left}


def _stream_id(task: Planned) -> str:
    with task.hook.make_client(is_checked=True, attempts=1) as client:
        return client.endpoint.stream_id


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    """Close the connections of an engine at the end."""
    try:
        yield engine
    finally:
        engine.dispose()


def _planned(task: Planned, messages: Messages) -> Plan:
    task.hook.check_opt_in(task.effective_rules.opt_in)
    return deliver.plan(
        messages,
        _stream_id(task),
        rules=task.effective_rules,
        zone_column=task.effective_columns.zone,
        allowlist=task.hook.allowlist(),
        connect=task.hook.source_engine,
        templates=task.templates,
        experiment=task.effective_delivery.experiment,
    )


def _terms(task: Planned, made: Plan) -> dict[str, Any]:
    return terms(
        made,
        rules=task.effective_rules,
        templates=task.templates,
        rate=task.full_rate(),
        spread_over=task.effective_delivery.spread(),
        experiment=task.effective_delivery.experiment,
        shard=task.effective_delivery.part(),
    )


def _notes(task: Planned, made: Plan) -> Iterable[str]:
    """Yield what a plan does not tell."""
    if task.effective_rules.frequency_cap is not None:
        yield "The frequency cap is asked when a message is about to leave: it may hold more back."
    if task.effective_rules.daily_budget is not None:
        yield "The daily budget is asked when a message is about to leave: whoever is beyond it waits for another day."
    if task.message.get("message_key") or task.effective_columns.key:
        yield "What earlier runs sent under the same message keys is not sent again, and is not looked at here."
    if made.outcomes["later"] and task.effective_rules.quiet_hours is not None:
        yield "Who is asleep is told by the moment of this plan: later, it may be others."
    if task.templates is None:
        yield "Examples are parameters only: the templates have no definitions (templates_path)."
