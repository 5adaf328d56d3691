"""
What Meta would refuse in a definition, or what is likely to be a slip: each limit is a function of its own.

Source of the limits: Meta's pages on message templates (components, categories, authentication, carousels,
limited-time offers), 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, TypeVar

from airflow_provider_cirrus.api.template_parts import MAX_BUTTONS
from airflow_provider_cirrus.api.text import BODY_LIMIT, COUPON_LIMIT, HEADER_LIMIT, URL_SUFFIX_LIMIT, in_numbers
from airflow_provider_cirrus.templates.definitions import (
    Body,
    Button,
    Buttons,
    Carousel,
    Category,
    Definition,
    Footer,
    Header,
    LimitedTimeOffer,
    Other,
    Parts,
    placeholders,
    static_text,
)

#: Most characters of each place.
FOOTER_LIMIT = 60
LABEL_LIMIT = 25
PHONE_LIMIT = 20
CARD_BODY_LIMIT = 160
OFFER_LIMIT = 16
#: Fewest and most of each.
CARDS = (2, 10)
CODE_MINUTES = (1, 90)
MOST_URLS, MOST_PHONES, MOST_CODES, MOST_CARD_BUTTONS = 2, 1, 1, 2

_NAME = re.compile(r"[a-z0-9_]{1,512}")
_NUMBERED = re.compile(r"[1-9]\d*")
_NAMED = re.compile(r"[a-z][a-z0-9_]*")
_ADJACENT = re.compile(r"\}\}\s*\{\{")
# Pictographs, and what makes a picture of a character.
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u231a\u231b\u23e9-\u23fa\ufe0f\u20e3]")
_URL = re.compile(r"https?://|\bwww\.", re.IGNORECASE)
_MEDIA = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")
_KNOWN_BUTTONS = (
    "QUICK_REPLY",
    "URL",
    "PHONE_NUMBER",
    "COPY_CODE",
    "OTP",
    "FLOW",
    "CATALOG",
    "MPM",
)
_ALONE = ("CATALOG", "MPM")

Path: TypeAlias = "tuple[str | int, ...]"
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Finding:
    """
    Something about a definition.

    :ivar path: where in it: ``("components", 1, "text")``
    :ivar text: what is wrong, as the end of a sentence about that place
    :ivar is_error: whether Meta refuses it; else it is a remark
    """

    path: Path
    text: str
    is_error: bool = True

    @property
    def place(self) -> str:
        """The path as people write it: ``components[1].text``."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")


def lint(definition: Definition) -> list[Finding]:
    """Return what is wrong with a definition, and what is unusual, in the order in which it stands there."""
    found = [finding for rule in _RULES for finding in rule(definition)]
    order = {id(finding): place for place, finding in enumerate(found)}
    return sorted(found, key=lambda one: ([str(step).zfill(4) for step in one.path], order[id(one)]))


def _name(definition: Definition) -> Iterator[Finding]:
    if not _NAME.fullmatch(definition.name):
        # The vendor's console shows friendly names.
        yield Finding(("name",), "is no name at Meta: lower-case letters, digits and underscores.", is_error=False)


def _header(definition: Definition) -> Iterator[Finding]:
    for path, header in _of(definition, Header):
        at = (*path, "text")
        if header.format in _MEDIA:
            if not (header.example or {}).get("header_handle"):
                yield Finding(
                    (*path, "example"), "lacks header_handle: Meta approves no media header without a sample."
                )
            continue
        if header.format != "TEXT":
            continue
        length = len(static_text(header.text))
        if length > HEADER_LIMIT:
            yield Finding(at, f"is {length} characters long; a header has at most {HEADER_LIMIT}.")
        if (count := len(placeholders(header.text))) > 1:
            yield Finding(at, f"has {count} placeholders; a header has one at most.")
        if "\n" in header.text:
            yield Finding(at, "holds a newline, which no header may.")
        if _EMOJI.search(header.text):
            yield Finding(at, "holds an emoji, which no header may.")


def _body(definition: Definition) -> Iterator[Finding]:
    if definition.parts.body is None and definition.category is not Category.AUTHENTICATION:
        yield Finding(("components",), "lacks a body, which every template has.")
    for path, body in _of(definition, Body):
        at = (*path, "text")
        limit = CARD_BODY_LIMIT if "cards" in path else BODY_LIMIT
        text = static_text(body.text)
        if len(text) > limit:
            where = "the body of a card" if limit == CARD_BODY_LIMIT else "a body"
            yield Finding(at, f"is {len(text)} characters long without its placeholders; {where} has at most {limit}.")
        names = placeholders(body.text)
        if names and body.text.lstrip().startswith("{{"):
            yield Finding(at, f"begins with {{{{{names[0]}}}}}: a body may not begin with a placeholder.")
        if names and body.text.rstrip().endswith("}}"):
            yield Finding(at, f"ends with {{{{{names[-1]}}}}}: a body may not end with a placeholder.")
        words = sum(any(map(str.isalnum, word)) for word in text.split())
        if names and words < (needed := 3 * len(set(names)) + 1):
            yield Finding(
                at,
                f"has {in_numbers(words, 'word')} for {in_numbers(len(set(names)), 'placeholder')}; with fewer than "
                f"{needed} Meta may refuse it.",
                is_error=False,
            )


