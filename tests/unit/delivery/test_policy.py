from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.policy import screen_of


@pytest.mark.parametrize(
    ("allowed", "passes", "held"),
    [
        pytest.param(None, ["447700900123", "12125550123"], [], id="no-rule"),
        pytest.param("", ["447700900123"], [], id="an-empty-field-of-the-form"),
        pytest.param([], [], ["447700900123", "12125550123"], id="an-empty-list-allows-nobody"),
        pytest.param(["+44 7700 900"], ["447700900123"], ["447800900123", "12125550123"], id="a-beginning"),
        pytest.param("+44 7700 900123, +1 (212) 555-0123", ["447700900123", "12125550123"], ["447700900124"], id="csv"),
        pytest.param('["447700900123"]', ["447700900123"], ["12125550123"], id="json"),
        pytest.param([447700900123], ["447700900123"], ["12125550123"], id="a-number-of-json"),
        pytest.param(["+52 1 55 5123 4567"], ["525551234567", "5215551234567"], ["525551234568"], id="both-spellings"),
    ],
)
def test_only_allowed_recipients_pass(allowed: Any, passes: list[str], held: list[str]) -> None:
    screen = screen_of(allowed)
    assert [screen(digits) for digits in passes] == [None] * len(passes)
    for digits in held:
        assert "allowed_recipients" in (screen(digits) or "")


@pytest.mark.parametrize("allowed", [["0044 7700"], ["07700 900123"], ["Ann"], [None], {"a": 1}, "[1, ", [""]])
def test_what_is_no_number_is_an_error_and_is_not_shown(allowed: Any) -> None:
    with pytest.raises(InvalidInput, match="allowed_recipients") as caught:
        screen_of(allowed)
    assert "900123" not in str(caught.value)
