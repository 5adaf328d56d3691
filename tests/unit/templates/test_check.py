"""What a message fills in, against its definition."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.models import Template, build
from airflow_provider_cirrus.templates import check, read_definition
from tests.unit.templates.definitions import ALL, CAROUSEL, CODE, NAMED, OFFER, ORDER, PICTURE, changed

BODY = ["Ann", "Friday", "morning"]
URL = {"type": "url", "text": "A-17", "index": 1}
GOOD: dict[str, dict[str, Any]] = {
    "order": {"header": "A-17", "body": BODY, "buttons": [URL]},
    "named": {"body": {"name": "Ann", "order": "A-17"}},
    "picture": {
        "header": {"type": "image", "id": "17"},
        "buttons": [{"type": "copy_code", "coupon_code": "RIDE10"}],
    },
    "code": {"authentication_code": "493817"},
    "offer": {
        "buttons": [{"type": "copy_code", "coupon_code": "BELL50"}],
        "components": [
            {
                "type": "limited_time_offer",
                "parameters": [{"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1}}],
            }
        ],
    },
    "carousel": {
        "components": [
            {
                "type": "carousel",
                "cards": [
                    {
                        "card_index": place,
                        "components": [
                            {"type": "header", "parameters": [{"type": "image", "image": {"id": "17"}}]},
                            {
                                "type": "button",
                                "sub_type": "quick_reply",
                                "index": 0,
                                "parameters": [{"type": "payload", "payload": "x"}],
                            },
                        ],
                    }
                    for place in range(2)
                ],
            }
        ]
    },
}


def found(definition: dict[str, Any], fields: dict[str, Any]) -> list[str]:
    template = build(Template, {"name": definition["name"], "language": definition["language"], **fields})
    problems = check(read_definition(definition), template)
    return [f"{one.field} {one.problem} {one.hint}".rstrip() for one in problems]


@pytest.mark.parametrize("name", GOOD)
def test_what_fits_has_no_problem(name: str) -> None:
    assert found(ALL[name], GOOD[name]) == []


def without(name: str, *fields: str, **more: Any) -> dict[str, Any]:
    return {**{key: value for key, value in GOOD[name].items() if key not in fields}, **more}


@pytest.mark.parametrize(
    ("definition", "fields", "problem"),
    [
        pytest.param(
            ORDER, without("order", "header"), "header is missing: 'order_update' (en) fills one in", id="header"
        ),
        pytest.param(
            ORDER,
            without("order", header={"type": "image", "id": "17"}),
            "header is of type image, and that of 'order_update' (en) is a text.",
            id="header-kind",
        ),
        pytest.param(
            changed(ORDER, ["components", 0, "text"], "Your order"),
            GOOD["order"],
            "header is given, and the header of 'order_update' (en) is the same for all. Leave it out.",
            id="header-static",
        ),
        pytest.param(
            ORDER, without("order", header="x" * 55), "header makes the header 61 characters long", id="header-long"
        ),
        pytest.param(
            NAMED,
            {**GOOD["named"], "header": "x"},
            "header is given, and 'order_update' (pt_BR) has no",
            id="no-header",
        ),
        pytest.param(
            PICTURE,
            without("picture", "header"),
            "header is missing: 'new_bicycle' (en) has a header of type image.",
            id="no-media",
        ),
        pytest.param(
            PICTURE,
            without("picture", header={"type": "video", "id": "17"}),
            "header is of type video, and that of 'new_bicycle' (en) is of type image.",
            id="media-kind",
        ),
        pytest.param(
            ORDER,
            without("order", body=BODY[:2]),
            "body holds 2 parameters, and 'order_update' (en) takes 3; {{3}} is missing:",
            id="two-of-three",
        ),
        pytest.param(ORDER, without("order", "body"), "takes 3; {{1}}, {{2}}, {{3}} are missing:", id="none-of-three"),
        pytest.param(
            ORDER,
            without("order", body=[*BODY, "x"]),
            "body holds 4 parameters, and 'order_update' (en) takes 3:",
            id="four-of-three",
        ),
        pytest.param(
            ORDER,
            without("order", body={"name": "Ann"}),
            "body is a dict, and 'order_update' (en) numbers",
            id="a-dict",
        ),
        pytest.param(
            PICTURE,
            without("picture", body=["x"]),
            "body holds 1 parameter, and 'new_bicycle' (en) fills nothing in.",
            id="no-parameter",
        ),
        pytest.param(
            ORDER,
            without("order", body=["x" * 937, *BODY[1:]]),
            "body makes the message 1025 characters long; at most 1024 fit.",
            id="long",
        ),
        pytest.param(
            NAMED,
            {"body": ["Ann", "A-17"]},
            "body is a list, and 'order_update' (pt_BR) names its parameters. Give a dict of 'name', 'order'.",
            id="a-list",
        ),
        pytest.param(
            NAMED, {"body": {"name": "Ann"}}, "body lacks 'order' of 'order_update' (pt_BR):", id="one-of-two-names"
        ),
        pytest.param(
            NAMED,
            {"body": {"name": "Ann", "ordre": "x"}},
            "body has the parameter 'ordre', which 'order_update' (pt_BR) does not have. Did you mean 'order'?",
            id="slip",
        ),
        pytest.param(
            ORDER,
            without("order", "buttons"),
            "buttons[1] is missing: button 1 of 'order_update' (en) ('Follow it') takes the end of its address:",
            id="no-button",
        ),
        pytest.param(
            ORDER,
            without("order", buttons=[{**URL, "index": 0}, {**URL, "index": 1}]),
            "buttons[0] is of type url, and button 0 of 'order_update' (en) ('Thank you') is of type quick_reply.",
            id="button-kind",
        ),
        pytest.param(
            ORDER,
            without("order", buttons=[URL, {**URL, "index": 2}]),
            "buttons[2] is given, and button 2 of 'order_update' (en) ('Call us') is the same for all.",
            id="button-static",
        ),
        pytest.param(
            ORDER,
            without("order", buttons=[URL, {**URL, "index": 7}]),
            "buttons[7] is given, and 'order_update' (en) has 3 buttons.",
            id="button-beyond",
        ),
        pytest.param(
            ORDER,
            without("order", buttons=[{**URL, "text": "x" * 1971}]),
            "buttons[1] makes the address 2001 characters long",
            id="address-long",
        ),
        pytest.param(
            PICTURE,
            without("picture", "buttons"),
            "buttons[0] is missing: button 0 of 'new_bicycle' (en) takes a code to copy.",
            id="no-code",
        ),
        pytest.param(
            CODE,
            {"body": []},
            "authentication_code is missing: 'sign_in' (en) sends a code.",
            id="no-authentication-code",
        ),
        pytest.param(
            CODE,
            {"authentication_code": "49 38"},
            "authentication_code is of 5 characters; a code has up to 15",
            id="code-with-a-space",
        ),
        pytest.param(
            CODE, {"authentication_code": "x://y"}, "authentication_code is of 5 characters", id="code-with-an-address"
        ),
        pytest.param(
            CODE,
            {"authentication_code": "\U0001f511"},
            "authentication_code is of 1 characters",
            id="code-with-an-emoji",
        ),
        pytest.param(
            CODE,
            {"body": ["493817"]},
            "buttons[0] does not repeat the code of 'sign_in' (en).",
            id="code-without-button",
        ),
        pytest.param(
            ORDER,
            {"authentication_code": "493817"},
            "authentication_code is given, and 'order_update' (en) is a UTILITY template.",
            id="code-elsewhere",
        ),
        pytest.param(OFFER, without("offer", "components"), "components lacks limited_time_offer", id="no-expiry"),
        pytest.param(
            CAROUSEL, {}, "components carousel holds 0 cards, and 'three_bicycles' (en) has 2.", id="no-cards"
        ),
        pytest.param(
            ORDER,
            {**GOOD["order"], **GOOD["carousel"]},
            "components carousel holds 2 cards, and 'order_update' (en) has 0.",
            id="cards-elsewhere",
        ),
        pytest.param(
            changed(CAROUSEL, ["components", 1, "cards", 1, "components", 0, "format"], "VIDEO"),
            GOOD["carousel"],
            "components.carousel.cards[1].header is of type image, and that of 'three_bicycles' (en) is of type video.",
            id="card",
        ),
    ],
)
def test_what_does_not_fit(definition: dict[str, Any], fields: dict[str, Any], problem: str) -> None:
    assert any(problem in one for one in found(definition, fields)), found(definition, fields)


NAMED_HEADER = {
    **NAMED,
    "components": [{"type": "HEADER", "format": "TEXT", "text": "Pedido {{order}}"}, *NAMED["components"]],
}


@pytest.mark.parametrize(
    ("definition", "header", "problem"),
    [
        pytest.param(NAMED_HEADER, {"type": "text", "text": "A-17", "parameter_name": "order"}, "", id="named"),
        pytest.param(NAMED_HEADER, "A-17", "header is not named 'order'", id="without-its-name"),
        pytest.param(
            NAMED_HEADER, {"type": "text", "text": "A-17", "parameter_name": "odrer"}, "is not named 'order'", id="slip"
        ),
        pytest.param(
            ORDER,
            {"type": "text", "text": "A-17", "parameter_name": "order"},
            "header has a parameter_name",
            id="numbered",
        ),
    ],
)
def test_a_header_is_named_where_the_template_names_its_parameters(
    definition: dict[str, Any], header: Any, problem: str
) -> None:
    name = "order" if definition is ORDER else "named"
    wrong = found(definition, without(name, header=header))
    assert wrong == [] if not problem else problem in wrong[0]


def test_the_first_parameter_is_number_one_wherever_that_stands() -> None:
    turned = changed(ORDER, ["components", 1, "text"], "On {{2}} we write to {{1}}, who asked for it, and {{3}} x.")
    assert found(turned, GOOD["order"]) == []
    (problem,) = found(turned, without("order", body=["Ann"]))
    assert "{{2}}, {{3}} are missing" in problem
    assert "On >>>{{2}}<<< we write to {{1}}," in problem


def test_the_text_is_shown_with_what_is_missing_marked() -> None:
    (problem,) = found(ORDER, without("order", body=BODY[:2]))
    assert "\n    Hello {{1}}, the bicycle" in problem
    assert "in the >>>{{3}}<<< hours." in problem


def test_the_limits_fit_on_their_near_side() -> None:
    assert found(ORDER, without("order", header="x" * 54)) == []
    assert found(ORDER, without("order", body=["x" * 936, *BODY[1:]])) == []
    assert found(ORDER, without("order", buttons=[{**URL, "text": "x" * 1970}])) == []
    assert found(CODE, {"authentication_code": "x" * 15}) == []


def test_a_quick_reply_may_bring_a_payload_or_not() -> None:
    payload = {"type": "quick_reply", "payload": "thanks", "index": 0}
    assert found(ORDER, without("order", buttons=[payload, URL])) == []


def test_raw_components_are_checked_like_what_is_modelled() -> None:
    raw = [{"type": "body", "parameters": [{"type": "text", "text": "Ann"}]}]
    assert "takes 3; {{2}}, {{3}} are missing" in found(ORDER, without("order", "body", components=raw))[0]


def test_what_is_not_modelled_is_metas_to_judge() -> None:
    strange = changed(ORDER, ["components", 0], {"type": "HEADER", "format": "LOCATION"})
    place = {"type": "location", "location": {"latitude": "51.4"}}
    raw = [{"type": "header", "parameters": [place]}]
    assert found(strange, without("order", "header", components=raw)) == []
    assert found(strange, without("order", "header")) == []
