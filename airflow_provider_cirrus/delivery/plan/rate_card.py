"""What messages cost at most: Meta's price list, as its owner brings it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.plan.markets import MARKETS

_HEADS = ("Market", "Currency", "Marketing", "Utility", "Authentication")
# Bytes of a list: Meta's has some ten thousand.
_LARGEST = 1024 * 1024
_HINT = "Download the rates of your currency from Meta, and name the file; it begins with a few lines of text."


@dataclass(frozen=True)
class RateCard:
    """
    Meta's price list, a CSV that its owner downloads: prices change, and so do the groups of countries.

    :ivar path: local path or URI of the file, with a line ``Market,Currency,Marketing,Utility,Authentication,…``
    :ivar markets: of countries (ISO 3166, such as ``KE``) to markets of the list, such as ``Rest of Africa``; those
        that the list names one by one are known
    """

    path: Any
    markets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> Self:
        """
        Return the price list that a user means.

        :param value: a path, or a dict of ``path`` and ``markets``
        :raises InvalidInput: it is none
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            if strange := set(value) - {"path", "markets"}:
                raise InvalidInput("rate_card", f"has no {sorted(strange)[0]!r}; known are path, markets.")
            if "path" not in value or not isinstance(value.get("markets", {}), Mapping):
                raise InvalidInput("rate_card", "needs a path, and markets are a dict.", hint=_HINT)
            return cls(value["path"], dict(value.get("markets", {})))
        if not isinstance(value, str) and not hasattr(value, "__fspath__"):
            raise InvalidInput("rate_card", f"is of type {type(value).__name__}.", hint=_HINT)
        return cls(value)

    def prices(self) -> Prices:
        """
        Read the list.

        :raises InvalidInput: it cannot be read, or is none of Meta's lists
        """
        from airflow_provider_cirrus.delivery.storage import object_path, open_source

        try:
            with open_source(object_path(self.path)) as file:
                raw = file.read(_LARGEST + 1)
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput("rate_card", f"cannot be read: {type(error).__name__}.", hint=_HINT) from None
        if len(raw) > _LARGEST:
            raise InvalidInput("rate_card", f"is larger than {_LARGEST // 1024} KB: no list of prices is.", hint=_HINT)
        try:
            rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
        except (UnicodeDecodeError, csv.Error):
            raise InvalidInput("rate_card", "is no CSV in UTF-8.", hint=_HINT) from None
        return _prices(rows, {**MARKETS, **self.markets})


@dataclass(frozen=True)
class Prices:
    """
    Prices of one message.

    :ivar currency: such as ``USD``
    :ivar by_market: of a market and a category, in lower case; what the list leaves open is not there
    :ivar markets: of countries
    """

    currency: str
    by_market: Mapping[tuple[str, str], Decimal]
    markets: Mapping[str, str]

    def price(self, country: str, category: str) -> Decimal | None:
        """Return what a message costs at most, None where the list does not say."""
        return self.by_market.get((self.markets.get(country, ""), category))


def _prices(rows: list[list[str]], markets: Mapping[str, str]) -> Prices:
    start = next((place for place, row in enumerate(rows) if _names(row)[: len(_HEADS)] == list(_HEADS)), None)
    if start is None:
        raise InvalidInput("rate_card", f"has no line {','.join(_HEADS)},…", hint=_HINT)
    heads = [name.lower() for name in _names(rows[start])]
    by_market: dict[tuple[str, str], Decimal] = {}
    currencies = set()
    for number, row in enumerate(rows[start + 1 :], start + 2):
        cells = dict(zip(heads, map(str.strip, row), strict=False))
        if not cells.get("market"):
            continue
        currencies.add(cells.get("currency", "").replace("$US", "USD"))
        for category in ("marketing", "utility", "authentication"):
            text = cells.get(category, "")
            if text and text.lower() != "n/a":
                by_market[cells["market"], category] = _price(text, f"rate_card line {number}")
    if len(currencies) != 1 or not by_market:
        raise InvalidInput("rate_card", f"has prices in {len(currencies)} currencies, not in one.", hint=_HINT)
    known = {market for market, _ in by_market}
    if strange := sorted(set(markets.values()) - known - set(MARKETS.values())):
        raise InvalidInput("rate_card.markets", f"names {strange[0]!r}, which is no market of the list.")
    return Prices(currencies.pop(), by_market, markets)


def _names(row: list[str]) -> list[str]:
    return [name.strip() for name in row]


def _price(text: str, field: str) -> Decimal:
    try:
        price = Decimal(text.lstrip("$€£ "))
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or price < 0:
        raise InvalidInput(field, f"{text!r} is no price.", hint=_HINT)
    return price
