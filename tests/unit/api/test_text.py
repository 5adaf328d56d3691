from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from airflow_provider_cirrus.api.text import as_text, check_text, clean_text, cut_together


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
        pytest.param(UUID(int=1), "00000000-0000-0000-0000-000000000001", id="uuid"),
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a\nb\r\n\tc", "a b c", id="newlines-and-tabs"),
        pytest.param("a\u2028b\u00a0\u00a0c", "a b c", id="separators-of-unicode"),
        pytest.param("  a      b ", "a b", id="runs-of-spaces"),
        pytest.param("a\x00b\x7fc", "a b c", id="control-characters"),
        pytest.param("\x1b[1;31mred\x1b[0m", "red", id="colours-of-a-terminal"),
        pytest.param("a\ud83db", "a?b", id="lone-surrogate"),
        pytest.param("", "-", id="empty"),
        pytest.param(" \n", "-", id="blank"),
        pytest.param(None, "-", id="none"),
        pytest.param(ValueError("a\nb"), "a b", id="exception"),
        pytest.param(1e16, "10000000000000000", id="number-in-full"),
        pytest.param("x" * 20, "x" * 20, id="just-fits"),
        pytest.param("x" * 21, "x" * 19 + "…", id="too-long"),
        pytest.param("x" * 18 + " yyy", "x" * 18 + "…", id="no-space-before-the-cut"),
    ],
)
def test_any_text_can_be_cleaned(value: object, text: str) -> None:
    assert clean_text(value, 20) == text
    assert check_text(text, 20) == text


def test_the_longest_texts_are_cut_so_that_all_fit_together() -> None:
    texts = cut_together(["dag", "x" * 500, "y" * 300, "z" * 100], 400)
    assert sum(map(len, texts)) <= 400
    assert (texts[0], texts[3]) == ("dag", "z" * 100)
    assert len(texts[1]) == len(texts[2]) > 140
    assert cut_together(["a", "b"], 2) == ["a", "b"]
    assert cut_together([], 2) == []
