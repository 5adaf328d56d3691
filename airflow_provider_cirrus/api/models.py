"""
What goes out: templates filled in, messages, and the data of the conversation that they open.

Everything here is checked when it is made, so that a message that exists can be sent. Errors name the
field as the user wrote it. Facts: cirrus-api, "Send"; limits are Meta's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from json import JSONEncoder
from json.encoder import encode_basestring
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from airflow_provider_cirrus.api import components as raw
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import to_digits
from airflow_provider_cirrus.api.schedule import to_unix
from airflow_provider_cirrus.api.template_parts import (
    BUTTON_TYPES,
    BodyText,
    Button,
    Header,
    Identifier,
    Part,
    UrlButton,
    unknown,
    with_lower_type,
)
from airflow_provider_cirrus.api.text import AUTHENTICATION_CODE_LIMIT, BODY_LIMIT, as_text, check_text
from airflow_provider_cirrus.api.values import json_ready, plain

Model = TypeVar("Model", bound=Part)

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{2}))?")


# Sorted, as the text of a template is also what a message's key in the ledger is made of.
_to_json = JSONEncoder(ensure_ascii=False, sort_keys=True).encode


def _not_bool(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, bool):
        raise ValueError("is a bool, not a whole number.")
    return value


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


def _content(value: Any) -> Any:
    return json_ready(_without_none(value))


Whole = Annotated[int, BeforeValidator(_not_bool)]
RawComponent = Annotated[dict[str, Any], BeforeValidator(raw.check_component)]


Body = Annotated[
    Annotated[list[BodyText], Tag("in_order")] | Annotated[dict[str, BodyText], Tag("by_name")],
    Discriminator(lambda value: "by_name" if isinstance(value, Mapping) else "in_order"),
]


_NAMED = {
    "name": ("template", "the name of the template that the Cirrus console shows"),
    "language": ("language", "the code of its language, such as 'en' or 'pt_BR'"),
}


class Template(Part):
    """
    A template, filled in for one recipient.

    :param name: as the console shows it
    :param language: such as ``en`` or ``pt_BR``
    :param header: a text, or a dict with ``type`` and ``link`` or ``id``
    :param body: the parameters: a list in order, or a dict by name
    :param buttons: dicts with ``type`` and what that type takes; see :mod:`~airflow_provider_cirrus.api.template_parts`
    :param components: raw components for what Meta documents and the others do not cover
    :param authentication_code: the code of an authentication template, at most 15 characters; it fills body
        and button and goes alone
    :raises InvalidInput: by :func:`build`
    """

    name: str
    language: str
    header: Header | None = None
    body: Body = Field(default_factory=list)
    buttons: list[Button] = Field(default_factory=list)
    components: list[RawComponent] = Field(default_factory=list)
    authentication_code: str | None = None

    @field_validator("name", "language", mode="before")
    @classmethod
    def _named(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            argument, what = _NAMED[info.field_name or "name"]
            raise ValueError(
                f"is missing: write {what}, as {argument}=…, in each message, or in a column: "
                f"columns={{{argument!r}: …}}."
            )
        return value.strip() if isinstance(value, str) else value

    @field_validator("body", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, list | tuple | Mapping):
            raise ValueError(
                f"is of type {type(value).__name__}; give a list of parameters in order, or a dict by name."
            )
        return dict(value) if isinstance(value, Mapping) else list(value)

    @field_validator("body")
    @classmethod
    def _fits(cls, value: list[str] | dict[str, str]) -> list[str] | dict[str, str]:
        named = isinstance(value, dict)
        raw.check_body(list(value.values()) if isinstance(value, dict) else value, [named] * len(value))
        return value

    @field_validator("header", mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return with_lower_type(value)

    @field_validator("buttons", "components", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [with_lower_type(one) for one in value]
        return [] if value is None else value

    @field_validator("authentication_code", mode="before")
    @classmethod
    def _code(cls, value: Any) -> Any:
        return None if value is None else check_text(as_text(value), AUTHENTICATION_CODE_LIMIT)

    @model_validator(mode="after")
    def _together(self) -> Template:
        if self.authentication_code and (self.header or self.body or self.buttons):
            raise ValueError("authentication_code fills body and button itself; leave header, body and buttons out.")
        raw.check_together(self.wire_components())
        return self

    def wire_components(self) -> list[dict[str, Any]]:
        """Return the components as they go on the wire; empty where the template takes no parameter."""
        body, buttons = self.body, self.buttons
        if self.authentication_code:
            # Meta: an authentication template repeats its code in the body and in a url button at 0.
            body, buttons = [self.authentication_code], [UrlButton(type="url", text=self.authentication_code)]
        found: list[dict[str, Any]] = []
        if self.header:
            found.append({"type": "header", "parameters": [self.header.parameter()]})
        if body:
            found.append({"type": "body", "parameters": _body_parameters(body)})
        found += [button.component(place) for place, button in enumerate(buttons)]
        return found + self.components

    @cached_property
    def wire_text(self) -> str:
        """The template as it stands in a request, as JSON with sorted keys; made once."""
        language = {"code": self.language}
        return _to_json({"name": self.name, "language": language, "components": self.wire_components()})

    def with_body(self, values: Sequence[Any] | Mapping[str, Any]) -> Template:
        """
        Return the same template with other values in its body: a twentieth of the cost of making it anew.

        :param values: as many, or of the same names, as this one has: nothing else is checked again
        :raises ValueError: WhatsApp does not take one of them; making the template anew says which
        """
        before, after = self._around_body
        # Asked of the type first: whether something is a Mapping takes as long to find out as to write a parameter.
        if type(values) is not list and isinstance(values, Mapping):
            named = {name: check_text(as_text(value), BODY_LIMIT) for name, value in values.items()}
            raw.check_body(list(named.values()), [])
            filled = _to_json(_body_parameters(named))
            return self._changed(body=named, wire_text=before + filled + after)
        texts = [check_text(as_text(value), BODY_LIMIT) for value in values]
        # Spelt out: the encoder takes three times as long with a dict for each.
        filled = ", ".join([f'{{"text": {encode_basestring(text)}, "type": "text"}}' for text in texts])
        if len(filled) > BODY_LIMIT:
            raw.check_body(texts, [])
        return self._changed(body=texts, wire_text=f"{before}[{filled}]{after}")

    @cached_property
    def _around_body(self) -> tuple[str, str]:
        """What stands before and after the body's parameters in :attr:`wire_text`."""
        own = _to_json(_body_parameters(self.body))
        # The first is it: of what stands before, the header, nothing can look like a component.
        before, _, after = self.wire_text.partition(f'{{"parameters": {own}, "type": "body"}}')
        return f'{before}{{"parameters": ', f', "type": "body"}}{after}'

    def advice(self) -> list[str]:
        """Return remarks on what is unusual but may be right: the vendor takes more than Meta documents."""
        remarks = []
        if not re.fullmatch(r"[a-z0-9_]{1,512}", self.name):
            remarks.append(
                f"template: {self.name!r} is no name at Meta (lower-case letters, digits, underscores); "
                "if Cirrus does not find it, use the name that WhatsApp Manager shows."
            )
        if found := _LANGUAGE.fullmatch(self.language):
            usual = found[1].lower() + (f"_{found[2].upper()}" if found[2] else "")
            if usual != self.language:
                remarks.append(f"language: {self.language!r} is usually written {usual!r}; codes are case-sensitive.")
        return remarks


