"""Reading definitions: clear errors for what is none, and no objection to what Meta adds."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.templates import read_definition
from tests.unit.templates.definitions import ALL, NAMED, ORDER, changed


@pytest.mark.parametrize("name", ALL)
def test_a_definition_is_read(name: str) -> None:
    assert read_definition(ALL[name]).name == ALL[name]["name"]


def test_case_does_not_count() -> None:
    found = read_definition(NAMED)
    assert (found.category, found.is_named) == ("UTILITY", True)
    assert found.parts.body is not None


def test_what_metas_api_returns_beside_is_no_error() -> None:
    found = read_definition({**ORDER, "id": "17", "status": "APPROVED", "something_new": 1})
    assert found.name == "order_update"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param([], "is of type list, not an object", id="list"),
        pytest.param(changed(ORDER, ["name"], None), "^template: is missing", id="no-name"),
        pytest.param(changed(ORDER, ["language"], None), "^language: is missing", id="no-language"),
        pytest.param(changed(ORDER, ["category"], "TRANSACTIONAL"), "^category: ", id="category"),
        pytest.param(changed(ORDER, ["components"], []), "^components: ", id="no-components"),
        pytest.param(
            {**changed(ORDER, ["components"], None), "component": []}, "did you mean 'components'", id="slip-of-a-key"
        ),
        pytest.param(
            changed(ORDER, ["components", 0, "format"], "PICTURE"), r"^components\[0\].HEADER.format: ", id="format"
        ),
        pytest.param(
            changed(ORDER, ["components", 0, "text"], None), "a text header without a text", id="no-header-text"
        ),
        pytest.param(
            changed(ORDER, ["components", 1, "text"], 5), r"^components\[1\].BODY.text: is of type int", id="text"
        ),
        pytest.param(
            changed(ORDER, ["components", 3, "buttons"], {}), r"^components\[3\].BUTTONS.buttons: ", id="buttons"
        ),
        pytest.param(
            changed(ORDER, ["components"], [ORDER["components"][1]] * 2),
            "^components: holds BODY twice",
            id="two-bodies",
        ),
    ],
)
def test_what_is_none_says_where(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read_definition(value)


def test_what_stands_in_a_definition_is_in_no_error() -> None:
    with pytest.raises(InvalidInput) as error:
        read_definition(changed(ORDER, ["components", 1, "text"], {"secret": "4938"}))
    assert "4938" not in str(error.value)
