"""Each of Meta's limits, on both of its sides."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.templates import lint, read_definition
from tests.unit.templates.definitions import ALL, CAROUSEL, CODE, NAMED, OFFER, ORDER, PICTURE, card, changed

HEADER = ["components", 0, "text"]
BODY = ["components", 1, "text"]
MINUTES = ["components", 1, "code_expiration_minutes"]
CARDS = ["components", 1, "cards"]
BUTTONS = ["components", 3, "buttons"]
LONG = "Hello {{1}}, the rest of this says nothing at all about anything, but goes on and on and on."


def url(text: str = "Go", address: str = "https://wheels.example/") -> dict[str, Any]:
    return {"type": "URL", "text": text, "url": address}


def reply(number: int) -> dict[str, Any]:
    return {"type": "QUICK_REPLY", "text": f"Answer {number}"}


def found(definition: dict[str, Any], *, errors: bool = True) -> list[str]:
    return [f"{one.place} {one.text}" for one in lint(read_definition(definition)) if one.is_error is errors]


@pytest.mark.parametrize("name", ALL)
def test_what_is_right_has_no_findings(name: str) -> None:
    assert found(ALL[name]) == []


@pytest.mark.parametrize(
    ("definition", "path", "good", "bad", "problem"),
    [
        pytest.param(ORDER, HEADER, "x" * 60, "x" * 61, "components[0].text is 61 characters", id="header"),
        pytest.param(ORDER, HEADER, "{{1}} x", "{{1}} x {{2}}", "has 2 placeholders", id="header-one"),
        pytest.param(ORDER, HEADER, "x y", "x\ny", "holds a newline", id="header-newline"),
        pytest.param(ORDER, HEADER, "für x", "x \U0001f6b2", "holds an emoji", id="header-emoji"),
        pytest.param(
            PICTURE,
            ["components", 0, "example"],
            {"header_handle": ["4::aW"]},
            None,
            "components[0].example lacks header_handle",
            id="media-sample",
        ),
        pytest.param(ORDER, BODY, "x" * 1024, "x" * 1025, "components[1].text is 1025 characters", id="body"),
        pytest.param(ORDER, BODY, LONG, LONG.removeprefix("Hello "), "begins with {{1}}", id="body-begins"),
        pytest.param(ORDER, BODY, f"{LONG} x {{{{2}}}}.", f"{LONG} x {{{{2}}}}", "ends with {{2}}", id="body-ends"),
        pytest.param(
            ORDER, BODY, f"{LONG} {{{{2}}}} x", f"{LONG} {{{{3}}}} x", "go 1, 2, 3", id="placeholders-in-sequence"
        ),
        pytest.param(
            ORDER, BODY, f"{LONG} {{{{2}}}} x", f"{LONG} {{{{name}}}} x", "(parameter_format: NAMED?)", id="named"
        ),
        pytest.param(
            ORDER,
            BODY,
            f"{LONG} {{{{2}}}} and {{{{3}}}} x",
            f"{LONG} {{{{2}}}} {{{{3}}}} x",
            "no word between them",
            id="placeholders-adjacent",
        ),
        pytest.param(
            NAMED,
            ["components", 0, "text"],
            "Ola {{name}}, e tudo o mais, ate logo, ja.",
            "Ola {{Name}}, e tudo o mais, ate logo, ja.",
            "not a name of lower-case letters",
            id="name-of-a-placeholder",
        ),
        pytest.param(
            NAMED,
            ["components", 0, "text"],
            "Ola {{a}}, e tudo o mais {{b}}, ate logo, ja, um dia.",
            "Ola {{a}}, e tudo o mais {{a}}, ate logo, ja, um dia.",
            "names a placeholder twice",
            id="name-twice",
        ),
        pytest.param(ORDER, ["components", 2, "text"], "x" * 60, "x" * 61, "a footer has at most 60", id="footer"),
        pytest.param(ORDER, ["components", 2, "text"], "x", "{{1}}", "the same for everybody", id="footer-placeholder"),
        pytest.param(
            ORDER,
            BUTTONS,
            [reply(n) for n in range(10)],
            [reply(n) for n in range(11)],
            "holds 11 buttons; there are 1 to 10",
            id="buttons",
        ),
        pytest.param(ORDER, [*BUTTONS, 0, "text"], "x" * 25, "x" * 26, "a label has at most 25", id="label"),
        pytest.param(ORDER, [*BUTTONS, 0, "text"], "x", "x {{1}}", "a label is the same", id="label-placeholder"),
        pytest.param(
            ORDER,
            [*BUTTONS, 1, "url"],
            "https://x.example/" + "x" * 1982,
            "https://x.example/" + "x" * 1983,
            "an address has at most 2000",
            id="url",
        ),
        pytest.param(
            ORDER,
            [*BUTTONS, 1, "url"],
            "https://x.example/{{1}}",
            "https://x.example/{{1}}/x",
            "elsewhere than once, at its end",
            id="url-placeholder",
        ),
        pytest.param(
            ORDER, BUTTONS, [url(), url()], [url(), url(), url()], "3 of type URL; there are at most 2", id="urls"
        ),
        pytest.param(
            ORDER,
            BUTTONS,
            [{"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+441174960123"}],
            [{"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+441174960123"}] * 2,
            "2 of type PHONE_NUMBER; there are at most 1",
            id="phones",
        ),
        pytest.param(
            ORDER, [*BUTTONS, 2, "phone_number"], "+" + "4" * 19, "+" + "4" * 20, "1 to 20 characters", id="phone"
        ),
        pytest.param(
            PICTURE,
            ["components", 2, "buttons", 0, "example"],
            "x" * 20,
            "x" * 21,
            "a code has at most 20",
            id="coupon",
        ),
        pytest.param(
            ORDER,
            BUTTONS,
            [{"type": "CATALOG", "text": "All"}],
            [{"type": "CATALOG", "text": "All"}, reply(1)],
            "holds a CATALOG button beside others",
            id="catalog",
        ),
        pytest.param(
            ORDER,
            BUTTONS,
            [{"type": "MPM", "text": "Some"}],
            [{"type": "MPM", "text": "Some"}, url()],
            "holds a MPM button beside others",
            id="multi-product",
        ),
        pytest.param(
            ORDER, BUTTONS, [reply(1), reply(2), url()], [reply(1), url(), reply(2)], "stands together", id="grouped"
        ),
        pytest.param(OFFER, ["category"], "MARKETING", "UTILITY", "which only a MARKETING", id="offer-marketing"),
        pytest.param(
            OFFER,
            ["components", 0, "limited_time_offer", "text"],
            "x" * 16,
            "x" * 17,
            "an offer has at most 16",
            id="offer-text",
        ),
        pytest.param(CAROUSEL, ["category"], "MARKETING", "UTILITY", "a carousel, which only", id="carousel-marketing"),
        pytest.param(
            CAROUSEL,
            ["components", 1, "cards"],
            [card()] * 2,
            [card()],
            "holds 1 card; there are 2 to 10",
            id="one-card",
        ),
        pytest.param(CAROUSEL, CARDS, [card()] * 10, [card()] * 11, "there are 2 to 10", id="eleven-cards"),
        pytest.param(
            CAROUSEL,
            ["components", 1, "cards", 1, "components", 0, "format"],
            "IMAGE",
            "VIDEO",
            "components[1].cards[1] differs in kind from the first card",
            id="one-structure",
        ),
        pytest.param(
            CAROUSEL,
            ["components", 1, "cards", 1, "components", 1, "text"],
            "x" * 160,
            "x" * 161,
            "the body of a card has at most 160",
            id="card-body",
        ),
        pytest.param(
            CAROUSEL,
            ["components", 1, "cards"],
            [changed(card(), ["components", 2, "buttons"], [reply(1), reply(2)])] * 2,
            [changed(card(), ["components", 2, "buttons"], [reply(1), reply(2), reply(3)])] * 2,
            "holds 3 buttons; there are 1 to 2",
            id="card-buttons",
        ),
        pytest.param(CODE, MINUTES, 1, 0, "it is 1 to 90", id="code-minutes-least"),
        pytest.param(CODE, MINUTES, 90, 91, "it is 1 to 90", id="code-minutes-most"),
        pytest.param(CODE, ["components", 1, "text"], "x", "see www.x.example", "holds an address", id="code-address"),
        pytest.param(CODE, ["components", 1, "text"], "x", "\U0001f511", "holds an emoji", id="code-emoji"),
        pytest.param(
            CODE,
            ["components", 2, "buttons", 0],
            {"type": "OTP", "otp_type": "ZERO_TAP", "supported_apps": [{"package_name": "example.wheels"}]},
            {"type": "OTP", "otp_type": "ZERO_TAP"},
            "works on Android alone",
            id="zero-tap",
        ),
        pytest.param(
            CODE,
            ["components", 2, "buttons", 0],
            {"type": "OTP", "otp_type": "COPY_CODE"},
            url(),
            "an OTP button alone",
            id="code-button",
        ),
        pytest.param(ORDER, [*BUTTONS, 1], url(), {"type": "OTP", "text": "Copy"}, "only AUTHENTICATION", id="otp"),
    ],
)
def test_each_limit(definition: dict[str, Any], path: list[str | int], good: Any, bad: Any, problem: str) -> None:
    assert found(changed(definition, path, good)) == []
    wrong = found(changed(definition, path, bad))
    assert any(problem in one for one in wrong), wrong


def test_an_offer_has_no_footer() -> None:
    with_footer = changed(OFFER, ["components"], [*OFFER["components"], {"type": "FOOTER", "text": "x"}])
    assert found(with_footer) == ["components[0] is a limited-time offer, and there is a footer: it has none."]


def test_a_code_comes_without_media() -> None:
    header = {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}}
    assert "has a media header" in found(changed(CODE, ["components"], [header, *CODE["components"]]))[0]


def test_a_template_has_a_body() -> None:
    assert found(changed(ORDER, ["components"], [{"type": "FOOTER", "text": "x"}])) == [
        "components lacks a body, which every template has."
    ]


def test_what_may_be_right_is_a_remark() -> None:
    few = changed(ORDER, BODY, "Hello {{1}}, see {{2}} now.")
    assert found(few) == []
    assert found(few, errors=False) == [
        "components[1].text has 3 words for 2 placeholders; with fewer than 7 Meta may refuse it."
    ]
    enough = changed(ORDER, BODY, "Hello {{1}}, look at what we have in {{2}} now.")
    assert found(enough, errors=False) == []
    assert "is no name at Meta" in found(changed(ORDER, ["name"], "Order update"), errors=False)[0]


def test_what_is_not_modelled_is_passed_through_and_says_so() -> None:
    strange = changed(
        ORDER,
        ["components"],
        [
            ORDER["components"][1],
            {"type": "call_permission_request"},
            {"type": "BUTTONS", "buttons": [{"type": "ORDER_DETAILS", "text": "Pay"}]},
        ],
    )
    assert found(strange) == []
    assert found(strange, errors=False) == [
        "components[1].type CALL_PERMISSION_REQUEST is passed through and not checked.",
        "components[2].buttons[0].type ORDER_DETAILS is passed through and not checked.",
    ]


def test_findings_stand_in_the_order_of_the_definition() -> None:
    wrong = changed(changed(ORDER, BODY, "{{2}}"), ["components", 2, "text"], "x" * 61)
    places = [one.place for one in lint(read_definition(wrong)) if one.is_error]
    assert places == sorted(places)
    assert places[-1] == "components[2].text"
