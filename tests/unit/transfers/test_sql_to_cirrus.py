"""What the operator says when the DAG is parsed, and what it reads as a file; runs are in tests/integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

GOOD: dict[str, Any] = {
    "sql": "SELECT * FROM orders",
    "sql_conn_id": "shop",
    "template": "order_update",
    "language": "en",
}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"sql": ["SELECT 1", "SELECT 2"]}, "sql: is of type list. Give one query", id="list"),
        pytest.param({"sql": " "}, "sql: is empty", id="no-query"),
        pytest.param({"sql_conn_id": ""}, "sql_conn_id: is missing", id="no-connection"),
        pytest.param({"parameters": "5"}, "parameters: is of type str", id="parameters-as-text"),
        pytest.param({"on_empty": "ignore"}, "known are skip, succeed, fail", id="on-empty"),
        pytest.param({"columns": {"body": "name"}}, "columns.body: is a text", id="columns-as-text"),
        pytest.param({"body": ["a\tb"]}, "a tab", id="what-all-messages-share"),
        pytest.param({"language": None}, "language: is missing", id="no-language"),
        pytest.param({"delivery": {"shard": 1}}, "go together", id="shard-alone"),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SqlToCirrusOperator(task_id="send", **{**GOOD, **given})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"sql": "{{ params.sql }}"}, id="sql"),
        pytest.param({"parameters": "{{ params.parameters }}"}, id="parameters"),
        pytest.param({"on_empty": "{{ params.on_empty }}"}, id="on-empty"),
        pytest.param({"columns": {"body": "{{ params.columns }}"}}, id="columns"),
        pytest.param({"language": None, "columns": {"language": "language"}}, id="language-from-the-rows"),
    ],
)
def test_what_is_templated_or_in_the_rows_is_left_for_the_run(given: dict[str, Any]) -> None:
    SqlToCirrusOperator(task_id="send", **{**GOOD, **given})


def test_all_arguments_of_the_send_are_taken_but_its_audience() -> None:
    mine = set(SqlToCirrusOperator.template_fields) - {"sql", "sql_conn_id", "parameters", "hook_params", "database"}
    assert mine == set(SendTemplateOperator.template_fields) - {
        "to",
        "messages",
        "audience",
    }
    with pytest.raises((TypeError, AirflowException), match="to"):
        SqlToCirrusOperator(task_id="send", **GOOD, to="+447700900101")


def test_every_template_field_is_an_attribute() -> None:
    made = SqlToCirrusOperator(task_id="send", **GOOD)
    assert [name for name in made.template_fields if not hasattr(made, name)] == []


@pytest.fixture
def dag(tmp_path: Path) -> DAG:
    """A DAG that finds ``orders.sql``."""
    (tmp_path / "orders.sql").write_text("SELECT * FROM orders WHERE day = '{{ day }}'")
    return DAG("d", schedule=None, template_searchpath=[str(tmp_path)])


def test_only_sql_is_read_as_a_file(dag: DAG) -> None:
    given = {"sql": "orders.sql", "body": ["orders.sql"], "parameters": ["orders.sql"], "columns": {"to": "to.sql"}}
    made = SqlToCirrusOperator(task_id="send", **{**GOOD, **given}, dag=dag)
    dag.resolve_template_files()
    made.render_template_fields({"day": "today"})  # type: ignore[typeddict-unknown-key]
    assert made.sql == "SELECT * FROM orders WHERE day = 'today'"
    assert (made.body, made.parameters, made.columns["to"]) == (["orders.sql"], ["orders.sql"], "to.sql")


def test_a_task_that_was_not_prepared_reads_it_when_it_renders(dag: DAG) -> None:
    # As mapped tasks do.
    given = {"sql": "orders.sql", "body": ["orders.sql"], "header": "orders.sql"}
    made = SqlToCirrusOperator(task_id="send", **{**GOOD, **given}, dag=dag)
    made.render_template_fields({"day": "today"})  # type: ignore[typeddict-unknown-key]
    assert made.sql == "SELECT * FROM orders WHERE day = 'today'"
    assert (made.body, made.header) == (["orders.sql"], "orders.sql")


def test_a_file_that_is_not_there_fails_when_the_dag_is_parsed(dag: DAG) -> None:
    SqlToCirrusOperator(task_id="send", **{**GOOD, "sql": "nowhere.sql"}, dag=dag)
    with pytest.raises(InvalidInput, match=r"there is no file 'nowhere\.sql'.*template_searchpath"):
        dag.resolve_template_files()


def test_parameters_are_rendered(dag: DAG) -> None:
    made = SqlToCirrusOperator(task_id="send", **GOOD, parameters={"day": "{{ day }}", "n": 5}, dag=dag)
    made.render_template_fields({"day": "today"})  # type: ignore[typeddict-unknown-key]
    assert made.parameters == {"day": "today", "n": 5}
