"""What Airflow shows and keeps of arguments: no whole number, and no code."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Rules
from airflow_provider_cirrus.operators import SendTemplateOperator, ValidateContactOperator
from airflow_provider_cirrus.operators.hidden import Hidden, masked, unhidden
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

MESSAGE: dict[str, Any] = {"template": "order_update", "language": "en"}
ANN = "+447700900101"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(ANN, "+44******0101", id="number"),
        pytest.param("+44 7700 900 101", "+44******0101", id="spaces"),
        pytest.param(447700900101, "+44******0101", id="int"),
        pytest.param([ANN, 447700900102], ["+44******0101", "+44******0102"], id="list"),
        pytest.param(("447700900101",), ["+44******0101"], id="tuple"),
        pytest.param(
            [{"to": ANN, "body": ["Ann", 3, "call 447700900102 now"], "authentication_code": "123456"}],
            [{"to": "+44******0101", "body": ["Ann", 3, "call +44******0102 now"], "authentication_code": "***"}],
            id="messages",
        ),
        pytest.param("s3://shop/20261126/customers.csv", "s3://shop/20261126/customers.csv", id="path"),
        pytest.param(Path("/data/20261126.csv"), "/data/20261126.csv", id="path-object"),
        pytest.param(
            {"opt_in": [ANN], "max_suppressed": 0.5}, {"opt_in": ["+44******0101"], "max_suppressed": 0.5}, id="rules"
        ),
        pytest.param(date(2026, 1, 1), "<date>", id="other"),
    ],
)
def test_what_is_shown_has_no_whole_number(value: Any, shown: Any) -> None:
    assert masked(value) == shown
    hidden = Hidden(value)
    assert hidden.serialize() == shown
    assert "7700900101" not in repr(hidden) + str(hidden)
    assert unhidden(hidden) is value
    assert hidden == value


def test_a_code_that_is_written_out_is_in_no_serialised_dag() -> None:
    operators = [
        SendTemplateOperator(task_id="send", **MESSAGE, to=ANN, authentication_code="493817"),
        SqlToCirrusOperator(task_id="sql", **MESSAGE, sql="SELECT 1;", sql_conn_id="x", authentication_code="493817"),
    ]
    for operator in operators:
        assert "493817" not in json.dumps([str(getattr(operator, name)) for name in operator.template_fields])
        assert operator._message()["authentication_code"] == "493817"


def test_a_code_that_is_written_out_for_mapped_tasks_is_in_no_serialised_dag() -> None:
    with DAG("codes", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        partial = SendTemplateOperator.partial(task_id="send", **MESSAGE, authentication_code="493817")
        partial.expand(to=[ANN])
    serialized = import_module("airflow.serialization.serialized_objects").SerializedDAG
    to_dict = getattr(import_module("airflow.serialization.serialized_objects"), "DagSerialization", serialized).to_dict
    found = json.dumps(to_dict(dag))
    assert "493817" not in found
    assert "***" in found
    mapped = dag.get_task("send")
    running = mapped.unmap({"to": ANN})
    assert running._message()["authentication_code"] == "493817"


def test_a_template_stays_one_until_it_is_rendered() -> None:
    operator = SendTemplateOperator(
        task_id="send", **MESSAGE, to="{{ params.to }}", authentication_code="{{ params.code }}"
    )
    assert (operator.to, operator.authentication_code) == ("{{ params.to }}", "{{ params.code }}")
    running = operator.prepare_for_execution()
    running.render_template_fields({"params": {"to": ANN, "code": "493817"}})
    assert isinstance(running.to, Hidden)
    assert isinstance(running.authentication_code, Hidden)
    assert "493817" not in str(running.authentication_code)
    assert running._message()["authentication_code"] == "493817"
    assert unhidden(running.to) == ANN
    assert operator.to == "{{ params.to }}"


@pytest.mark.parametrize("whole", [False, True])
def test_the_connection_may_show_whole_numbers(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"stream_id": "hExample_streamID_1Aw==", "show_recipients": whole}
    monkeypatch.setenv(
        "AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps({"conn_type": "cirrus", "password": "s3cret", "extra": extra})
    )
    operator = SendTemplateOperator(task_id="send", **MESSAGE, to=[ANN], rules=Rules(suppression=[ANN]))
    running = operator.prepare_for_execution()
    running.render_template_fields({})
    shown = ANN if whole else "+44******0101"
    assert running.to.serialize() == [shown]
    assert ("7700900101" in str(running.rules)) is whole
    check = ValidateContactOperator(task_id="check", phone_number=ANN, opt_in=True).prepare_for_execution()
    check.render_template_fields({})
    assert check.phone_number.serialize() == shown


def test_operators_with_hidden_values_are_copied_and_pickled() -> None:
    operator = SendTemplateOperator(task_id="send", **MESSAGE, to=[ANN], authentication_code="493817")
    running = operator.prepare_for_execution()
    running.render_template_fields({})
    for one in (copy.deepcopy(running), pickle.loads(pickle.dumps(running))):
        assert unhidden(one.to) == [ANN]
        assert unhidden(one.authentication_code) == "493817"
