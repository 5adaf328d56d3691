"""Rules for the components of a template, as far as their shape is documented."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_cirrus.sandbox.shapes import a_list, a_text, an_integer, an_object, keys
from airflow_provider_cirrus.sandbox.strict_json import BodyError

MEDIA_TYPES = ("image", "video", "document")

# Documented by Meta, shape not described here: passed on as they are.
UNCHECKED_COMPONENTS = frozenset(
    {"carousel", "limited_time_offer", "order_details", "order_status", "call_permission_request"}
)
UNCHECKED_PARAMETERS = frozenset(
    {"currency", "date_time", "location", "product", "gif", "action", "limited_time_offer", "order_status"}
)
UNCHECKED_BUTTONS = frozenset({"flow", "catalog", "mpm", "spm", "order_details", "voice_call", "request_contact_info"})

HEADER_LENGTH = 60
BODY_LENGTH = 1024
URL_SUFFIX_LENGTH = 2000
PAYLOAD_LENGTH = 256
COUPON_LENGTH = 15
MOST_BUTTONS = 10

# sub_type -> (parameter type, longest value); the value's key is named like the parameter type.
BUTTON_PARAMETERS = {
    "url": ("text", URL_SUFFIX_LENGTH),
    "quick_reply": ("payload", PAYLOAD_LENGTH),
    "copy_code": ("coupon_code", COUPON_LENGTH),
}


def check_components(value: Any, place: str) -> None:
    """
    Check the ``components`` list of one template.

    :raises BodyError: a rule is broken; the text names the place.
    """
    seen: set[str] = set()
    indexes: set[int] = set()
    for number, item in enumerate(a_list(value, place)):
        here = f"{place}[{number}]"
        component = an_object(item, here)
        kind = component.get("type")
        if kind == "header":
            _once(seen, "header", here)
            _check_header(component, here)
        elif kind == "body":
            _once(seen, "body", here)
            _check_body(component, here)
        elif kind == "button":
            _check_button(component, here, indexes)
        elif kind == "footer":
            raise BodyError(here, "a footer is static text and is never sent")
        elif kind not in UNCHECKED_COMPONENTS:
            raise BodyError(f"{here}.type", f"unknown component type {kind!r}")


def media_of(components: list[Any]) -> tuple[str, str] | None:
    """
    Return kind and ID of the uploaded media in the header, if there is one.

    :param components: a list that :func:`check_components` has passed.
    """
    for component in components:
        if component["type"] == "header":
            parameter = component["parameters"][0]
            kind = parameter["type"]
            if kind in MEDIA_TYPES and "id" in parameter[kind]:
                return kind, parameter[kind]["id"]
    return None


def _once(seen: set[str], kind: str, place: str) -> None:
    if kind in seen:
        raise BodyError(place, f"a second {kind} component")
    seen.add(kind)


def _check_header(component: dict[str, Any], place: str) -> None:
    keys(component, place, required=("type", "parameters"))
    parameters = a_list(component["parameters"], f"{place}.parameters")
    if len(parameters) != 1:
        raise BodyError(f"{place}.parameters", f"a header takes exactly one parameter, not {len(parameters)}")
    here = f"{place}.parameters[0]"
    parameter = an_object(parameters[0], here)
    kind = parameter.get("type")
    if kind == "text":
        keys(parameter, here, required=("type", "text"), optional=("parameter_name",))
        _check_text(parameter["text"], f"{here}.text", HEADER_LENGTH)
        if "parameter_name" in parameter:
            a_text(parameter["parameter_name"], f"{here}.parameter_name")
    elif kind in MEDIA_TYPES:
        keys(parameter, here, required=("type", kind))
        _check_media(an_object(parameter[kind], f"{here}.{kind}"), kind, f"{here}.{kind}")
    elif kind not in UNCHECKED_PARAMETERS:
        raise BodyError(f"{here}.type", f"unknown header parameter type {kind!r}")


def _check_media(media: dict[str, Any], kind: str, place: str) -> None:
    if "caption" in media:
        raise BodyError(place, "a template header takes no caption")
    if "filename" in media and kind != "document":
        raise BodyError(place, "filename is for documents only")
    keys(media, place, optional=("link", "id", "filename"))
    if ("link" in media) == ("id" in media):
        raise BodyError(place, "exactly one of link and id is needed")
    if "filename" in media:
        a_text(media["filename"], f"{place}.filename")
    if "id" in media:
        a_text(media["id"], f"{place}.id")
    elif not re.fullmatch(r"https?://[^\s/]+\S*", a_text(media["link"], f"{place}.link")):
        raise BodyError(f"{place}.link", "must be an http(s) URL")


def _check_body(component: dict[str, Any], place: str) -> None:
    keys(component, place, required=("type", "parameters"))
    parameters = a_list(component["parameters"], f"{place}.parameters")
    if not parameters:
        raise BodyError(f"{place}.parameters", "is empty; leave the component out")
    names: list[str] = []
    length = 0
    for number, item in enumerate(parameters):
        here = f"{place}.parameters[{number}]"
        parameter = an_object(item, here)
        if "parameter_name" in parameter:
            names.append(a_text(parameter["parameter_name"], f"{here}.parameter_name"))
        kind = parameter.get("type")
        if kind == "text":
            keys(parameter, here, required=("type", "text"), optional=("parameter_name",))
            length += len(_check_text(parameter["text"], f"{here}.text", BODY_LENGTH))
        elif kind not in UNCHECKED_PARAMETERS:
            raise BodyError(f"{here}.type", f"unknown body parameter type {kind!r}")
    if names and len(names) != len(parameters):
        raise BodyError(f"{place}.parameters", "named and positional parameters are mixed")
    if len(set(names)) != len(names):
        raise BodyError(f"{place}.parameters", "a parameter_name stands twice")
    # The template's own text is not known here; the parameters alone already break the limit.
    if length > BODY_LENGTH:
        raise BodyError(f"{place}.parameters", f"{length} characters together, at most {BODY_LENGTH}")


def _check_button(component: dict[str, Any], place: str, indexes: set[int]) -> None:
    keys(component, place, required=("type", "sub_type", "index"), optional=("parameters",))
    index = an_integer(component["index"], f"{place}.index")
    if not 0 <= index < MOST_BUTTONS:
        raise BodyError(f"{place}.index", f"must be 0 to {MOST_BUTTONS - 1}: a template has at most 10 buttons")
    if index in indexes:
        raise BodyError(f"{place}.index", f"a second button with index {index}")
    indexes.add(index)
    sub_type = component["sub_type"]
    if sub_type in UNCHECKED_BUTTONS:
        return
    if not isinstance(sub_type, str) or sub_type not in BUTTON_PARAMETERS:
        raise BodyError(f"{place}.sub_type", f"unknown button sub_type {sub_type!r}")
    kind, longest = BUTTON_PARAMETERS[sub_type]
    keys(component, place, required=("type", "sub_type", "index", "parameters"))
    parameters = a_list(component["parameters"], f"{place}.parameters")
    if len(parameters) != 1:
        raise BodyError(f"{place}.parameters", f"a {sub_type} button takes exactly one parameter")
    here = f"{place}.parameters[0]"
    parameter = an_object(parameters[0], here)
    keys(parameter, here, required=("type", kind))
    if parameter["type"] != kind:
        raise BodyError(f"{here}.type", f"a {sub_type} button takes {kind!r}, not {parameter['type']!r}")
    _check_text(parameter[kind], f"{here}.{kind}", longest)


def _check_text(value: Any, place: str, longest: int) -> str:
    text = a_text(value, place)
    if re.search(r"[\n\r\t]", text):
        raise BodyError(place, "must not hold a newline or a tab (132018)")
    if " " * 5 in text:
        raise BodyError(place, "must not hold more than 4 spaces in a row (132018)")
    if len(text) > longest:
        raise BodyError(place, f"{len(text)} characters, at most {longest}")
    return text
