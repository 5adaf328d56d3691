"""What an operator says when the DAG is parsed; runs are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

import airflow_provider_cirrus.operators
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators.cirrus import (
    SendTemplateOperator,
    UploadMediaOperator,
    ValidateContactOperator,
)

GOOD = {"template": "order_update", "language": "en", "to": "+447700900123"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"to": []}, "holds no recipient", id="nobody"),
        pytest.param({"to": None}, "exactly one", id="neither"),
        pytest.param({"to": (n for n in ["+447700900123"])}, "to: is a generator", id="generator"),
        pytest.param({"to": map(str, [447700900123])}, "to: is a map", id="map"),
        pytest.param({"to": None, "audience": iter([{}])}, "audience: is a list_iterator", id="iterator"),
        pytest.param({"messages": [{"to": "1"}]}, "exactly one", id="both"),
        pytest.param({"to": "07700 900123"}, "no country code", id="national"),
        pytest.param({"to": ["+447700900123", "nobody"]}, r"to\[1\]", id="one-of-many"),
        pytest.param({"template": ""}, "template: is missing", id="template-empty"),
        pytest.param({"template": None}, "template: is missing", id="template-none"),
        pytest.param({"language": None}, "language: is missing", id="language-none"),
        pytest.param({"header": ["a", "b"]}, "takes exactly one", id="two-in-header"),
        pytest.param({"header": {"type": "image"}}, "neither link nor id", id="header-without-source"),
        pytest.param({"body": ["a\tb"]}, "a tab", id="tab"),
        pytest.param({"buttons": [{"type": "urll"}]}, "did you mean 'url'", id="button-type"),
        pytest.param({"components": [{"type": "bdoy"}]}, "did you mean 'body'", id="component-type"),
        pytest.param({"object_data": {"colour": 1}}, "unknown key", id="object-data"),
        pytest.param({"schedule": "2030-01-01T10:00:00"}, "no time zone", id="naive-schedule"),
        pytest.param({"delivery": {"max_failed": -1}}, "no count .* and no ratio", id="max-failed"),
        pytest.param({"delivery": {"max_failed": 1.5}}, "no count .* and no ratio", id="max-failed-ratio-above-1"),
        pytest.param({"delivery": {"max_failed": "some"}}, "no count .* and no ratio", id="max-failed-words"),
        pytest.param({"delivery": {"max_failed": True}}, "no count .* and no ratio", id="max-failed-bool"),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(task_id="send", **{**GOOD, **given})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"to": "{{ params.to }}"}, id="to"),
        pytest.param({"to": ["+447700900123", "{{ params.to }}"]}, id="one-of-many"),
        pytest.param({"template": "{{ params.template }}"}, id="template"),
        pytest.param({"body": ["{{ '' }}", "x"]}, id="body"),
        pytest.param({"header": {"type": "image", "id": "{{ ti.xcom_pull('upload', key='media_id') }}"}}, id="header"),
        pytest.param({"schedule": "{{ data_interval_end }}"}, id="schedule"),
        pytest.param({"object_data": {"SubStreamId": "{{ params.sub }}"}}, id="object-data"),
        pytest.param({"delivery": {"max_failed": "{{ params.max_failed }}"}}, id="max-failed"),
        pytest.param({"delivery": {"max_failed": "0.05"}}, id="max-failed-as-rendered"),
        pytest.param({"schedule": "2020-01-01T10:00:00Z"}, id="a-dag-outlives-its-dates"),
    ],
)
def test_what_is_templated_is_left_for_the_run(given: dict[str, Any]) -> None:
    SendTemplateOperator(task_id="send", **{**GOOD, **given})


def test_messages_may_bring_template_and_language_themselves() -> None:
    SendTemplateOperator(task_id="send", messages=[{"to": "1", "template": "x", "language": "en"}])


def test_an_xcom_argument_is_left_for_the_run() -> None:
    with DAG("d", schedule=None):
        upload = UploadMediaOperator(task_id="upload", path="a.png")
        SendTemplateOperator(task_id="send", **{**GOOD, "header": upload.output, "to": upload.output})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"phone_number": "07700 900123"}, "no country code", id="national"),
        pytest.param({"phone_number": ["+447700900123"]}, "one number is asked for at a time", id="list"),
        pytest.param({"opt_in": None}, "opt_in: is missing.* opt_in=True", id="no-opt-in"),
        pytest.param({"opt_in": False}, "opt_in: is missing", id="opt-in-false"),
        pytest.param({"opt_in": lambda digits: True}, "opt_in: is a function, and Airflow", id="opt-in-function"),
        pytest.param({"opt_in": {"column": "agreed"}}, "opt_in: goes by column", id="opt-in-of-a-row"),
        pytest.param({"max_age": 0, "ledger_conn_id": "l"}, "no time span above 0", id="age-zero"),
        pytest.param(
            {"phone_number": "+447700900123", "fail_if_invalid": True, "skip_if_invalid": True}, "set one", id="both"
        ),
    ],
)
def test_validation_takes_one_number(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ValidateContactOperator(task_id="validate", **{"phone_number": "+447700900123", "opt_in": True, **given})


@pytest.mark.parametrize(
    "opt_in", ["{{ params.agreed }}", ["+447700900123", "{{ params.more }}"], "s3://shop/agreed.csv"]
)
def test_an_opt_in_is_looked_up_when_the_task_runs(opt_in: Any) -> None:
    ValidateContactOperator(task_id="validate", phone_number="{{ params.number }}", opt_in=opt_in)


@pytest.mark.parametrize("operator", [SendTemplateOperator, UploadMediaOperator, ValidateContactOperator])
def test_every_template_field_is_an_attribute_and_none_is_read_as_a_file(operator: type[BaseOperator]) -> None:
    made = operator(
        task_id="t",
        **(
            {"path": "a"}
            if operator is UploadMediaOperator
            else {"phone_number": "+447700900123", "opt_in": True}
            if operator is ValidateContactOperator
            else GOOD
        ),
    )
    assert [name for name in operator.template_fields if not hasattr(made, name)] == []
    assert tuple(operator.template_ext) == ()


def test_a_text_that_looks_like_a_file_survives_rendering() -> None:
    operator = SendTemplateOperator(task_id="send", **{**GOOD, "body": ["see report.sql", "{{ 1 + 1 }}"]})
    operator.render_template_fields({})
    assert operator.body == ["see report.sql", "2"]


def test_the_operators_are_found_in_the_package_too() -> None:
    assert airflow_provider_cirrus.operators.SendTemplateOperator is SendTemplateOperator
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = airflow_provider_cirrus.operators.Nothing


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"delivery": {"mode": "exactly_once"}}, "known are at_most_once, at_least_once", id="delivery"),
        pytest.param({"report": {"recipients": "none"}}, "known are full, masked, hash", id="report-recipients"),
        pytest.param({"delivery": {"messages_per_second": 0}}, "no whole number from 1 on", id="rate"),
        pytest.param({"delivery": {"shard": 1}}, "go together", id="shard-alone"),
        pytest.param({"delivery": {"shard": 3, "shards": 3}}, "does not exist", id="shard-beyond"),
        pytest.param({"audience": "a.csv"}, "exactly one", id="audience-and-to"),
    ],
)
def test_a_slip_in_how_to_deliver_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(task_id="send", **{**GOOD, **given})


def test_a_rule_by_column_is_refused_for_recipients_alone_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidInput, match="no columns, and the rules go by agreed"):
        SendTemplateOperator(
            task_id="send", template="t", language="en", to="+447700900123", rules={"opt_in": {"column": "agreed"}}
        )


def test_a_template_in_a_set_is_not_taken_for_a_number_when_the_dag_is_parsed() -> None:
    SendTemplateOperator(
        task_id="send", template="t", language="en", to="+447700900123", rules={"opt_in": {"{{ var.value.x }}"}}
    )