def _footer(definition: Definition) -> Iterator[Finding]:
    for path, footer in _of(definition, Footer):
        at = (*path, "text")
        if len(footer.text) > FOOTER_LIMIT:
            yield Finding(at, f"is {len(footer.text)} characters long; a footer has at most {FOOTER_LIMIT}.")
        if placeholders(footer.text):
            yield Finding(at, "has a placeholder; a footer is the same for everybody.")


def _placeholders(definition: Definition) -> Iterator[Finding]:
    headers = [((*path, "text"), header.text) for path, header in _of(definition, Header)]
    bodies = [((*path, "text"), body.text) for path, body in _of(definition, Body)]
    for at, text in headers + bodies:
        names = placeholders(text)
        if _ADJACENT.search(text):
            yield Finding(at, "has two placeholders with no word between them.")
        pattern = _NAMED if definition.is_named else _NUMBERED
        kind = "a name of lower-case letters, digits and underscores" if definition.is_named else "a number from 1 on"
        if wrong := [name for name in names if not pattern.fullmatch(name)]:
            other, name = (_NUMBERED, "POSITIONAL") if definition.is_named else (_NAMED, "NAMED")
            hint = f" (parameter_format: {name}?)" if all(map(other.fullmatch, wrong)) else ""
            yield Finding(at, f"has the placeholder {{{{{wrong[0]}}}}}, which is not {kind}{hint}.")
        elif not definition.is_named:
            given = [int(name) for name in names]
            if given != list(range(1, len(given) + 1)):
                order = ", ".join(f"{{{{{name}}}}}" for name in names)
                yield Finding(at, f"numbers its placeholders {order}; they go 1, 2, 3 … in order.")
        elif len(set(names)) < len(names):
            yield Finding(at, "names a placeholder twice.")


def _buttons(definition: Definition) -> Iterator[Finding]:
    for path, part in _of(definition, Buttons):
        at = (*path, "buttons")
        buttons = part.buttons
        limit = MOST_CARD_BUTTONS if "cards" in path else MAX_BUTTONS
        if not 1 <= len(buttons) <= limit:
            yield Finding(at, f"holds {in_numbers(len(buttons), 'button')}; there are 1 to {limit}.")
        for kind, most in (("URL", MOST_URLS), ("PHONE_NUMBER", MOST_PHONES), ("COPY_CODE", MOST_CODES)):
            if (count := sum(button.type == kind for button in buttons)) > most:
                yield Finding(at, f"holds {count} of type {kind}; there are at most {most}.")
        for kind in _ALONE:
            if len(buttons) > 1 and any(button.type == kind for button in buttons):
                yield Finding(at, f"holds a {kind} button beside others; it goes alone.")
        replies = [button.type == "QUICK_REPLY" for button in buttons]
        if sum(one != other for one, other in pairwise(replies)) > 1:
            yield Finding(at, "mixes quick replies with others; each kind stands together.")
        for place, button in enumerate(buttons):
            yield from _button((*at, place), button)


def _button(path: Path, button: Button) -> Iterator[Finding]:
    if button.type not in _KNOWN_BUTTONS:
        yield Finding((*path, "type"), f"{button.type} is passed through and not checked.", is_error=False)
        return
    if len(button.text) > LABEL_LIMIT:
        yield Finding((*path, "text"), f"is {len(button.text)} characters long; a label has at most {LABEL_LIMIT}.")
    if not button.text and button.type not in ("COPY_CODE", "OTP", "CATALOG", "MPM"):
        yield Finding((*path, "text"), "is missing: a button has a label.")
    if placeholders(button.text):
        yield Finding((*path, "text"), "has a placeholder; a label is the same for everybody.")
    if button.type == "URL":
        yield from _url((*path, "url"), button.url)
    if button.type == "PHONE_NUMBER" and not 1 <= len(button.phone_number) <= PHONE_LIMIT:
        yield Finding(
            (*path, "phone_number"), f"has 1 to {PHONE_LIMIT} characters, and not {len(button.phone_number)}."
        )
    if button.type == "COPY_CODE":
        example = button.example[0] if isinstance(button.example, list | tuple) and button.example else button.example
        if isinstance(example, str) and len(example) > COUPON_LIMIT:
            yield Finding((*path, "example"), f"is {len(example)} characters long; a code has at most {COUPON_LIMIT}.")


