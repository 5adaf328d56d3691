"""
What a template is: its components, texts with placeholders, buttons; as Meta's Graph API takes and returns it.

Shapes are checked here, limits in :mod:`~airflow_provider_cirrus.templates.lint`. Types are compared without case. A
component or button of a kind that is not modelled is kept as it is, as :class:`Other`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import explain
from airflow_provider_cirrus.api.text import closest

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
# Of a template that Meta has: known, and of no use here.
_ALSO = (
    "id",
    "status",
    "quality_score",
    "rejected_reason",
    "sub_category",
    "previous_category",
    "correct_category",
    "message_send_ttl_seconds",
    "allow_category_change",
    "library_template_name",
    "cta_url_link_tracking_opted_out",
    "degrees_of_freedom_spec",
    "bid_spec",
    "creative_sourcing_spec",
    "display_format",
)


class Category(StrEnum):
    """What a template is for; Meta's price and consent go by it."""

    MARKETING = "MARKETING"
    UTILITY = "UTILITY"
    AUTHENTICATION = "AUTHENTICATION"


def placeholders(text: str) -> list[str]:
    """Return the names between ``{{`` and ``}}``, in order."""
    return _PLACEHOLDER.findall(text)


def static_text(text: str) -> str:
    """Return a text without its placeholders."""
    return _PLACEHOLDER.sub("", text)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with values in place of its placeholders; those without a value stay."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


class _Shape(BaseModel):
    """Base: what is unknown is kept, as Meta adds keys; nothing changes once it is read."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class Header(_Shape):
    """A header: a text with one placeholder at most, or media."""

    type: Literal["HEADER"]
    format: Annotated[
        Literal["TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION", "PRODUCT", "GIF"], BeforeValidator(_upper)
    ]
    text: str = ""
    example: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _has_text(self) -> Header:
        if self.format == "TEXT" and not self.text:
            raise ValueError("is a text header without a text.")
        return self


class Body(_Shape):
    """The text of a message; WhatsApp's own in an authentication template."""

    type: Literal["BODY"]
    text: str = ""
    add_security_recommendation: bool = False
    example: Mapping[str, Any] | None = None


class Footer(_Shape):
    """The small print; how long a code is good for, in an authentication template."""

    type: Literal["FOOTER"]
    text: str = ""
    code_expiration_minutes: int | None = None


class Button(_Shape):
    """
    A button.

    :ivar type: such as ``URL`` or ``QUICK_REPLY``; others than those known here are passed through
    :ivar text: its label
    :ivar url: with one placeholder at its end, or none
    """

    type: Annotated[str, BeforeValidator(_upper)]
    text: str = ""
    url: str = ""
    phone_number: str = ""
    otp_type: Annotated[str, BeforeValidator(_upper)] = ""
    example: Any = None


class Buttons(_Shape):
    """The buttons of a message, in order."""

    type: Literal["BUTTONS"]
    buttons: tuple[Button, ...]


class Offer(_Shape):
    """What a limited-time offer says above its code."""

    text: str
    has_expiration: bool = False


class LimitedTimeOffer(_Shape):
    """A limited-time offer."""

    type: Literal["LIMITED_TIME_OFFER"]
    limited_time_offer: Offer


_MODELLED = ("HEADER", "BODY", "FOOTER", "BUTTONS", "CAROUSEL", "LIMITED_TIME_OFFER")


class Other(_Shape):
    """A component of a kind that is not modelled: passed through, and not checked."""

    type: Annotated[str, Field(json_schema_extra={"not": {"enum": list(_MODELLED)}})]


class Card(_Shape):
    """A card of a carousel: a header, a text, buttons."""

    components: tuple[CardComponent, ...]

    @cached_property
    def parts(self) -> Parts:
        """The components by kind."""
        return Parts(self.components)


class Carousel(_Shape):
    """Cards side by side."""

    type: Literal["CAROUSEL"]
    cards: tuple[Card, ...]


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return kind.upper() if isinstance(kind, str) and kind.upper() in _MODELLED else "OTHER"


