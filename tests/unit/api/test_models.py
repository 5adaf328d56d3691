from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template
from airflow_provider_cirrus.api.wire import wire_entry


def entry(template: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """The entry on the wire of a message with these parts."""
    message = Message.build("+44 7700 900123", {"name": "order_update", "language": "en", **template}, **rest)
    found: dict[str, Any] = json.loads(wire_entry(message))
    return found


def components(**parts: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = entry(parts)["template_data"]["template"]["components"]
    return found


def test_a_template_without_parameters_has_an_empty_list_of_components() -> None:
    assert entry({}) == {
        "template_data": {
            "to": "447700900123",
            "template": {"name": "order_update", "language": {"code": "en"}, "components": []},
        }
    }


@pytest.mark.parametrize(
    ("header", "parameter"),
    [
        pytest.param("Hello", {"type": "text", "text": "Hello"}, id="text"),
        pytest.param(7, {"type": "text", "text": "7"}, id="number"),
        pytest.param(
            {"text": "Ann", "parameter_name": "name"},
            {"type": "text", "text": "Ann", "parameter_name": "name"},
            id="named-text",
        ),
        pytest.param(
            {"type": "image", "link": "https://example.com/a.png"},
            {"type": "image", "image": {"link": "https://example.com/a.png"}},
            id="image-by-link",
        ),
        pytest.param(
            {"id": "257", "filename": "a.png", "type": "image"},
            {"type": "image", "image": {"id": "257"}},
            id="image-as-uploaded",
        ),
        pytest.param({"type": "video", "id": 257}, {"type": "video", "video": {"id": "257"}}, id="video-native-int"),
        pytest.param(
            {"id": "257", "filename": "a.pdf", "type": "document"},
            {"type": "document", "document": {"id": "257", "filename": "a.pdf"}},
            id="document-keeps-its-name",
        ),
    ],
)
def test_headers(header: Any, parameter: dict[str, Any]) -> None:
    assert components(header=header) == [{"type": "header", "parameters": [parameter]}]


def test_body_in_order() -> None:
    assert components(body=["Ann", 3]) == [
        {"type": "body", "parameters": [{"type": "text", "text": "Ann"}, {"type": "text", "text": "3"}]}
    ]


def test_body_by_name() -> None:
    assert components(body={"name": "Ann", "count": 3}) == [
        {
            "type": "body",
            "parameters": [
                {"type": "text", "parameter_name": "name", "text": "Ann"},
                {"type": "text", "parameter_name": "count", "text": "3"},
            ],
        }
    ]


def test_buttons_of_every_kind_take_their_place_in_the_list_as_index() -> None:
    buttons = [
        {"type": "url", "text": "A-1042"},
        {"type": "quick_reply", "payload": "STOP"},
        {"type": "copy_code", "coupon_code": "SUMMER26"},
        {"type": "flow", "flow_token": "t1", "flow_action_data": {"a": 1}},
        {"type": "catalog", "thumbnail_product_retailer_id": "sku-1"},
        {"type": "url", "text": "last", "index": 9},
    ]
    assert [(c["sub_type"], c["index"], c["parameters"]) for c in components(buttons=buttons)] == [
        ("url", 0, [{"type": "text", "text": "A-1042"}]),
        ("quick_reply", 1, [{"type": "payload", "payload": "STOP"}]),
        ("copy_code", 2, [{"type": "coupon_code", "coupon_code": "SUMMER26"}]),
        ("flow", 3, [{"type": "action", "action": {"flow_token": "t1", "flow_action_data": {"a": 1}}}]),
        ("catalog", 4, [{"type": "action", "action": {"thumbnail_product_retailer_id": "sku-1"}}]),
        ("url", 9, [{"type": "text", "text": "last"}]),
    ]


def test_an_authentication_code_stands_in_body_and_button() -> None:
    assert components(authentication_code=493871) == [
        {"type": "body", "parameters": [{"type": "text", "text": "493871"}]},
        {"type": "button", "sub_type": "url", "index": 0, "parameters": [{"type": "text", "text": "493871"}]},
    ]


@pytest.mark.parametrize(
    "component",
    [
        pytest.param({"type": "carousel", "cards": [{"card_index": 0, "components": []}]}, id="carousel"),
        pytest.param({"type": "limited_time_offer", "parameters": [{"anything": 1}]}, id="limited-time-offer"),
        pytest.param(
            {"type": "body", "parameters": [{"type": "currency", "currency": {"code": "EUR", "amount_1000": 9900}}]},
            id="currency",
        ),
        pytest.param(
            {"type": "header", "parameters": [{"type": "location", "location": {"latitude": "1"}}]}, id="location"
        ),
        pytest.param({"type": "button", "sub_type": "mpm", "index": 0, "parameters": []}, id="multi-product"),
    ],
)
def test_what_meta_documents_and_is_not_modelled_passes_unchanged(component: dict[str, Any]) -> None:
    assert components(components=[component]) == [component]


def test_a_raw_buttons_index_may_be_text_as_in_metas_examples() -> None:
    (button,) = components(components=[{"type": "button", "sub_type": "mpm", "index": "3", "parameters": []}])
    assert button["index"] == 3


@pytest.mark.parametrize(
    ("parts", "field", "problem"),
    [
        pytest.param({"name": ""}, "template", "is missing", id="no-name"),
        pytest.param({"name": None}, "template", "is missing", id="name-none"),
        pytest.param({"language": "  "}, "language", "is missing", id="no-language"),
        pytest.param(
            {"header": ["a", "b"]}, "header", "is a list of 2; a header takes exactly one", id="two-in-header"
        ),
        pytest.param({"header": ""}, "header.text", "is empty", id="empty-header"),
        pytest.param({"header": "x" * 61}, "header.text", "at most 60", id="long-header"),
        pytest.param({"header": {"type": "image"}}, "header", "neither link nor id", id="no-source"),
        pytest.param(
            {"header": {"type": "image", "id": "1", "link": "https://a.example/x.png"}},
            "header",
            "both link and id",
            id="two-sources",
        ),
        pytest.param({"header": {"type": "audio", "id": "1"}}, "header", "no known type", id="audio"),
        pytest.param({"header": {"type": "image", "id": "1", "caption": "x"}}, "header", "unknown key", id="caption"),
        pytest.param({"header": {"type": "image", "link": "ftp://a.example/x"}}, "header.link", "pattern", id="ftp"),
        pytest.param({"body": "Ann"}, "body", "is of type str", id="body-is-text"),
        pytest.param({"body": ["Ann", ""]}, "body[1]", "is empty", id="empty-parameter"),
        pytest.param({"body": ["Ann", None]}, "body[1]", "is None", id="none-parameter"),
        pytest.param({"body": ["a\nb"]}, "body[0]", "a newline", id="newline"),
        pytest.param({"body": ["a\tb"]}, "body[0]", "a tab", id="tab"),
        pytest.param({"body": ["a     b"]}, "body[0]", "5 spaces", id="five-spaces"),
        pytest.param({"body": {"name": " "}}, "body.name", "is empty", id="empty-named"),
        pytest.param({"body": ["x" * 600, "y" * 600]}, "body", "1200 characters", id="body-too-long-together"),
        pytest.param({"buttons": [{"type": "urll", "text": "x"}]}, "buttons[0]", "did you mean 'url'", id="urll"),
        pytest.param({"buttons": [{"text": "x"}]}, "buttons[0]", "unknown button type", id="button-without-type"),
        pytest.param({"buttons": [{"type": "mpm"}]}, "buttons[0]", "raw component", id="passed-through-only"),
        pytest.param({"buttons": [{"type": "url", "text": ""}]}, "buttons[0].text", "is empty", id="empty-button"),
        pytest.param(
            {"buttons": [{"type": "copy_code", "coupon_code": "X" * 21}]},
            "buttons[0].coupon_code",
            "at most 20",
            id="long-coupon",
        ),
        pytest.param(
            {"buttons": [{"type": "quick_reply", "payload": "x" * 257}]},
            "buttons[0].payload",
            "at most 256",
            id="long-payload",
        ),
        pytest.param(
            {"buttons": [{"type": "url", "text": "a", "index": 1}, {"type": "url", "text": "b"}]},
            "template",
            "two buttons have the index 1",
            id="two-buttons-in-one-place",
        ),
        pytest.param({"buttons": [{"type": "url", "text": "a"}] * 11}, "template", "at most 10", id="11-buttons"),
        pytest.param({"components": [{"type": "bdoy"}]}, "components[0]", "did you mean 'body'", id="bdoy"),
        pytest.param({"components": [{"type": "footer"}]}, "components[0]", "static text", id="footer"),
        pytest.param({"components": ["body"]}, "components[0]", "is of type str", id="component-no-dict"),
        pytest.param(
            {"components": [{"type": "header", "parameters": [{"type": "text", "text": "a"}] * 2}]},
            "components[0]",
            "has 2 parameters",
            id="raw-header-with-two",
        ),
        pytest.param(
            {"components": [{"type": "header", "parameters": [{"type": "image", "image": {}}]}]},
            "components[0]",
            "neither link nor id",
            id="raw-header-without-source",
        ),
        pytest.param(
            {
                "components": [
                    {"type": "header", "parameters": [{"type": "image", "image": {"id": "1", "caption": "c"}}]}
                ]
            },
            "components[0]",
            "unknown key 'caption'",
            id="raw-caption",
        ),
        pytest.param(
            {"components": [{"type": "body", "parameters": [{"type": "txt", "text": "a"}]}]},
            "components[0]",
            "unknown parameter type 'txt'",
            id="raw-unknown-parameter",
        ),
        pytest.param(
            {"components": [{"type": "body", "parameters": [{"type": "text", "text": "a\nb"}]}]},
            "components[0]",
            "a newline",
            id="raw-newline",
        ),
        pytest.param(
            {
                "components": [
                    {
                        "type": "body",
                        "parameters": [
                            {"type": "text", "text": "a"},
                            {"type": "text", "text": "b", "parameter_name": "n"},
                        ],
                    }
                ]
            },
            "components[0]",
            "mixes named and positional",
            id="raw-mixed",
        ),
        pytest.param(
            {"components": [{"type": "button", "sub_type": "urk", "index": 0}]},
            "components[0]",
            "unknown button type 'urk'",
            id="raw-unknown-button",
        ),
        pytest.param(
            {"components": [{"type": "button", "sub_type": "url", "index": 10}]},
            "components[0]",
            "index",
            id="raw-index",
        ),
        pytest.param(
            {"body": ["a"], "components": [{"type": "body", "parameters": [{"type": "text", "text": "b"}]}]},
            "template",
            "two body components",
            id="body-twice",
        ),
        pytest.param(
            {"authentication_code": "1", "body": ["x"]}, "template", "fills body and button", id="code-and-body"
        ),
        pytest.param({"authentication_code": "9" * 16}, "authentication_code", "at most 15", id="long-code"),
        pytest.param({"colour": "red"}, "template", "unknown key 'colour'", id="unknown-field"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(parts: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        entry(parts)
    assert caught.value.field.startswith(field)


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidInput) as caught:
        entry({"authentication_code": "secret\n49"})
    assert "secret" not in str(caught.value)


def test_object_data_goes_beside_the_template_exactly_so_cased_and_without_nulls() -> None:
    found = entry(
        {},
        object_data={
            "createChildObject": True,
            "SubStreamId": "3",
            "StatusId": 1,
            "ManagerId": None,
            "Content": {"order": "A-1042", "note": None},
            "User": {"Phone1": 447700900123, "FirstName": "Ann", "Email": None},
        },
    )
    assert found["object_data"] == {
        "createChildObject": True,
        "SubStreamId": 3,
        "StatusId": 1,
        "Content": {"order": "A-1042"},
        "User": {"Phone1": "447700900123", "FirstName": "Ann"},
    }
    assert "object_data" not in found["template_data"]


@pytest.mark.parametrize(
    ("object_data", "field", "problem"),
    [
        pytest.param({"SubstreamId": 1}, "object_data", "did you mean 'SubStreamId'", id="wrong-case"),
        pytest.param({"Colour": 1}, "object_data", "unknown key 'Colour'", id="unknown"),
        pytest.param({"User": {"FirstName": "Ann"}}, "object_data.User.Phone1", "is missing", id="user-without-phone"),
        pytest.param({"StatusId": True}, "object_data.StatusId", "is a bool", id="bool-for-int"),
        pytest.param({"StatusId": "open"}, "object_data.StatusId", "no whole number", id="text-for-int"),
    ],
)
def test_object_data_with_a_slip_is_refused(object_data: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        entry({}, object_data=object_data)
    assert caught.value.field == field


def test_a_schedule_stands_beside_the_template() -> None:
    assert entry({}, schedule="2030-06-01T12:00:00Z")["schedule"] == 1906545600
    assert "schedule" not in entry({})


@pytest.mark.parametrize(
    ("name", "language", "remarks"),
    [
        pytest.param("order_update", "en", 0, id="usual"),
        pytest.param("Order update", "en", 1, id="friendly-name"),
        pytest.param("order_update", "en-US", 1, id="dash"),
        pytest.param("order_update", "en_us", 1, id="lower-case"),
        pytest.param("order_update", "xx_YY", 0, id="unknown-language"),
    ],
)
def test_unusual_names_are_remarked_on_and_not_blocked(name: str, language: str, remarks: int) -> None:
    message = Message.build("+447700900123", {"name": name, "language": language})
    assert len(message.template.advice()) == remarks


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        pytest.param({}, ["Ann", 'a "quoted" €5'], id="in-order"),
        pytest.param({}, {"first": "Ann", "order": "A-1"}, id="by-name"),
        pytest.param({"header": "Hello", "buttons": [{"type": "url", "text": "x"}]}, ["Ann"], id="among-others"),
        pytest.param(
            {
                "components": [
                    {
                        "type": "carousel",
                        "cards": [{"components": [{"type": "body", "parameters": [{"type": "text", "text": "x"}]}]}],
                    }
                ]
            },
            ["Ann"],
            id="beside-a-body-in-a-card",
        ),
    ],
)
def test_another_body_makes_the_template_that_it_would_make_anew(rest: dict[str, Any], body: Any) -> None:
    fields = {"name": "order_update", "language": "en", **rest}
    stand_in = dict.fromkeys(body, "x") if isinstance(body, dict) else ["x"] * len(body)
    anew = Template(**{**fields, "body": body})
    changed = Template(**{**fields, "body": stand_in}).with_body(body)
    assert changed.wire_text == anew.wire_text
    assert changed.wire_components() == anew.wire_components()
    with pytest.raises(ValueError, match="newline"):
        changed.with_body({"first": "a\nb"} if isinstance(body, dict) else ["a\nb"])
