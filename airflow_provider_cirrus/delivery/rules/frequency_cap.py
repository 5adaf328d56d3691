"""Frequency caps: how many messages a person may get in a span of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.text import closest, in_numbers
from airflow_provider_cirrus.arguments import whole_number
from airflow_provider_cirrus.delivery.rules.consent import CATEGORIES

_SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60}
_NAMES = ("max_messages", *_SECONDS, "category")
_HINT = "Give FrequencyCap(3, days=7), or {'max_messages': 3, 'days': 7}."
# Ten years: a slip in the unit must not keep every place for ever.
_LONGEST = 3_660 * 86_400


@dataclass(frozen=True, init=False, repr=False)
class FrequencyCap:
    """
    The most messages that a person gets in a span of time that ends now.

    ::

        FrequencyCap(3, days=7)
        FrequencyCap(1, hours=24, category="marketing")

    :param max_messages: how many, from 1 on
    :param days: length of the span: whole numbers, in one of the three units
    :param hours: the same in hours
    :param minutes: the same in minutes
    :param category: ``marketing``, ``utility`` or ``authentication``: only messages of this category are counted and
        held back; None: all are
    :raises InvalidInput: a value that is none of these
    """

    max_messages: int
    seconds: int
    category: str | None
    _span: tuple[str, int]

    def __init__(
        self,
        max_messages: int,
        *,
        days: int | None = None,
        hours: int | None = None,
        minutes: int | None = None,
        category: str | None = None,
    ) -> None:
        given = {"days": days, "hours": hours, "minutes": minutes}
        spans = [(unit, value) for unit, value in given.items() if value is not None]
        if len(spans) != 1:
            raise InvalidInput("frequency_cap", "days, hours or minutes: give exactly one of them.", hint=_HINT)
        unit, span = spans[0][0], whole_number(spans[0][1], f"frequency_cap.{spans[0][0]}", 1)
        seconds = span * _SECONDS[unit]
        if seconds > _LONGEST:
            raise InvalidInput(f"frequency_cap.{unit}", f"{span} is more than ten years.", hint=_HINT)
        values: dict[str, Any] = {
            "max_messages": whole_number(max_messages, "frequency_cap.max_messages", 1),
            "seconds": seconds,
            "category": None if category is None else check_category(category, "frequency_cap.category"),
            "_span": (unit, span),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, value: Any) -> FrequencyCap:
        """
        Return a cap from what an argument may hold.

        :param value: a cap, or a dict of the class's arguments, such as :meth:`to_dict` returns
        :raises InvalidInput: anything else
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidInput("frequency_cap", f"is of type {type(value).__name__}.", hint=_HINT)
        if strange := [name for name in value if name not in _NAMES]:
            raise InvalidInput(
                "frequency_cap", f"has no {str(strange[0])[:40]!r}.", hint=f"The names are {', '.join(_NAMES)}."
            )
        if "max_messages" not in value:
            raise InvalidInput("frequency_cap", "lacks 'max_messages'.", hint=_HINT)
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON has them; those that were not given are left out."""
        unit, span = self._span
        return {"max_messages": self.max_messages, unit: span, **({"category": self.category} if self.category else {})}

    @property
    def reason(self) -> str:
        """Why somebody who has had enough gets nothing, for the outcome."""
        unit, span = self._span
        unit = unit[:-1] if span == 1 else unit
        what = f"{self.category} message" if self.category else "message"
        return f"frequency_cap: {in_numbers(self.max_messages, what)} in {span} {unit} already"

    def __repr__(self) -> str:
        others = [f", {name}={value!r}" for name, value in self.to_dict().items() if name != "max_messages"]
        return f"FrequencyCap({self.max_messages}{''.join(others)})"


def check_category(value: Any, field: str = "category") -> str:
    """
    Return a category of templates as it is compared.

    :param value: one of :data:`~.rules.consent.CATEGORIES`, whatever the case
    :param field: how errors name it
    :raises InvalidInput: there is no such category
    """
    known = value.strip().lower() if isinstance(value, str) else ""
    if known in CATEGORIES:
        return known
    shown = repr(value[:40]) if isinstance(value, str) else f"of type {type(value).__name__}"
    close = closest(known, CATEGORIES)
    hint = f"Did you mean {close!r}?" if close else f"Choose one of {', '.join(CATEGORIES)}."
    raise InvalidInput(field, f"is {shown}.", hint=hint)