def _upper_type(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return {**value, "type": value["type"].upper()}
    return value


CardComponent: TypeAlias = Annotated[
    Annotated[Header, Tag("HEADER")]
    | Annotated[Body, Tag("BODY")]
    | Annotated[Footer, Tag("FOOTER")]
    | Annotated[Buttons, Tag("BUTTONS")]
    | Annotated[LimitedTimeOffer, Tag("LIMITED_TIME_OFFER")]
    | Annotated[Other, Tag("CAROUSEL")]
    | Annotated[Other, Tag("OTHER")],
    Discriminator(_kind),
    BeforeValidator(_upper_type),
]
Component: TypeAlias = Annotated[
    Annotated[Header, Tag("HEADER")]
    | Annotated[Body, Tag("BODY")]
    | Annotated[Footer, Tag("FOOTER")]
    | Annotated[Buttons, Tag("BUTTONS")]
    | Annotated[Carousel, Tag("CAROUSEL")]
    | Annotated[LimitedTimeOffer, Tag("LIMITED_TIME_OFFER")]
    | Annotated[Other, Tag("OTHER")],
    Discriminator(_kind),
    BeforeValidator(_upper_type),
]


class Parts:
    """The components of a template, or of a card, by kind."""

    def __init__(self, components: tuple[Any, ...]) -> None:
        self.header: Header | None = None
        self.body: Body | None = None
        self.footer: Footer | None = None
        self.buttons: tuple[Button, ...] = ()
        self.carousel: Carousel | None = None
        self.offer: Offer | None = None
        self.others: list[Other] = []
        for one in components:
            match one:
                case Header():
                    self.header = one
                case Body():
                    self.body = one
                case Footer():
                    self.footer = one
                case Buttons():
                    self.buttons = one.buttons
                case Carousel():
                    self.carousel = one
                case LimitedTimeOffer():
                    self.offer = one.limited_time_offer
                case Other():
                    self.others.append(one)


class Definition(_Shape):
    """
    A template in one language.

    :ivar name: as messages name it
    :ivar language: its code, such as ``en`` or ``pt_BR``
    :ivar category: what it is for
    :ivar parameter_format: whether placeholders are numbered or named
    :ivar components: what it consists of
    """

    name: str = Field(min_length=1, max_length=512)
    language: str = Field(min_length=2)
    category: Annotated[Category, BeforeValidator(_upper)]
    parameter_format: Annotated[Literal["POSITIONAL", "NAMED"], BeforeValidator(_upper)] = "POSITIONAL"
    components: tuple[Component, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = list(cls.model_fields)
        for key in value:
            if key not in known and key not in _ALSO and (meant := closest(str(key), [*known, *_ALSO])):
                raise ValueError(f"has the unknown key {key!r}; did you mean {meant!r}?")
        return value

    @field_validator("language", mode="before")
    @classmethod
    def _code(cls, value: Any) -> Any:
        # Meta's own examples have it both ways.
        return value.get("code") if isinstance(value, Mapping) else value

    @field_validator("components", mode="after")
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        kinds = [one.type for one in value]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"holds {', '.join(twice)} twice.")
        return value

    @cached_property
    def parts(self) -> Parts:
        """The components by kind."""
        return Parts(self.components)

    @property
    def is_named(self) -> bool:
        """Whether its placeholders are names."""
        return self.parameter_format == "NAMED"

    def texts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield its own texts and where they stand: not those of cards."""
        for at, one in enumerate(self.components):
            if isinstance(one, Header | Body | Footer):
                yield ("components", at, "text"), one.text


def read_definition(value: Any) -> Definition:
    """
    Return the definition that a mapping stands for.

    :param value: such as a file of JSON holds
    :raises InvalidInput: names the field that is wrong
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("template", f"is of type {type(value).__name__}, not an object with name and components.")
    try:
        return Definition.model_validate(dict(value))
    except ValidationError as error:
        raise explain(error, "template") from None
