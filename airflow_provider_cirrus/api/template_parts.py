"""
The parts of a template message, as users write them: headers, body parameters, buttons, raw components.

A header is a text or ``{"type": "image" | "video" | "document", "link" | "id": …, "filename": …}``; the result
of ``UploadMediaOperator`` is one as it stands. A button is ``{"type": "url", "text": …}``,
``{"type": "quick_reply", "payload": …}``, ``{"type": "copy_code", "coupon_code": …}``,
``{"type": "flow", "flow_token": …, "flow_action_data": {…}}`` or
``{"type": "catalog", "thumbnail_product_retailer_id": …}``, with ``index`` where it is not its place in the
list. What Meta documents and is not modelled here goes through ``components`` as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from airflow_provider_cirrus.api import text
from airflow_provider_cirrus.api.text import closest
from airflow_provider_cirrus.api.values import json_ready, plain

MAX_BUTTONS = 10

#: Components and parameters that Meta documents for sending; those not modelled pass through unchanged.
COMPONENT_TYPES = (
    "header",
    "body",
    "button",
    "carousel",
    "limited_time_offer",
    "order_status",
    "tap_target_configuration",
)
BUTTON_TYPES = (
    "url",
    "quick_reply",
    "copy_code",
    "flow",
    "catalog",
    "mpm",
    "order_details",
    "payment_request",
    "voice_call",
)
PARAMETER_TYPES = (
    "text",
    "image",
    "video",
    "document",
    "payload",
    "coupon_code",
    "action",
    "currency",
    "date_time",
    "location",
    "product",
    "limited_time_offer",
    "order_status",
    "tap_target_configuration",
    "ttl_minutes",
)


# Looked up once: they are called for every message.
_new, _set = object.__new__, object.__setattr__


class Part(BaseModel):
    """Base of all that goes out: unknown keys are errors, and nothing changes once it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        # Before pydantic's own check, which cannot say what was probably meant.
        if isinstance(value, Mapping):
            known, also = _names(cls)
            for key in value:
                if key not in known and key not in also:
                    raise ValueError(unknown("key", str(key), known))
        return value

    def _changed(self, **fields: Any) -> Self:
        """
        Return a copy with other fields, unchecked.

        As ``model_copy``, which takes five times as long: what is frozen may be shared. What a cached property
        keeps is copied, too: overrule it where it follows from a changed field.
        """
        made = _new(type(self))
        _set(made, "__dict__", {**self.__dict__, **fields})
        _set(made, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        _set(made, "__pydantic_extra__", None)
        _set(made, "__pydantic_private__", None)
        return made


@cache
def _names(model: type[Part]) -> tuple[list[str], frozenset[str]]:
    """Return a model's keys as they go on the wire, and its attributes; kept, as pydantic looks both up slowly."""
    fields = model.model_fields
    return [field.alias or name for name, field in fields.items()], frozenset(fields)


def unknown(what: str, written: str, known: Sequence[str]) -> str:
    """Say that a name is unknown, what is known, and what was probably meant."""
    close = closest(written, known)
    meant = f"; did you mean {close!r}?" if close else "."
    return f"has the unknown {what} {written!r}; known are {', '.join(known)}{meant}"


def with_lower_type(value: Any) -> Any:
    """Return a dict with its ``type`` in lower case: Meta's pages write some in upper case, Cirrus' none."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return {**value, "type": kind.lower()} if isinstance(kind, str) else value


def _fits(limit: int) -> AfterValidator:
    return AfterValidator(lambda value: text.check_text(value, limit))


def _identifier(value: Any) -> Any:
    value = plain(value)
    # render_template_as_native_obj makes an int of an id that is all digits.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Identifier = Annotated[str, BeforeValidator(_identifier), Field(min_length=1)]
HeaderText = Annotated[str, BeforeValidator(text.as_text), _fits(text.HEADER_LIMIT)]
BodyText = Annotated[str, BeforeValidator(text.as_text), _fits(text.BODY_LIMIT)]
UrlSuffix = Annotated[str, BeforeValidator(text.as_text), _fits(text.URL_SUFFIX_LIMIT)]
Payload = Annotated[str, BeforeValidator(text.as_text), _fits(text.PAYLOAD_LIMIT)]
CouponCode = Annotated[str, BeforeValidator(text.as_text), _fits(text.COUPON_LIMIT)]


class TextHeader(Part):
    """A header with one text parameter, at most 60 characters."""

    type: Literal["text"] = "text"
    text: HeaderText
    parameter_name: str | None = Field(default=None, min_length=1)

    def parameter(self) -> dict[str, Any]:
        """Return the parameter as it goes on the wire."""
        return self.model_dump(exclude_none=True)


class MediaHeader(Part):
    """An image, a video or a document, by link or by the id that an upload gave: exactly one of the two."""

    type: Literal["image", "video", "document"]
    link: str | None = Field(default=None, pattern=r"^https?://\S+$")
    id: Identifier | None = None
    filename: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_source(self) -> MediaHeader:
        if (self.link is None) == (self.id is None):
            given = "both link and id" if self.link else "neither link nor id"
            raise ValueError(f"has {given}; give exactly one of them.")
        return self

    def parameter(self) -> dict[str, Any]:
        """Return the parameter as it goes on the wire; only a document carries a file name."""
        source = {"link": self.link} if self.link else {"id": self.id}
        if self.filename and self.type == "document":
            source["filename"] = self.filename
        return {"type": self.type, self.type: source}


# A path or an address in one word, with the ending of what a header can show.
_PATH = re.compile(r"\S*[/\\]\S+\.(?:jpe?g|png|mp4|3gpp?|pdf|docx?|xlsx?|pptx?|txt)", re.IGNORECASE)


def _header_tag(value: Any) -> str | None:
    if isinstance(value, Mapping):
        kind = value.get("type", "text" if "text" in value else None)
        return "media" if kind in ("image", "video", "document") else kind
    return "media" if isinstance(value, MediaHeader) else "text"


def _header_from_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise ValueError(f"is a list of {len(value)}; a header takes exactly one parameter: pass the text itself.")
    if isinstance(value, str) and _PATH.fullmatch(value.strip()):
        raise ValueError(
            "looks like the path of a file, which would be sent as a text; give the output of an upload "
            '(UploadMediaOperator), or {"type": "image", "link": "https://…"} (or video, document).'
        )
    return value if isinstance(value, Mapping | TextHeader) else {"text": value}


Header = Annotated[
    Annotated[TextHeader, BeforeValidator(_header_from_text), Tag("text")] | Annotated[MediaHeader, Tag("media")],
    Discriminator(
        _header_tag,
        custom_error_type="header_type",
        custom_error_message="is of no known type; give a text, or a dict with type image, video or document.",
    ),
]


class _Button(Part):
    index: int | None = Field(default=None, ge=0, lt=MAX_BUTTONS)

    def _parameter(self) -> dict[str, Any]:
        raise AssertionError("each kind of button says what its parameter is")

    def component(self, place: int) -> dict[str, Any]:
        """Return the button as it goes on the wire; ``place`` counts where no index was given."""
        return {
            "type": "button",
            "sub_type": self.type,  # type: ignore[attr-defined]
            "index": place if self.index is None else self.index,
            "parameters": [self._parameter()],
        }


class UrlButton(_Button):
    """A link whose last part is a parameter, at most 2,000 characters."""

    type: Literal["url"]
    text: UrlSuffix

    def _parameter(self) -> dict[str, Any]:
        return {"type": "text", "text": self.text}


class QuickReplyButton(_Button):
    """A reply at a tap; the payload, at most 256 characters, comes back with it."""

    type: Literal["quick_reply"]
    payload: Payload

    def _parameter(self) -> dict[str, Any]:
        return {"type": "payload", "payload": self.payload}


class CopyCodeButton(_Button):
    """A coupon code to copy, at most 20 characters."""

    type: Literal["copy_code"]
    coupon_code: CouponCode

    def _parameter(self) -> dict[str, Any]:
        return {"type": "coupon_code", "coupon_code": self.coupon_code}


class FlowButton(_Button):
    """A button that opens a WhatsApp Flow."""

    type: Literal["flow"]
    flow_token: str | None = Field(default=None, min_length=1)
    flow_action_data: Annotated[dict[str, Any], BeforeValidator(json_ready)] | None = None

    def _parameter(self) -> dict[str, Any]:
        return {
            "type": "action",
            "action": self.model_dump(include={"flow_token", "flow_action_data"}, exclude_none=True),
        }


class CatalogButton(_Button):
    """A button that opens the business's catalog."""

    type: Literal["catalog"]
    thumbnail_product_retailer_id: Identifier | None = None

    def _parameter(self) -> dict[str, Any]:
        return {
            "type": "action",
            "action": self.model_dump(include={"thumbnail_product_retailer_id"}, exclude_none=True),
        }


Button = Annotated[
    UrlButton | QuickReplyButton | CopyCodeButton | FlowButton | CatalogButton, Field(discriminator="type")
]
