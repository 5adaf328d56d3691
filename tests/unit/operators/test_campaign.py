"""What the operator says when the DAG is parsed; runs are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators.campaign import CampaignOperator

GOOD = {"template": "opening_hours", "language": "en", "audience_file": "a.csv"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"template": ""}, "template: is missing", id="template"),
        pytest.param({"language": None}, "language: is missing", id="language"),
        pytest.param({"audience_file": "a.jsonl"}, "must end in .csv or .xlsx", id="ending"),
        pytest.param({"schedule": "2030-01-01T10:00:00"}, "no time zone", id="naive"),
        pytest.param({"notify_mail": "team"}, "no mail address", id="mail"),
        pytest.param({"on_bad_rows": "skip"}, "known are fail, drop", id="bad-rows"),
        pytest.param({"new_audience_name": "x"}, "save_as_new_audience=True", id="audience"),
        pytest.param({"rules": {"opt_in": {"colum": "agreed"}}}, "opt_in: has no 'colum'", id="opt-in"),
        pytest.param({"rules": {"opt_in": {"marketing": ["447700900101"]}}}, "category: is missing", id="category"),
        pytest.param({"rules": {"suppression": ["nobody"]}}, r"suppression\[0\]: ", id="suppression"),
        pytest.param({"rules": {"max_suppressed": "many"}}, "no count", id="max-suppressed"),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        CampaignOperator(task_id="campaign", **{**GOOD, **given})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"audience_file": "{{ params.path }}"}, id="file"),
        pytest.param({"template": "{{ params.template }}", "language": "{{ params.language }}"}, id="template"),
        pytest.param({"notify_mail": "{{ params.mail }}"}, id="mail"),
        pytest.param({"save_as_new_audience": "{{ params.save }}", "new_audience_name": "x"}, id="audience"),
        pytest.param({"schedule": "{{ params.at }}", "expiration_date": "2030-01-01T10:00:00Z"}, id="schedule"),
        pytest.param({"on_bad_rows": "{{ params.rows }}"}, id="bad-rows"),
        pytest.param(
            {"rules": {"opt_in": {"marketing": ["447700900101"]}, "category": "{{ params.kind }}"}}, id="category"
        ),
        pytest.param({"schedule": "2020-01-01T10:00:00Z"}, id="a-dag-outlives-its-dates"),
    ],
)
def test_what_is_templated_is_left_for_the_run(given: dict[str, Any]) -> None:
    CampaignOperator(task_id="campaign", **{**GOOD, **given})


def test_every_template_field_is_an_attribute_and_none_is_read_as_a_file() -> None:
    made = CampaignOperator(task_id="campaign", **GOOD)
    assert [name for name in CampaignOperator.template_fields if not hasattr(made, name)] == []
    assert tuple(CampaignOperator.template_ext) == ()
