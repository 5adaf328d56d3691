"""What a message fills in, against the definition of its template: count, kind and names of all parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_cirrus.api.models import Template
from airflow_provider_cirrus.api.text import (
    AUTHENTICATION_CODE_LIMIT,
    BODY_LIMIT,
    HEADER_LIMIT,
    URL_SUFFIX_LIMIT,
    closest,
    in_numbers,
)
from airflow_provider_cirrus.templates.definitions import (
    Body,
    Category,
    Definition,
    Header,
    Parts,
    filled,
    placeholders,
)
from airflow_provider_cirrus.templates.parameters import Filled, of_components

_MEDIA = {"IMAGE": "image", "VIDEO": "video", "DOCUMENT": "document", "GIF": "video"}
# What a button of a template is called in a message; one that is not here takes no parameter, or is not known.
_SUB_TYPES = {
    "URL": "url",
    "OTP": "url",
    "QUICK_REPLY": "quick_reply",
    "COPY_CODE": "copy_code",
    "FLOW": "flow",
    "CATALOG": "catalog",
    "MPM": "mpm",
}
_CODE = re.compile(r"[^\s\x00-\x1f]{1,15}")
_ADDRESS = re.compile(r"://|^www\.", re.IGNORECASE)


@dataclass(frozen=True)
class Mismatch:
    """
    A parameter that does not fit its template.

    :ivar field: in the words of a message: ``body``, ``header``, ``buttons[0]``
    :ivar problem: what is wrong, as the end of a sentence that begins with the field
    :ivar hint: what to do
    """

    field: str
    problem: str
    hint: str = ""


def check(definition: Definition, template: Template) -> list[Mismatch]:
    """
    Return what of a message does not fit the definition of its template; nothing where all does.

    :param template: filled in for a recipient, or with stand-ins
    """
    return list(_Check(definition, template).found())


class _Check:
    def __init__(self, definition: Definition, template: Template) -> None:
        self._definition = definition
        self._template = template
        self._name = f"{definition.name!r} ({definition.language})"

    def found(self) -> Iterator[Mismatch]:
        definition, template = self._definition, self._template
        given = of_components(template.wire_components())
        if definition.category is Category.AUTHENTICATION:
            yield from self._authentication(given)
            return
        if template.authentication_code is not None:
            kind = definition.category.value
            yield Mismatch(
                "authentication_code", f"is given, and {self._name} is a {kind} template.", "Give body and buttons."
            )
            return
        yield from self._parts(definition.parts, given, "")
        offer = definition.parts.offer
        if offer is not None and offer.has_expiration and not given.has_offer:
            yield Mismatch(
                "components", f"lacks limited_time_offer: the offer of {self._name} ends at a time, and none is given."
            )
        yield from self._cards(given)

    def _parts(self, parts: Parts, given: Filled, prefix: str) -> Iterator[Mismatch]:
        yield from self._header(parts.header, given.header, f"{prefix}header")
        yield from self._body(parts.body, given, f"{prefix}body")
        yield from self._buttons(parts, given, prefix)

    def _header(self, header: Header | None, given: Mapping[str, Any] | None, field: str) -> Iterator[Mismatch]:
        if header is None:
            if given is not None:
                yield Mismatch(field, f"is given, and {self._name} has no header.", "Leave it out.")
            return
        if header.format in _MEDIA:
            wanted = _MEDIA[header.format]
            if given is None:
                yield Mismatch(
                    field,
                    f"is missing: {self._name} has a header of type {wanted}.",
                    f'Give {{"type": "{wanted}", "link": "https://…"}}, or the output of an upload.',
                )
            elif given.get("type") != wanted:
                yield Mismatch(field, f"is of type {given.get('type')}, and that of {self._name} is of type {wanted}.")
            return
        if header.format != "TEXT":
            # Not modelled: given as raw components, and Meta's to judge.
            return
        names = placeholders(header.text)
        if given is None:
            if names:
                yield Mismatch(field, f"is missing: {self._name} fills one in:\n{_marked(header.text, names)}")
        elif given.get("type") != "text":
            yield Mismatch(field, f"is of type {given.get('type')}, and that of {self._name} is a text.")
        elif not names:
            yield Mismatch(field, f"is given, and the header of {self._name} is the same for all.", "Leave it out.")
        elif given.get("parameter_name") != (names[0] if self._definition.is_named else None):
            yield self._misnamed(field, names[0])
        elif (length := len(filled(header.text, {names[0]: str(given.get("text", ""))}))) > HEADER_LIMIT:
            yield Mismatch(field, f"makes the header {length} characters long; at most {HEADER_LIMIT} fit.")

    def _misnamed(self, field: str, name: str) -> Mismatch:
        if self._definition.is_named:
            hint = f'Give {{"type": "text", "text": …, "parameter_name": "{name}"}}.'
            return Mismatch(field, f"is not named {name!r}, as {self._name} names its parameters.", hint)
        return Mismatch(field, f"has a parameter_name, and {self._name} numbers its parameters.", "Leave it out.")

    def _body(self, body: Body | None, given: Filled, field: str) -> Iterator[Mismatch]:
        text = "" if body is None else body.text
        names = list(dict.fromkeys(placeholders(text)))
        if not names:
            if given.body:
                what = "has no body" if body is None else "fills nothing in"
                yield Mismatch(
                    field,
                    f"holds {in_numbers(len(given.body), 'parameter')}, and {self._name} {what}.",
                    "Leave it out.",
                )
            return
        if self._definition.is_named:
            yield from self._named(text, names, given, field)
        else:
            # The first parameter is {{1}}, wherever that stands.
            numbers = [str(number) for number in range(1, len(names) + 1)]
            yield from self._numbered(text, numbers, given, field)

    def _named(self, text: str, names: list[str], given: Filled, field: str) -> Iterator[Mismatch]:
        wanted = ", ".join(map(repr, names))
        if given.body and not given.is_named:
            yield Mismatch(field, f"is a list, and {self._name} names its parameters.", f"Give a dict of {wanted}.")
            return
        for name in given.names:
            if name not in names:
                meant = closest(name, names)
                hint = f"Did you mean {meant!r}?" if meant else f"They are {wanted}."
                yield Mismatch(field, f"has the parameter {name!r}, which {self._name} does not have.", hint)
        if missing := [name for name in names if name not in given.names]:
            said = ", ".join(map(repr, missing))
            yield Mismatch(field, f"lacks {said} of {self._name}:\n{_marked(text, missing)}")
        elif all(name in names for name in given.names):
            yield from self._length(text, dict(zip(given.names, given.texts, strict=True)), field)

    def _numbered(self, text: str, names: list[str], given: Filled, field: str) -> Iterator[Mismatch]:
        if given.is_named:
            yield Mismatch(
                field, f"is a dict, and {self._name} numbers its parameters.", f"Give a list of {len(names)}."
            )
            return
        count = len(given.body)
        if count != len(names):
            said = f"holds {in_numbers(count, 'parameter')}, and {self._name} takes {len(names)}"
            if count < len(names):
                missing = names[count:]
                are = "is" if len(missing) == 1 else "are"
                shown = ", ".join(f"{{{{{name}}}}}" for name in missing)
                yield Mismatch(field, f"{said}; {shown} {are} missing:\n{_marked(text, missing)}")
            else:
                yield Mismatch(field, f"{said}:\n{_marked(text, ())}")
            return
        yield from self._length(text, dict(zip(names, given.texts, strict=True)), field)

    def _length(self, text: str, values: Mapping[str, str], field: str) -> Iterator[Mismatch]:
        if (length := len(filled(text, values))) > BODY_LIMIT:
            yield Mismatch(field, f"makes the message {length} characters long; at most {BODY_LIMIT} fit.")

    def _buttons(self, parts: Parts, given: Filled, prefix: str) -> Iterator[Mismatch]:
        for place, button in enumerate(parts.buttons):
            field, one = f"{prefix}buttons[{place}]", given.buttons.get(place)
            what = f"button {place} of {self._name}" + (f" ({button.text!r})" if button.text else "")
            is_filled = bool(placeholders(button.url)) if button.type == "URL" else button.type == "COPY_CODE"
            if one is None:
                if is_filled:
                    value = "the end of its address" if button.type == "URL" else "a code to copy"
                    kind = (
                        '{"type": "url", "text": …}'
                        if button.type == "URL"
                        else '{"type": "copy_code", "coupon_code": …}'
                    )
                    shown = f":\n{_marked(button.url, placeholders(button.url))}" if button.url else "."
                    yield Mismatch(field, f"is missing: {what} takes {value}{shown}", f"Give {kind}.")
                continue
            wanted = _SUB_TYPES.get(button.type)
            if wanted is not None and one.kind != wanted:
                yield Mismatch(field, f"is of type {one.kind}, and {what} is of type {wanted}.")
            elif wanted is None or (button.type == "URL" and not is_filled):
                yield Mismatch(field, f"is given, and {what} is the same for all.", "Leave it out.")
            elif button.type == "URL":
                length = len(filled(button.url, dict.fromkeys(placeholders(button.url), one.value)))
                if length > URL_SUFFIX_LIMIT:
                    yield Mismatch(
                        field, f"makes the address {length} characters long; at most {URL_SUFFIX_LIMIT} fit."
                    )
        for place in sorted(given.buttons):
            if place >= len(parts.buttons):
                has = in_numbers(len(parts.buttons), "button")
                yield Mismatch(f"{prefix}buttons[{place}]", f"is given, and {self._name} has {has}.", "Leave it out.")

    def _authentication(self, given: Filled) -> Iterator[Mismatch]:
        field = "authentication_code"
        if self._template.authentication_code is None and not given.body:
            yield Mismatch(field, f"is missing: {self._name} sends a code.")
            return
        if given.header is not None:
            yield Mismatch("header", f"is given, and {self._name} is an authentication template, which has none.")
        code = given.texts[0]
        if len(given.body) != 1:
            yield Mismatch("body", f"holds {len(given.body)} parameters, and {self._name} takes the code alone.")
        elif not _CODE.fullmatch(code) or _ADDRESS.search(code) or not code.isascii():
            yield Mismatch(
                field,
                f"is of {len(code)} characters; a code has up to {AUTHENTICATION_CODE_LIMIT}, without spaces, "
                "addresses and emoji.",
            )
        button = given.buttons.get(0)
        if self._definition.parts.buttons and (button is None or button.value != code):
            yield Mismatch(
                "buttons[0]", f"does not repeat the code of {self._name}.", "Give authentication_code alone."
            )

    def _cards(self, given: Filled) -> Iterator[Mismatch]:
        carousel = self._definition.parts.carousel
        count = 0 if carousel is None else len(carousel.cards)
        if len(given.cards) != count:
            said = f"carousel holds {in_numbers(len(given.cards), 'card')}, and {self._name} has {count}."
            yield Mismatch("components", said)
            return
        for place, card in enumerate(carousel.cards if carousel else ()):
            yield from self._parts(card.parts, given.cards[place], f"components.carousel.cards[{place}].")


def _marked(text: str, names: Sequence[str]) -> str:
    """Return a text with some of its placeholders marked, a little to the right of what tells of it."""
    shown = filled(text, {name: f">>>{{{{{name}}}}}<<<" for name in names})
    return "\n".join(f"    {line}" for line in shown.splitlines())