def _url(path: Path, url: str) -> Iterator[Finding]:
    if not url:
        yield Finding(path, "is missing.")
        return
    if len(url) > URL_SUFFIX_LIMIT:
        yield Finding(path, f"is {len(url)} characters long; an address has at most {URL_SUFFIX_LIMIT}.")
    names = placeholders(url)
    if len(names) > 1 or (names and not url.endswith("}}")):
        yield Finding(path, "has a placeholder elsewhere than once, at its end.")


def _offer(definition: Definition) -> Iterator[Finding]:
    for path, part in _of(definition, LimitedTimeOffer):
        at = (*path, "limited_time_offer", "text")
        if definition.category is not Category.MARKETING:
            yield Finding(path, "is a limited-time offer, which only a MARKETING template has.")
        if definition.parts.footer is not None:
            yield Finding(path, "is a limited-time offer, and there is a footer: it has none.")
        if len(part.limited_time_offer.text) > OFFER_LIMIT:
            length = len(part.limited_time_offer.text)
            yield Finding(at, f"is {length} characters long; an offer has at most {OFFER_LIMIT}.")


def _carousel(definition: Definition) -> Iterator[Finding]:
    for path, part in _of(definition, Carousel):
        at = (*path, "cards")
        if definition.category is not Category.MARKETING:
            yield Finding(path, "is a carousel, which only a MARKETING template has.")
        least, most = CARDS
        if not least <= len(part.cards) <= most:
            yield Finding(at, f"holds {in_numbers(len(part.cards), 'card')}; there are {least} to {most}.")
        shapes = [_shape(card.parts) for card in part.cards]
        for place, shape in enumerate(shapes):
            if shape != shapes[0]:
                yield Finding((*at, place), "differs in kind from the first card; all have one structure.")


def _shape(parts: Parts) -> tuple[object, ...]:
    kinds = tuple(button.type for button in parts.buttons)
    return (parts.header and parts.header.format, parts.body is not None, kinds)


def _authentication(definition: Definition) -> Iterator[Finding]:
    if definition.category is not Category.AUTHENTICATION:
        for path, part in _of(definition, Buttons):
            for place, button in enumerate(part.buttons):
                if button.type == "OTP":
                    yield Finding(
                        (*path, "buttons", place), "is an OTP button, which only AUTHENTICATION templates have."
                    )
        return
    if definition.parts.header is not None and definition.parts.header.format in _MEDIA:
        yield Finding(("components",), "has a media header; an authentication template has none.")
    for path, text in definition.texts():
        if _URL.search(text):
            yield Finding(path, "holds an address; an authentication template has none.")
        if _EMOJI.search(text):
            yield Finding(path, "holds an emoji; an authentication template has none.")
    footer = definition.parts.footer
    least, most = CODE_MINUTES
    if footer is not None and (minutes := footer.code_expiration_minutes) is not None and not least <= minutes <= most:
        yield Finding(("components",), f"let a code expire after {minutes} minutes; it is {least} to {most}.")
    for path, part in _of(definition, Buttons):
        for place, button in enumerate(part.buttons):
            if button.type != "OTP":
                text = f"is of type {button.type}; an authentication template has an OTP button alone."
                yield Finding((*path, "buttons", place, "type"), text)
            if button.otp_type == "ZERO_TAP" and not (button.model_extra or {}).get("supported_apps"):
                yield Finding(
                    (*path, "buttons", place), "is zero-tap and names no supported_apps: it works on Android alone."
                )


def _others(definition: Definition) -> Iterator[Finding]:
    for path, part in _of(definition, Other):
        yield Finding((*path, "type"), f"{part.type} is passed through and not checked.", is_error=False)


def _of(definition: Definition, kind: type[_Kind]) -> Iterator[tuple[Path, _Kind]]:
    """Yield the components of a kind and where they stand, those of cards included."""
    for at, one in enumerate(definition.components):
        if isinstance(one, kind):
            yield ("components", at), one
        if isinstance(one, Carousel) and kind is not Carousel:
            for place, card in enumerate(one.cards):
                for inner, part in enumerate(card.components):
                    if isinstance(part, kind):
                        yield ("components", at, "cards", place, "components", inner), part


_RULES: tuple[Callable[[Definition], Iterator[Finding]], ...] = (
    _name,
    _header,
    _body,
    _footer,
    _placeholders,
    _buttons,
    _offer,
    _carousel,
    _authentication,
    _others,
)
