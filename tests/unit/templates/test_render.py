"""What the recipient sees."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.models import Template, build
from airflow_provider_cirrus.templates import Preview, read_definition, render
from tests.unit.templates.definitions import ALL, CODE, ORDER, changed
from tests.unit.templates.test_check import GOOD


def preview(definition: dict[str, Any], fields: dict[str, Any]) -> Preview:
    template = build(Template, {"name": definition["name"], "language": definition["language"], **fields})
    return render(read_definition(definition), template.wire_components())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "order",
            "*Order A-17*\n"
            "Hello Ann, the bicycle that you ordered at our shop arrives on Friday in the morning hours.\n"
            "Two Wheels, Bristol\n[Thank you]\n[Follow it] https://wheels.example/follow/A-17\n[Call us] +441174960123",
            id="order",
        ),
        pytest.param("named", "Ola Ann, o pedido A-17 chega na sexta de manha, ate logo.", id="named"),
        pytest.param("picture", "<image> 17\nThe new one is here.\n[Copy code] RIDE10", id="picture"),
        pytest.param(
            "code",
            "*493817* (code; the words around it are WhatsApp's own)\nExpires in 10 min.\n[Copy] 493817",
            id="code",
        ),
        pytest.param("offer", "Only till Sunday\nAll bells are half the price.\n[Copy code] BELL50", id="offer"),
        pytest.param(
            "carousel",
            "Have a look at these.\n(1) <image> 17\n    A light one for the city.\n    [This one] x\n"
            "(2) <image> 17\n    A stout one for the hills.\n    [This one] x",
            id="carousel",
        ),
    ],
)
def test_as_text(name: str, text: str) -> None:
    assert preview(ALL[name], GOOD[name]).text() == text


def test_what_is_not_given_stays_a_placeholder() -> None:
    found = preview(ORDER, {"body": ["Ann"]})
    assert "Hello Ann, the" in found.body
    assert "{{2}}" in found.body
    assert found.header is not None
    assert found.header.text == "Order {{1}}"
    assert "{{1}}" in preview(CODE, {}).body


@pytest.mark.parametrize(
    ("language", "expected"), [("he", True), ("ar", True), ("fa_IR", True), ("en", False), ("hr", False)]
)
def test_the_language_says_which_way_it_reads(language: str, expected: bool) -> None:
    assert preview(changed(ORDER, ["language"], language), GOOD["order"]).is_right_to_left is expected


def test_the_first_parameter_fills_number_one_wherever_that_stands() -> None:
    turned = changed(ORDER, ["components", 1, "text"], "On {{2}} we write to {{1}}.")
    assert preview(turned, GOOD["order"]).body == "On Friday we write to Ann."


def test_a_terminal_and_a_reader_of_text_see_the_same_words() -> None:
    bold = changed(ORDER, ["components", 1, "text"], "Hello *{{1}}*, here we are, {{2}} or {{3}} x.")
    found = preview(bold, GOOD["order"])
    assert "Hello *Ann*" in found.text()
    assert "Hello Ann" in found.text(colours=False)
    assert "Hello \x1b[1mAnn\x1b[22m" in found.text(colours=True)


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\u202egnp.exe", "\0", "<script>alert(1)</script>", "\U0001f6b2", "\x9b31m"]
)
def test_nothing_that_a_terminal_or_a_page_acts_on_is_left(hostile: str) -> None:
    components = [{"type": "body", "parameters": [{"type": "text", "text": hostile}]}]
    text = render(read_definition(ORDER), components).text()
    assert not any(character in text for character in "\x1b\u202e\0\x9b")


def test_what_is_far_too_long_is_cut() -> None:
    components = [{"type": "body", "parameters": [{"type": "text", "text": "x" * 10_000_000}]}]
    assert len(render(read_definition(ORDER), components).body) == 4096


@pytest.mark.parametrize(
    "components",
    [
        pytest.param([None], id="none"),
        pytest.param([{"type": "button", "index": "x", "parameters": "y"}], id="button"),
        pytest.param([{"type": "carousel", "cards": [{"components": [1]}, 2]}], id="cards"),
        pytest.param(
            [{"type": "body", "parameters": [{"type": "currency", "currency": {"fallback_value": "1"}}]}], id="money"
        ),
    ],
)
def test_components_of_another_shape_show_what_can_be_shown(components: Any) -> None:
    assert "Two Wheels" in render(read_definition(ORDER), components).text()
