"""What the components of a message fill in, read once for checking and for showing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FilledButton:
    """
    What a message gives for a button.

    :ivar kind: such as ``url``
    :ivar value: the end of an address, the payload, the code; empty where it is none of these
    """

    kind: str
    value: str = ""


@dataclass(frozen=True)
class Filled:
    """
    What a message, or a card of it, fills in.

    :ivar header: the parameter of the header
    :ivar body: the parameters of the body
    :ivar buttons: by their place in the template
    :ivar cards: of a carousel
    :ivar has_offer: whether it says when a limited-time offer ends
    """

    header: Mapping[str, Any] | None = None
    body: Sequence[Mapping[str, Any]] = ()
    buttons: Mapping[int, FilledButton] = field(default_factory=dict)
    cards: Sequence[Filled] = ()
    has_offer: bool = False

    @property
    def is_named(self) -> bool:
        """Whether the body's parameters have names."""
        return any("parameter_name" in one for one in self.body)

    @property
    def names(self) -> list[str]:
        """The names of the body's parameters, or their numbers."""
        return [str(one.get("parameter_name", place)) for place, one in enumerate(self.body, 1)]

    @property
    def texts(self) -> list[str]:
        """The texts of the body's parameters; of a currency or a date, what it falls back to."""
        return [_text(one) for one in self.body]


def of_components(components: Sequence[Mapping[str, Any]]) -> Filled:
    """
    Return what components fill in; what is of another shape than Meta documents fills nothing.

    :param components: as they stand in a request
    """
    header: Mapping[str, Any] | None = None
    body: Sequence[Mapping[str, Any]] = ()
    buttons: dict[int, FilledButton] = {}
    cards: Sequence[Filled] = ()
    has_offer = False
    for one in components:
        if not isinstance(one, Mapping):
            continue
        parameters = [part for part in one.get("parameters") or () if isinstance(part, Mapping)]
        match str(one.get("type", "")).lower():
            case "header":
                header = parameters[0] if parameters else None
            case "body":
                body = parameters
            case "button":
                buttons[_place(one.get("index"))] = _button(one, parameters)
            case "carousel":
                listed = [card for card in one.get("cards") or () if isinstance(card, Mapping)]
                cards = [of_components(card.get("components") or ()) for card in listed]
            case "limited_time_offer":
                has_offer = True
    return Filled(header, body, buttons, cards, has_offer)


def _place(index: Any) -> int:
    return int(index) if str(index).isdecimal() else 0


def _button(component: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]]) -> FilledButton:
    first = parameters[0] if parameters else {}
    value = next((first[name] for name in ("text", "payload", "coupon_code") if name in first), "")
    return FilledButton(str(component.get("sub_type", "")).lower(), str(value))


def _text(parameter: Mapping[str, Any]) -> str:
    if "text" in parameter:
        return str(parameter["text"])
    inner = parameter.get(str(parameter.get("type")))
    return str(inner.get("fallback_value", "")) if isinstance(inner, Mapping) else ""
