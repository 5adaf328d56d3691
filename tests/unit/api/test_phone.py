from __future__ import annotations

import random

import phonenumbers
import pytest

from airflow_provider_cirrus.api import phone
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of, mask, mask_all, other_spelling, spellings_of, to_digits


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        pytest.param("+447700900123", "447700900123", id="plus"),
        pytest.param("447700900123", "447700900123", id="digits"),
        pytest.param(447700900123, "447700900123", id="int-from-native-rendering"),
        pytest.param("  +44 7700 900 123 ", "447700900123", id="spaces"),
        pytest.param("+1 (202) 555-0143", "12025550143", id="parentheses-and-dash"),
        pytest.param("+1.202.555.0143", "12025550143", id="dots"),
        pytest.param("+44.7700900123", "447700900123", id="a-dot-after-the-country-code"),
        pytest.param("+44\u00a07700\u2011900\u2013123", "447700900123", id="no-break-space-and-typographic-dashes"),
        pytest.param("+39 06 1234 5678", "390612345678", id="italy-keeps-its-leading-zero"),
        pytest.param("+52 1 55 1234 5678", "5215512345678", id="mexico-with-1-goes-out-as-it-came"),
        pytest.param("+52 55 1234 5678", "525512345678", id="mexico-without-1"),
        pytest.param("+54 9 11 2345-6789", "5491123456789", id="argentina-with-9"),
    ],
)
def test_a_number_leaves_as_digits(written: object, digits: str) -> None:
    assert to_digits(written) == digits


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param(" + ", "is empty", id="only-signs"),
        pytest.param("+44 7700 90O 123", "a letter", id="letter-O-for-zero"),
        pytest.param("+44*7700900123", "U+002A", id="strange-character"),
        pytest.param("٤٤٧٧٠٠٩٠٠١٢٣", "U+0664", id="digits-of-another-script"),
        pytest.param("07700 900123", "no country code", id="national"),
        pytest.param("0044 7700 900123", "starts with 00", id="double-zero"),
        pytest.param("+44 (0) 7700 900123", "a 0 between country code and number", id="trunk-zero"),
        pytest.param("+44 7700", "too short", id="too-short"),
        pytest.param("+44 7700 900123 456", "too long", id="too-long"),
        pytest.param("+999 123456789", "country code", id="no-such-country"),
        pytest.param(447700900123.0, "is a float", id="float"),
        pytest.param("4915112345678.0", "a decimal fraction", id="float-as-text"),
        pytest.param("+4915112345678.00", "a decimal fraction", id="float-as-text-with-a-plus"),
        pytest.param("4915112345678,0", "a decimal fraction", id="float-as-text-with-a-comma"),
        pytest.param("0612345678", "no country code", id="national-digits-only"),
        pytest.param("0447700900123", "no country code", id="zero-before-the-country-code"),
        pytest.param("US.1349200112233", "a business-scoped user id", id="user-id"),
        pytest.param(True, "of type bool", id="bool"),
        pytest.param(None, "of type NoneType", id="none"),
        pytest.param("['447700900123', '447700900124']", "list written as text", id="list-rendered-to-text"),
    ],
)
def test_what_is_no_number_is_refused_with_its_shape(written: object, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        to_digits(written, "to[3]")
    assert caught.value.field == "to[3]"
    assert problem in str(caught.value)
    assert "7700900123" not in str(caught.value), "a whole number stands in the error"


def test_masking_keeps_country_and_last_four() -> None:
    assert mask("447700900123") == "+44******0123"
    assert mask("12") == "+******"
    assert mask_all("no user +447700900123, code 131026") == "no user +44******0123, code 131026"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("5215512345678", "525512345678", id="mexico"),
        pytest.param("5496707050761", "546707050761", id="argentina"),
        pytest.param("5511987654321", "551187654321", id="brazil"),
    ],
)
def test_two_spellings_are_one_account(one: str, other: str) -> None:
    assert account_of(one) == account_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("5511934567890", "551134567890", id="a-mobile-and-a-landline-of-brazil"),
        pytest.param("5491123456789", "541123456789", id="argentina"),
    ],
)
def test_two_numbers_that_are_valid_both_are_two_accounts(one: str, other: str) -> None:
    assert account_of(one) != account_of(other)
    assert spellings_of(one) == (one,)
    assert spellings_of(other) == (other,)


@pytest.mark.parametrize("country_code", ["52", "54", "55"])
def test_two_spellings_are_one_account_unless_both_are_valid_numbers(country_code: str) -> None:
    numbers = random.Random(11)
    merged = apart = 0
    for _ in range(3000):
        digits = f"{country_code}{numbers.randrange(10**9, 10**11)}"
        other = other_spelling(digits)
        if other is None:
            assert spellings_of(digits) == (digits,)
            continue
        assert other_spelling(other) == digits
        both = all(is_valid(one) for one in (digits, other))
        assert (account_of(digits) == account_of(other)) is not both, digits
        assert spellings_of(digits) == spellings_of(other) or both
        merged += not both
        apart += both
    assert merged > 100
    assert apart > 5 or country_code == "52"


def is_valid(digits: str) -> bool:
    """Return what phonenumbers says, of the number as it stands: it may leave out what it takes for a prefix."""
    number = phonenumbers.parse(f"+{digits}")
    as_it_stands = f"{number.country_code}{number.national_number}" == digits
    return as_it_stands and phonenumbers.is_valid_number(number)


def test_other_countries_have_one_spelling() -> None:
    assert account_of("447700900123") == "447700900123"


def test_the_short_way_takes_no_number_that_the_long_one_refuses() -> None:
    numbers = random.Random(7)
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    wrong = []
    for _ in range(6000):
        digits = f"{numbers.choice(codes)}{numbers.randrange(10 ** numbers.randint(4, 12))}"
        if phone._is_plainly_possible(digits):
            try:
                phone._check_closely(digits, "to")
            except InvalidInput as error:
                wrong.append((digits, str(error)))
    assert wrong == []


def verdict(written: str) -> str:
    try:
        return to_digits(written)
    except InvalidInput as error:
        return error.problem.partition("(")[0]


def test_digits_alone_get_the_verdict_of_every_way_in_which_a_number_is_spelt() -> None:
    """Over the examples of phonenumbers of every region and kind, in all of its formats."""
    kinds = [kind for kind in phonenumbers.PhoneNumberType.values() if kind != phonenumbers.PhoneNumberType.UNKNOWN]
    formats = [
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    ]
    examples = [
        number
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in kinds
        if (number := phonenumbers.example_number_for_type(region, kind)) is not None
    ]
    assert len(examples) > 1_000
    wrong = []
    for number in examples:
        for how in formats:
            spelt = phonenumbers.format_number(number, how)
            digits = "".join(c for c in spelt if c.isdecimal())
            plain = spelt.replace(" ", "").replace("-", "").replace("(", "").replace(")", "")
            # What phonenumbers writes between digits and is no separator, such as a slash, is refused either way.
            if plain.removeprefix("+").isdecimal() and verdict(spelt) != verdict(digits):
                wrong.append((phonenumbers.region_code_for_number(number), how))
    assert wrong == []
