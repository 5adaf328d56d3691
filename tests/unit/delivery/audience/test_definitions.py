"""Audiences of defined templates: the quick way to a message comes to the same as the whole one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.delivery.audience import messages
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience
from airflow_provider_cirrus.templates import Templates
from tests.unit.templates.definitions import ORDER, changed

TWICE = "Hello {{name}}, and once more {{name}}, your order {{order}} is on its way to you today."
PLAIN = "Hello {{1}}, your order {{2}} is on its way to you today, {{3}}."


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    folder: Path = tmp_path_factory.mktemp("templates")
    for name, text, kind in (("plain", PLAIN, "POSITIONAL"), ("twice", TWICE, "NAMED")):
        made = {
            **ORDER,
            "name": name,
            "parameter_format": kind,
            "components": [changed(ORDER, ["components", 1, "text"], text)["components"][1]],
        }
        (folder / f"{name}.en.json").write_text(json.dumps(made))
    return Templates(str(folder))


texts = st.one_of(
    st.text(alphabet="ab \n\t", max_size=8),
    st.integers(0, 1100).map(lambda length: "x" * length),
    st.sampled_from([None, 5, 1.5, True]),
)
rows = st.lists(
    st.fixed_dictionaries(
        {"to": st.sampled_from(["+447700900101", "+447700900102", "07700", ""]), "a": texts, "b": texts, "c": texts}
    ),
    max_size=6,
)


def read(templates: Templates, template: str, rows: list[dict[str, Any]]) -> list[Any]:
    body: Any = {"name": "a", "order": "b"} if template == "twice" else ["a", "b", "c"]
    common = {"template": template, "language": "en"}
    return list(read_audience(rows, Columns("to", body=body), common, templates=templates))


@pytest.mark.parametrize("template", ["plain", "twice"])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=rows)
def test_the_quick_way_comes_to_the_same(templates: Templates, template: str, rows: list[dict[str, Any]]) -> None:
    quick = read(templates, template, rows)
    with patch.object(messages, "_quickly", lambda filled, row: None):
        whole = read(templates, template, rows)
    assert quick == whole


def test_the_quick_way_is_taken(templates: Templates) -> None:
    row = {"to": "+447700900101", "a": "Ann", "b": "A-17", "c": "x"}
    with patch.object(messages.Filling, "message", side_effect=AssertionError("the whole way")):
        assert len(read(templates, "plain", [row])) == 1


@pytest.mark.parametrize(("length", "fits"), [(973, True), (974, False)])
def test_the_text_is_measured_once_rendered(templates: Templates, length: int, fits: bool) -> None:
    ((_, one),) = read(templates, "plain", [{"to": "+447700900101", "a": "x" * length, "b": "y", "c": "z"}])
    assert hasattr(one, "template") is fits
