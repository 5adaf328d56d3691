"""What the recipient of a message sees: its template filled in, as a plain value, a text or for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_cirrus.api.text import cut, without_controls
from airflow_provider_cirrus.templates.definitions import (
    Button,
    Category,
    Definition,
    Header,
    Parts,
    filled,
    placeholders,
)
from airflow_provider_cirrus.templates.markup import to_terminal
from airflow_provider_cirrus.templates.parameters import Filled, of_components

# Characters of a text that are shown: WhatsApp takes far fewer, whoever sends more is cut.
_SHOWN = 4_096
# Characters that turn the text around them, so that it reads otherwise than it is.
_DIRECTIONS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
_RIGHT_TO_LEFT = ("ar", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi")


@dataclass(frozen=True)
class HeaderPreview:
    """
    A header.

    :ivar kind: ``text``, ``image``, ``video``, ``document``, ``location`` …
    :ivar text: of a text
    :ivar source: the address or the id of media
    :ivar filename: of a document
    """

    kind: str
    text: str = ""
    source: str = ""
    filename: str = ""


@dataclass(frozen=True)
class ButtonPreview:
    """
    A button.

    :ivar kind: such as ``url`` or ``quick_reply``
    :ivar label: what stands on it
    :ivar value: what it opens, dials, copies or answers
    """

    kind: str
    label: str
    value: str = ""


@dataclass(frozen=True)
class Preview:
    """
    A message as its recipient sees it.

    :ivar header: None: it has none
    :ivar body: with WhatsApp's marks, such as ``*bold*``
    :ivar footer: empty where it has none
    :ivar buttons: in order
    :ivar cards: of a carousel
    :ivar offer: what a limited-time offer says
    :ivar is_right_to_left: by its language
    """

    header: HeaderPreview | None = None
    body: str = ""
    footer: str = ""
    buttons: tuple[ButtonPreview, ...] = ()
    cards: tuple[Preview, ...] = ()
    offer: str = ""
    is_right_to_left: bool = False

    def text(self, *, colours: bool | None = None) -> str:
        """
        Return it as lines of text.

        :param colours: for a terminal that shows bold and its kin, or not; None: with WhatsApp's marks
        """
        show = (lambda text: text) if colours is None else (lambda text: to_terminal(text, colours=bool(colours)))
        lines: list[str] = []
        if self.header is not None:
            lines.append(_header_line(self.header))
        lines += [self.offer] if self.offer else []
        lines += [show(self.body)] if self.body else []
        lines += [self.footer] if self.footer else []
        lines += [f"[{button.label}]" + (f" {button.value}" if button.value else "") for button in self.buttons]
        for number, card in enumerate(self.cards, 1):
            inner = card.text(colours=colours).splitlines()
            lines += [f"({number}) {inner[0] if inner else ''}", *(f"    {line}" for line in inner[1:])]
        return "\n".join(lines)


def render(definition: Definition, components: Sequence[Mapping[str, Any]]) -> Preview:
    """
    Return what the recipient sees.

    A placeholder without a value stays as it is, a value without a placeholder shows nowhere. Control characters are
    left out, and texts cut that are far longer than WhatsApp takes.

    :param components: as they stand in a request: :meth:`~airflow_provider_cirrus.api.models.Template.wire_components`
    """
    given = of_components(components)
    parts = definition.parts
    is_right_to_left = definition.language.partition("_")[0].lower() in _RIGHT_TO_LEFT
    if definition.category is Category.AUTHENTICATION:
        return _authentication(definition, given, is_right_to_left)
    cards = () if parts.carousel is None else parts.carousel.cards
    return Preview(
        **_common(parts, given),
        footer="" if parts.footer is None else _clean(parts.footer.text),
        cards=tuple(
            Preview(**_common(card.parts, given.cards[place] if place < len(given.cards) else Filled()))
            for place, card in enumerate(cards)
        ),
        offer="" if parts.offer is None else _clean(parts.offer.text),
        is_right_to_left=is_right_to_left,
    )


def _common(parts: Parts, given: Filled) -> dict[str, Any]:
    values = dict(zip(given.names, given.texts, strict=True))
    return {
        "header": None if parts.header is None else _header(parts.header, given.header or {}),
        "body": "" if parts.body is None else _clean(filled(parts.body.text, values)),
        "buttons": tuple(_button(button, given, place) for place, button in enumerate(parts.buttons)),
    }


def _header(header: Header, given: Mapping[str, Any]) -> HeaderPreview:
    kind = header.format.lower()
    if kind == "text":
        values = dict.fromkeys(placeholders(header.text), str(given["text"])) if "text" in given else {}
        return HeaderPreview("text", _clean(filled(header.text, values)))
    media = given.get(str(given.get("type")))
    media = media if isinstance(media, Mapping) else {}
    return HeaderPreview(
        kind,
        source=_clean(str(media.get("link") or media.get("id") or "")),
        filename=_clean(str(media.get("filename", ""))),
    )


def _button(button: Button, given: Filled, place: int) -> ButtonPreview:
    kind = button.type.lower()
    own = given.buttons.get(place)
    value = "" if own is None else own.value
    if button.type == "URL":
        value = filled(button.url, dict.fromkeys(placeholders(button.url), value)) if own else button.url
    elif button.type == "PHONE_NUMBER":
        value = button.phone_number
    # A code is copied under WhatsApp's own words, in the language of the telephone.
    return ButtonPreview(kind, _clean(button.text) or kind.replace("_", " ").capitalize(), _clean(value))


def _authentication(definition: Definition, given: Filled, is_right_to_left: bool) -> Preview:
    code = given.texts[0] if given.body else "{{1}}"
    parts = definition.parts
    # WhatsApp words it, in the language of the template; ours stands for it.
    body = f"*{code}* (code; the words around it are WhatsApp's own)"
    minutes = parts.footer.code_expiration_minutes if parts.footer is not None else None
    return Preview(
        body=_clean(body),
        footer="" if minutes is None else f"Expires in {minutes} min.",
        buttons=tuple(
            ButtonPreview("copy_code", _clean(button.text) or "Copy code", _clean(code)) for button in parts.buttons
        ),
        is_right_to_left=is_right_to_left,
    )


def _header_line(header: HeaderPreview) -> str:
    if header.kind == "text":
        return f"*{header.text}*"
    name = header.filename or header.source
    return f"<{header.kind}>" + (f" {name}" if name else "")


def _clean(text: str) -> str:
    """Return a text without what a page or a terminal would act on; newlines stay."""
    lines = text[: 2 * _SHOWN].translate(_DIRECTIONS).split("\n")
    return cut("\n".join(map(without_controls, lines)), _SHOWN)
