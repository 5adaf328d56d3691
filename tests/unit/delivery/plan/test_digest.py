"""Whether two audiences are the same, and about by how much they differ."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.plan.digest import Digest

ELEMENTS = st.lists(st.binary(min_size=1, max_size=8), max_size=60)


def digest(*elements: bytes) -> Digest:
    made = Digest()
    for element in elements:
        made.add(element)
    return made


@given(ELEMENTS, st.randoms())
def test_the_order_does_not_count(elements: list[bytes], chance: random.Random) -> None:
    other = elements.copy()
    chance.shuffle(other)
    assert digest(*elements) == digest(*other)
    assert digest(*elements).differs_by(digest(*other)) == 0


@given(ELEMENTS, st.binary(min_size=1, max_size=8))
def test_one_more_is_seen_even_where_it_is_there_already(elements: list[bytes], one: bytes) -> None:
    assert digest(*elements).differs_by(digest(*elements, one)) == 1
    assert digest(*elements, one).differs_by(digest(*elements)) == 1


@given(ELEMENTS)
def test_a_digest_is_its_text(elements: list[bytes]) -> None:
    made = digest(*elements)
    assert Digest.of_text(made.as_text()) == made
    assert made.as_text().isascii()
    assert len(made.as_text()) < 3_000


@pytest.mark.parametrize("differing", [2, 10, 100, 1_000, 20_000])
def test_how_many_differ_is_known_within_a_third(differing: int) -> None:
    common = [b"common%d" % number for number in range(2_000)]
    worst = 0.0
    for world in range(5):
        gone = [b"gone%d-%d" % (world, number) for number in range(differing // 2)]
        new = [b"new%d-%d" % (world, number) for number in range(differing - differing // 2)]
        found = digest(*common, *gone).differs_by(digest(*common, *new))
        worst = max(worst, abs(found - differing) / differing)
    assert worst <= (0 if differing <= 2 else 0.35)


@pytest.mark.parametrize("text", ["", "x", None, 7, base64.b64encode(b"short").decode(), "é" * 2744])
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="approved: is no plan"):
        Digest.of_text(text)
