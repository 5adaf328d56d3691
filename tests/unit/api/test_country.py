"""In which country a number is, held against phonenumbers' own tables."""

from __future__ import annotations

import phonenumbers
import pytest

from airflow_provider_cirrus.api import country
from airflow_provider_cirrus.api.country import UNKNOWN, country_of

KINDS = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_country_of_a_number_is_that_of_phonenumbers(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(country, "_known", {})
    for kind in KINDS:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is not None:
            digits = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
            wanted = phonenumbers.region_code_for_number(example)
            # Looked up, and remembered.
            assert [country_of(digits), country_of(digits)] == [wanted, wanted]


def test_a_number_of_no_country_has_none() -> None:
    # A satellite telephone; a code that nobody has; a number that is valid nowhere.
    assert country_of("870773111632") == UNKNOWN
    assert country_of("9991234567") == UNKNOWN
    assert country_of("44100000000") == "GB"


def test_no_more_beginnings_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(country, "_REMEMBERED", 3)
    monkeypatch.setattr(country, "_known", {})
    for number in range(10):
        assert country_of(f"44770090{number}123"[:12]) == "GB"
        assert country_of(f"4477{number}0900123") == "GB"
        assert len(country._known) <= 3
