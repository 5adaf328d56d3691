"""Definitions that the tests share: invented, and right in themselves."""

from __future__ import annotations

import copy
from typing import Any

ORDER: dict[str, Any] = {
    "name": "order_update",
    "language": "en",
    "category": "UTILITY",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Order {{1}}", "example": {"header_text": ["A-17"]}},
        {
            "type": "BODY",
            "text": "Hello {{1}}, the bicycle that you ordered at our shop arrives on {{2}} in the {{3}} hours.",
            "example": {"body_text": [["Ann", "Friday", "morning"]]},
        },
        {"type": "FOOTER", "text": "Two Wheels, Bristol"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "QUICK_REPLY", "text": "Thank you"},
                {"type": "URL", "text": "Follow it", "url": "https://wheels.example/follow/{{1}}", "example": ["A-17"]},
                {"type": "PHONE_NUMBER", "text": "Call us", "phone_number": "+441174960123"},
            ],
        },
    ],
}
NAMED: dict[str, Any] = {
    "name": "order_update",
    "language": "pt_BR",
    "category": "utility",
    "parameter_format": "named",
    "components": [{"type": "body", "text": "Ola {{name}}, o pedido {{order}} chega na sexta de manha, ate logo."}],
}
PICTURE: dict[str, Any] = {
    "name": "new_bicycle",
    "language": "en",
    "category": "MARKETING",
    "components": [
        {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}},
        {"type": "BODY", "text": "The new one is here."},
        {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "example": "RIDE10"}]},
    ],
}
CODE: dict[str, Any] = {
    "name": "sign_in",
    "language": "en",
    "category": "AUTHENTICATION",
    "components": [
        {"type": "BODY", "add_security_recommendation": True},
        {"type": "FOOTER", "code_expiration_minutes": 10},
        {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy"}]},
    ],
}


def card(text: str = "A light one for the city.") -> dict[str, Any]:
    return {
        "components": [
            {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}},
            {"type": "BODY", "text": text},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "This one"}]},
        ]
    }


CAROUSEL: dict[str, Any] = {
    "name": "three_bicycles",
    "language": "en",
    "category": "MARKETING",
    "components": [
        {"type": "BODY", "text": "Have a look at these."},
        {"type": "CAROUSEL", "cards": [card(), card("A stout one for the hills.")]},
    ],
}
OFFER: dict[str, Any] = {
    "name": "weekend",
    "language": "en",
    "category": "MARKETING",
    "components": [
        {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Only till Sunday", "has_expiration": True}},
        {"type": "BODY", "text": "All bells are half the price."},
        {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "example": "BELL50"}]},
    ],
}
ALL = {"order": ORDER, "named": NAMED, "picture": PICTURE, "code": CODE, "carousel": CAROUSEL, "offer": OFFER}


def changed(definition: dict[str, Any], path: list[str | int], value: Any) -> dict[str, Any]:
    """A definition with another value in one place; where the value is None, without it."""
    made = copy.deepcopy(definition)
    inner: Any = made
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made
