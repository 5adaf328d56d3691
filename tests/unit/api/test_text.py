from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from airflow_provider_cirrus.api.text import as_text, check_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("Ann", "Ann", id="text"),
        pytest.param("orders.sql", "orders.sql", id="text-that-looks-like-a-file"),
        pytest.param(1200, "1200", id="int"),
        pytest.param(19.9, "19.9", id="float"),
        pytest.param(1e16, "10000000000000000", id="large-float-without-exponent"),
        pytest.param(1e-7, "0.0000001", id="small-float-without-exponent"),
        pytest.param(Decimal("1E+3"), "1000", id="decimal-without-exponent"),
        pytest.param(Decimal("19.90"), "19.90", id="decimal-keeps-its-places"),
        pytest.param(date(2026, 3, 4), "2026-03-04", id="date"),
        pytest.param(datetime(2026, 3, 4, 5, 6, tzinfo=UTC), "2026-03-04T05:06:00+00:00", id="datetime"),
    ],
)
def test_values_become_text_in_one_way(value: object, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("value", [None, True, float("nan"), Decimal("Infinity"), b"x", ["a"], {"a": 1}])
def test_what_no_reader_would_understand_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        as_text(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("   ", "is empty", id="blank"),
        pytest.param("a\nb", "a newline at character 2", id="newline"),
        pytest.param("a\rb", "a carriage return", id="carriage-return"),
        pytest.param("a\tb", "a tab", id="tab"),
        pytest.param("a\ud83d", "half of a character", id="lone-surrogate"),
        pytest.param("a     b", "5 spaces in a row", id="five-spaces"),
        pytest.param("x" * 61, "61 characters long; at most 60", id="too-long"),
    ],
)
def test_what_meta_refuses_is_refused_here(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_text(text, 60)


@pytest.mark.parametrize("text", ["x" * 60, "a    b", " a ", "ü 你好 🎉"])
def test_what_meta_takes_passes_unchanged(text: str) -> None:
    assert check_text(text, 60) == text
