"""What the operators that send share: their shape, and how Airflow handles their options."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, BaseOperator

from airflow_provider_cirrus import Columns, Delivery, OptIn, QuietHours, Rules, SqlNumbers
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators.campaign import CampaignOperator
from airflow_provider_cirrus.operators.cirrus import (
    SendTemplateOperator,
    UploadMediaOperator,
    ValidateContactOperator,
)
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

MESSAGE = {"template": "order_update", "language": "en"}
ALL: list[tuple[type[BaseOperator], dict[str, Any]]] = [
    (SendTemplateOperator, {**MESSAGE, "to": "+447700900101"}),
    (SqlToCirrusOperator, {**MESSAGE, "sql": "SELECT 1", "sql_conn_id": "shop"}),
    (CampaignOperator, {**MESSAGE, "audience_file": "a.csv"}),
    (UploadMediaOperator, {"path": "a.png"}),
    (ValidateContactOperator, {"phone_number": "+447700900101", "opt_in": True}),
]
operators = pytest.mark.parametrize(("kind", "given"), ALL, ids=[kind.__name__ for kind, _ in ALL])


@operators
def test_every_argument_is_in_its_own_signature(kind: type[BaseOperator], given: dict[str, Any]) -> None:
    own = set(inspect.signature(kind.__init__).parameters)
    assert set(kind.template_fields) - {"stream", "cirrus_conn_id"} <= own
    assert all(
        one.annotation is not inspect.Parameter.empty
        for one in inspect.signature(kind.__init__).parameters.values()
        if one.name != "self"
    )


@operators
def test_few_classes_stand_between_airflow_and_an_operator(kind: type[BaseOperator], given: dict[str, Any]) -> None:
    between = kind.__mro__[1 : kind.__mro__.index(BaseOperator)]
    assert len(between) <= 2


@operators
def test_it_can_be_copied_and_pickled(kind: type[BaseOperator], given: dict[str, Any]) -> None:
    made = kind(task_id="it", **given)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert [getattr(again, name) for name in made.template_fields] == [
            getattr(made, name) for name in made.template_fields
        ]


def rendered(operator: BaseOperator, **context: Any) -> Any:
    operator.render_template_fields(context)  # type: ignore[arg-type]
    return operator


def test_what_stands_in_options_is_rendered_and_the_object_serves_other_tasks() -> None:
    rules = Rules(
        suppression=SqlNumbers("SELECT phone FROM gone WHERE topic = :t", "crm", parameters={"t": "{{ topic }}"})
    )
    made = [
        SendTemplateOperator(task_id=f"send_{place}", **MESSAGE, to="+447700900101", rules=rules) for place in range(2)
    ]
    assert rendered(made[0], topic="news").rules["suppression"]["parameters"] == {"t": "news"}
    assert rendered(made[1], topic="orders").rules["suppression"]["parameters"] == {"t": "orders"}
    assert rules.suppression.parameters == {"t": "{{ topic }}"}


def test_a_reference_in_options_is_a_dependency() -> None:
    with DAG("d", schedule=None):
        first = UploadMediaOperator(task_id="first", path="a.png")
        rules = {"opt_in": {"numbers": first.output, "source": "the list of today"}, "suppression": first.output["id"]}
        send = SendTemplateOperator(task_id="send", **MESSAGE, to="+447700900101", rules=rules)
    assert send.upstream_task_ids == {"first"}


def test_options_may_be_defaults_of_a_dag_and_shared_by_tasks() -> None:
    shared = {"rules": Rules(quiet_hours=QuietHours("21:00", "08:00")), "delivery": Delivery(max_failed=3)}
    with DAG("d", schedule=None, default_args=shared):
        one = SendTemplateOperator(task_id="one", **MESSAGE, to="+447700900101")
        two = SqlToCirrusOperator(
            task_id="two", **MESSAGE, sql="SELECT 1", sql_conn_id="shop", delivery={"shards": 2, "shard": 0}
        )
    assert one.rules == two.rules == {"quiet_hours": {"start": "21:00", "end": "08:00"}}
    assert (one.delivery, two.delivery) == ({"max_failed": 3}, {"shards": 2, "shard": 0})


def test_a_function_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidInput, match=r"rules\.opt_in\.numbers: is a function"):
        SendTemplateOperator(task_id="send", **MESSAGE, to="+447700900101", rules=Rules(opt_in=OptIn(lambda n: True)))


@pytest.mark.parametrize("name", ["body_columns", "opt_in", "max_failed", "report_path", "shards"])
def test_an_argument_that_is_part_of_an_option_is_refused(name: str) -> None:
    with pytest.raises((TypeError, AirflowException), match=name):
        SendTemplateOperator(task_id="send", **MESSAGE, to="+447700900101", **{name: 1})


@pytest.mark.parametrize("name", ["quiet_hours", "frequency_cap"])
def test_a_campaign_refuses_what_it_cannot_keep(name: str) -> None:
    rule = {"quiet_hours": {"start": "21:00", "end": "08:00"}, "frequency_cap": {"max_messages": 1, "days": 1}}[name]
    with pytest.raises(InvalidInput, match=f"rules.{name}: cannot be kept"):
        CampaignOperator(task_id="c", **MESSAGE, audience_file="a.csv", rules={name: rule})
    with pytest.raises(InvalidInput, match=r"delivery.shard: cannot be kept"):
        CampaignOperator(task_id="c", **MESSAGE, audience_file="a.csv", delivery={"shards": 2, "shard": 1})


def test_columns_that_the_rules_go_by_need_rows() -> None:
    with pytest.raises(InvalidInput, match="to: has no columns, and the rules go by agreed"):
        SendTemplateOperator(task_id="s", **MESSAGE, to="+447700900101", rules={"opt_in": {"column": "agreed"}})
    with pytest.raises(InvalidInput, match="to: has no columns, and the rules go by zone"):
        SendTemplateOperator(task_id="s", **MESSAGE, to="+447700900101", columns=Columns(zone="zone"))