def _body_parameters(body: Sequence[str] | Mapping[str, str]) -> list[dict[str, str]]:
    if isinstance(body, Mapping):
        return [{"type": "text", "parameter_name": name, "text": value} for name, value in body.items()]
    return [{"type": "text", "text": value} for value in body]


class User(Part):
    """The customer of a conversation, as Cirrus keeps them."""

    unique_id: Identifier | None = Field(default=None, alias="UniqueId")
    last_name: str | None = Field(default=None, alias="LastName")
    first_name: str | None = Field(default=None, alias="FirstName")
    phone1: Identifier = Field(alias="Phone1")
    email: str | None = Field(default=None, alias="Email")
    remarks: str | None = Field(default=None, alias="Remarks")


class ObjectData(Part):
    """
    The conversation (in Cirrus: object) that a message opens; keys exactly as Cirrus writes them.

    ``StatusId``: Open 1, Resolved 2, Forward 3, Irrelevant 4, Deleted 5, Forward Reply 6, Draft 7, In Process 8,
    Scheduled 9, Follow Up 10, Automated 11, Sent 13, Archive 14, Pending 15. ``SubStreamId``: the sub-channel,
    0 for none. ``streamId``: the plain, not the encrypted, id. What is not given is not sent.
    """

    create_child_object: bool | None = Field(default=None, alias="createChildObject")
    stream_id: Whole | None = Field(default=None, alias="streamId")
    sub_stream_id: Whole | None = Field(default=None, alias="SubStreamId", ge=0)
    status_id: Whole | None = Field(default=None, alias="StatusId", ge=1)
    manager_id: Whole | None = Field(default=None, alias="ManagerId")
    content: Annotated[dict[str, Any], BeforeValidator(_content)] | None = Field(default=None, alias="Content")
    user: User | None = Field(default=None, alias="User")

    @cached_property
    def wire_text(self) -> str:
        """It as it stands in a request, as JSON: without what was not given, never with a null."""
        return _to_json(self.model_dump(by_alias=True, exclude_none=True))


