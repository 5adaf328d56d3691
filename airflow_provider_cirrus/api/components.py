"""
Raw components: Meta's own JSON, checked as far as it is known here and then passed through unchanged.

Raw components are how parts leave that this provider does not model (carousels, limited-time offers,
currencies, locations …). A type that Meta documents passes; one that nobody documents is a slip of the pen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_cirrus.api import text
from airflow_provider_cirrus.api.template_parts import (
    BUTTON_TYPES,
    COMPONENT_TYPES,
    MAX_BUTTONS,
    PARAMETER_TYPES,
    unknown,
    with_lower_type,
)
from airflow_provider_cirrus.api.values import json_ready

_MEDIA = ("image", "video", "document")
_TEXT_LIMITS = {"header": text.HEADER_LIMIT, "body": text.BODY_LIMIT, "button": text.URL_SUFFIX_LIMIT}
_OTHER_LIMITS = {"payload": text.PAYLOAD_LIMIT, "coupon_code": text.COUPON_LIMIT}


def check_component(component: Any) -> dict[str, Any]:
    """
    Return one raw component if WhatsApp could take it: unchanged, but for a button's index.

    Meta's own examples write the index as text, Cirrus documents a number; Meta writes some types in upper case, Cirrus
    all of them in lower case: they are compared without case, and leave as Cirrus documents them.

    :param component: a dict such as ``{"type": "body", "parameters": [{"type": "text", "text": "Ann"}]}``
    :raises ValueError: unknown type, or a part that Meta refuses
    """
    if not isinstance(component, Mapping):
        raise ValueError(f"is of type {type(component).__name__}; a component is a dict with a type.")
    found = _as_documented(component)
    kind = found.get("type")
    if kind == "footer":
        raise ValueError("is a footer, which is static text and never sent; leave it out.")
    if kind not in COMPONENT_TYPES:
        raise ValueError(unknown("component type", str(kind), COMPONENT_TYPES))
    if kind in _TEXT_LIMITS:
        parameters = found.get("parameters", [])
        if not isinstance(parameters, Sequence) or isinstance(parameters, str):
            raise ValueError("has parameters that are not a list.")
        for place, parameter in enumerate(parameters):
            try:
                _check_parameter(parameter, kind)
            except ValueError as error:
                raise ValueError(f"parameters[{place}] {error}") from None
        _check_shape(found, kind, parameters)
    return {**found, "index": int(found["index"])} if kind == "button" else found


def _as_documented(component: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component with its types in lower case, and those of its parameters and of a carousel's cards."""
    found: dict[str, Any] = with_lower_type(json_ready(component))
    if isinstance(sub_type := found.get("sub_type"), str):
        found["sub_type"] = sub_type.lower()
    if isinstance(parameters := found.get("parameters"), list):
        found["parameters"] = [with_lower_type(one) for one in parameters]
    if isinstance(cards := found.get("cards"), list):
        found["cards"] = [_card(card) for card in cards]
    return found


def _card(card: Any) -> Any:
    if not isinstance(card, Mapping) or not isinstance(inner := card.get("components"), list):
        return card
    return {**card, "components": [_as_documented(one) if isinstance(one, Mapping) else one for one in inner]}


def check_together(components: Sequence[Mapping[str, Any]]) -> None:
    """
    Check what only shows in all components of a message.

    :raises ValueError: two headers, two bodies, two buttons in one place, or too many buttons
    """
    for kind in ("header", "body"):
        if sum(component["type"] == kind for component in components) > 1:
            raise ValueError(f"there are two {kind} components; a message has at most one.")
    places = [component["index"] for component in components if component["type"] == "button"]
    if len(places) > MAX_BUTTONS:
        raise ValueError(f"there are {len(places)} buttons; a template has at most {MAX_BUTTONS}.")
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"two buttons have the index {place}.")


def check_body(texts: Sequence[str], named: Sequence[bool]) -> None:
    """
    Check the parameters of a body together.

    :param texts: their texts
    :param named: for each, whether it has a ``parameter_name``
    :raises ValueError: named and positional ones mixed, or longer together than a body may be
    """
    if any(named) and not all(named):
        raise ValueError("mixes named and positional parameters; a template has one kind.")
    total = sum(map(len, texts))
    if total > text.BODY_LIMIT:
        raise ValueError(f"is {total} characters of parameters; a rendered body has at most {text.BODY_LIMIT}.")


def _check_shape(component: Mapping[str, Any], kind: str, parameters: Sequence[Mapping[str, Any]]) -> None:
    if kind == "header" and len(parameters) != 1:
        raise ValueError(f"has {len(parameters)} parameters; a header takes exactly one.")
    if kind == "body":
        texts = [parameter for parameter in parameters if parameter["type"] == "text"]
        check_body([p["text"] for p in texts], ["parameter_name" in p for p in texts])
    if kind == "button":
        sub_type = component.get("sub_type")
        if sub_type not in BUTTON_TYPES:
            raise ValueError(unknown("button type", str(sub_type), BUTTON_TYPES))
        index = component.get("index")
        if isinstance(index, bool) or not str(index).isdecimal() or int(str(index)) >= MAX_BUTTONS:
            raise ValueError(f"needs an index from 0 to {MAX_BUTTONS - 1}.")


def _check_parameter(parameter: Any, kind: str) -> None:
    if not isinstance(parameter, Mapping):
        raise ValueError(f"is of type {type(parameter).__name__}; a parameter is a dict with a type.")
    type_ = parameter.get("type")
    if type_ not in PARAMETER_TYPES:
        raise ValueError(unknown("parameter type", str(type_), PARAMETER_TYPES))
    if type_ == "text" or type_ in _OTHER_LIMITS:
        value = parameter.get(type_)
        if not isinstance(value, str):
            raise ValueError(f"needs {type_!r} as text, and has {type(value).__name__}.")
        text.check_text(value, _OTHER_LIMITS.get(type_, _TEXT_LIMITS[kind]))
    if type_ in _MEDIA:
        _check_media(parameter.get(type_), type_)


def _check_media(media: Any, type_: str) -> None:
    if not isinstance(media, Mapping):
        raise ValueError(f"needs {type_!r} as a dict with link or id.")
    allowed = ("link", "id", "filename") if type_ == "document" else ("link", "id")
    for key in media:
        if key not in allowed:
            raise ValueError(unknown("key", str(key), allowed))
    if bool(media.get("link")) == bool(media.get("id")):
        given = "both link and id" if media.get("link") else "neither link nor id"
        raise ValueError(f"has {given}; give exactly one of them.")
