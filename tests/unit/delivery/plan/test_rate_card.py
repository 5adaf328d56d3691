"""Meta's price list as people download it, and the market of a number."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.plan.rate_card import RateCard

# Invented prices, in the shape of the list.
LIST = """Rates of messages, for an example only,,,,,,
Effective some day,,,,,,
,,,,,,
Market,Currency,Marketing,Utility,Authentication,"Authentication-International",Service
United Kingdom,$US,0.0400,0.0150,0.0120,n/a,n/a
North America,$US,0.0200,0.0030,,,n/a
Rest of Africa,$US,0.0180,0.0040,0.0040,0.0200,n/a
,,,,,,
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "rates.csv"
    file.write_text(LIST)
    return file


def test_prices_are_found_by_country_and_category(path: Path) -> None:
    prices = RateCard(path, {"KE": "Rest of Africa"}).prices()
    assert prices.currency == "USD"
    assert prices.price("GB", "marketing") == Decimal("0.0400")
    assert prices.price("US", "utility") == prices.price("CA", "utility") == Decimal("0.0030")
    assert prices.price("KE", "authentication") == Decimal("0.0040")
    # What the list leaves open, whose market nobody named, and what is no category.
    assert prices.price("US", "authentication") is None
    assert prices.price("GH", "marketing") is None
    assert prices.price("GB", "unknown") is None


@pytest.mark.parametrize("currency", ["USD", "EUR", "INR"])
def test_a_list_of_another_currency_is_read_the_same(path: Path, currency: str) -> None:
    path.write_text("\ufeff" + LIST.replace("$US", currency))
    assert RateCard.of(str(path)).prices().currency == currency


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("Market,", "Country,"), "has no line Market,Currency"),
        (lambda text: "", "has no line"),
        (lambda text: text.replace("0.0400", "four"), "rate_card line 5: 'four' is no price"),
        (lambda text: text.replace("0.0400", "-1"), "'-1' is no price"),
        (lambda text: text.replace("0.0400", "NaN"), "'NaN' is no price"),
        (lambda text: text.replace("$US", "USD", 1).replace("$US", "EUR"), "in 2 currencies"),
        (lambda text: text[: text.index("United")], "in 0 currencies"),
        (lambda text: text + "x" * 1_100_000, "is larger than 1024 KB"),
    ],
)
def test_a_list_that_cannot_be_right_says_so(path: Path, change: Any, problem: str) -> None:
    path.write_text(change(LIST))
    with pytest.raises(InvalidInput, match=problem):
        RateCard(path).prices()


def test_a_list_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="rate_card: cannot be read: FileNotFoundError"):
        RateCard(tmp_path / "nowhere.csv").prices()
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="is no CSV in UTF-8"):
        RateCard(tmp_path / "binary.csv").prices()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"file": "x"}, "has no 'file'"),
        ({"markets": {}}, "needs a path"),
        ({"path": "x", "markets": ["KE"]}, "markets are a dict"),
    ],
)
def test_what_is_no_list_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        RateCard.of(value)


def test_a_market_that_the_list_does_not_have_is_a_slip(path: Path) -> None:
    with pytest.raises(InvalidInput, match="names 'Rest of Afrika'"):
        RateCard(path, {"KE": "Rest of Afrika"}).prices()