class Message(Part):
    """
    One template to one recipient.

    :param to: the recipient's number, in any of the ways that :func:`~.phone.to_digits` reads
    :param template: what is sent
    :param schedule: when it is to leave (aware datetime, ISO text with zone, Unix seconds); None: at once
    :param object_data: the conversation that it opens
    :param message_key: the user's own name for this message, such as an order number; it tells apart
        messages that are otherwise the same
    :param row_context: what is known of the recipient and is never sent: what the rules of a delivery go by
    """

    to: Annotated[str, BeforeValidator(to_digits)]
    template: Template
    schedule: Annotated[int, BeforeValidator(to_unix)] | None = None
    object_data: ObjectData | None = None
    message_key: Identifier | None = None
    row_context: Mapping[str, Any] = Field(default_factory=dict, exclude=True, repr=False)

    @classmethod
    def build(cls, to: Any, template: Template | Mapping[str, Any], **rest: Any) -> Message:
        """
        Return a message from what a user wrote.

        :param to: the recipient
        :param template: a :class:`Template`, or its fields
        :param rest: ``schedule``, ``object_data``, ``message_key``, ``row_context``
        :raises InvalidInput: names the first field that is wrong
        """
        if not isinstance(template, Template):
            template = build(Template, template)
        return build(cls, {"to": to, "template": template, **rest})

    def to_another(self, to: str, template: Template, **rest: Any) -> Message:
        """
        Return the same message to another recipient: a tenth of the cost of making it anew, and nothing is checked.

        :param to: digits, as :func:`~.phone.to_digits` returns them
        :param template: takes the place of the template
        :param rest: ``schedule`` in Unix seconds, ``message_key``, ``row_context``
        """
        return self._changed(to=to, template=template, **rest)

    def at(self, schedule: int) -> Message:
        """
        Return the same message for another time.

        :param schedule: Unix seconds
        """
        return self._changed(schedule=schedule)


def build(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """
    Make a model of what a user wrote.

    :raises InvalidInput: where pydantic would raise its ValidationError, which shows the values
    """
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise explain(error, model.__name__.lower()) from None


def explain(error: ValidationError, root: str) -> InvalidInput:
    """Return our error for pydantic's: the field in the user's words, and never the value."""
    problems = []
    for found in error.errors(include_url=False):
        place = _place(found["loc"])
        problems.append((place, _problem(found)))
    place, problem = problems[0]
    more = [f"{other}: {why}" for other, why in problems[1:4]]
    return InvalidInput(place or root, " Also ".join([problem, *more]))


def _place(loc: tuple[int | str, ...]) -> str:
    # pydantic puts the name of a union's member into the place; users never wrote it.
    place = ""
    previous: int | str = ""
    for step in loc:
        member = step in ("text", "media") and previous == "header"
        member = member or (isinstance(previous, int) and step in BUTTON_TYPES)
        member = member or (previous == "body" and step in ("in_order", "by_name"))
        if not member:
            place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
        previous = step
    # The name of a template is what users give as `template`.
    return "template" if place == "name" else place


def _problem(found: Mapping[str, Any]) -> str:
    context = found.get("ctx", {})
    match found["type"]:
        case "value_error":
            inner = context["error"]
            return f"{inner.problem} {inner.hint}".rstrip() if isinstance(inner, InvalidInput) else str(inner)
        case "header_type":
            return str(found["msg"])
        case "missing":
            return "is missing."
        case "list_type" | "dict_type" | "string_type" | "int_type" | "model_type" | "model_attributes_type" as kind:
            # Of the value only what it is, never itself.
            wanted = {"list": "a list", "string": "a text", "int": "a whole number"}.get(kind.split("_")[0], "a dict")
            return f"is of type {type(found.get('input')).__name__}, not {wanted}."
        case "int_parsing" | "int_from_float":
            return "is no whole number."
        case "union_tag_invalid" | "union_tag_not_found":
            tag = str(context.get("tag"))
            if tag in BUTTON_TYPES:
                return f"{tag!r} is a button that is passed through only: give it as a raw component."
            return unknown("button type", tag, ("url", "quick_reply", "copy_code", "flow", "catalog"))
        case _:
            return f"is not right: {str(found['msg']).rstrip('.')}."
