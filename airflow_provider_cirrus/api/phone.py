"""Phone numbers: how they may be written, how they leave, how they are shown."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.values import is_missing, plain

#: How people group digits: spaces (also the no-break kinds), dots, dashes, parentheses.
_SEPARATORS = re.compile(r"[\s.()\-\u2010-\u2015\u00a0\u202f]+")
# What a column of floats leaves of a number; ``+44.7700900123`` has its country code alone before the dot.
_FRACTION = re.compile(r"\+?\d{7,}[.,](?:\d{1,2}|0+)")
# Where a number has a second spelling: the digit that may stand there, by country code.
_EXTRA_DIGIT = {"52": (2, "1"), "54": (2, "9"), "55": (4, "9")}
# Meta's own name for a person to one business: a country's two letters, a dot, digits (sometimes letters).
_USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]+")
_LONG_NUMBER = re.compile(r"\+?\d{8,}")
_SCIENTIFIC = re.compile(r"\+?\d+(?:[.,]\d+)?[eE]\+?\d{1,2}")
_HINT = "Write the whole number with its country code, such as +44 7700 900123."


def to_digits(value: Any, field: str = "to") -> str:
    """
    Return a phone number as Cirrus wants it: digits with country code, no ``+`` and no ``00``.

    A number may be written with a leading ``+``, spaces, dots, dashes or parentheses, or be an int
    (``render_template_as_native_obj`` makes one of a digit string). It is never rewritten otherwise:
    both spellings of a Mexican, Argentine or Brazilian account go out as they came.

    :param value: str or int
    :param field: how errors name the value
    :raises InvalidInput: empty, not a number, without country code, or of a length that cannot be
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal() and _is_plainly_possible(value):
        return value
    text = _as_written(value, field)
    if _USER_ID.fullmatch(text):
        raise InvalidInput(
            field,
            f"is a business-scoped user id ({text[:2]}. and {len(text) - 3} characters), not a phone number.",
            hint="Cirrus sends to phone numbers only: give this person's.",
        )
    if _FRACTION.fullmatch(text):
        # Its dot is no separator: with the 0 behind it the number would be somebody else's.
        raise InvalidInput(
            field, f"looks like a decimal fraction ({_shape(text)}).", hint="Read the column as text, not as numbers."
        )
    if _SCIENTIFIC.fullmatch(text):
        raise InvalidInput(
            field,
            f"is in scientific notation, as spreadsheets write long numbers ({len(text)} characters).",
            hint="Its last digits are lost: format the column as text, and fill it in anew.",
        )
    digits = _SEPARATORS.sub("", text.removeprefix("+"))
    if not digits:
        raise InvalidInput(field, "is empty.", hint=_HINT)
    if not (digits.isascii() and digits.isdecimal()):
        strange = next(c for c in digits if not (c.isascii() and c.isdecimal()))
        kind = "a letter" if strange.isalpha() else f"the character U+{ord(strange):04X}"
        raise InvalidInput(field, f"holds {kind} ({_shape(text)}).", hint=_HINT)
    if digits.startswith("00"):
        raise InvalidInput(
            field, f"starts with 00 ({_shape(text)}).", hint="Leave 00 out: begin with the country code."
        )
    if digits.startswith("0"):
        raise InvalidInput(field, f"has no country code: it starts with 0 ({_shape(text)}).", hint=_HINT)
    _check_possible(digits, field)
    return digits


def mask(number: str) -> str:
    """Return a number for logs and errors: ``+44******0123``. What is too short to mask shows nothing."""
    digits = "".join(c for c in number if c.isdecimal())
    if not number:
        return ""
    return f"+{digits[:2]}******{digits[-4:]}" if len(digits) >= 8 else "+******"


def mask_all(text: str) -> str:
    """Return the text with everything that could be a phone number masked."""
    return _LONG_NUMBER.sub(lambda found: mask(found[0]), text)


def could_be_number(text: str) -> bool:
    """Return whether a text, whatever else stands in it, could hold somebody's number: it has seven digits or more."""
    return sum(map(str.isdecimal, text)) >= 7


def account_of(digits: str) -> str:
    """
    Return one spelling for all the spellings of one WhatsApp account, for comparing only.

    Mexico 52/521, Argentina 54/549 and Brazil's ninth digit have two spellings each; a message leaves
    under the spelling that it came with. Where both are valid numbers of their own, such as a Brazilian
    landline and a mobile number, they are two people's.

    :param digits: as :func:`to_digits` returns them
    """
    if len(digits) not in (12, 13) or digits[:2] not in _EXTRA_DIGIT:
        return digits
    other = other_spelling(digits)
    if other is None or (_is_valid(digits) and _is_valid(other)):
        return digits
    return min(digits, other, key=len)


def spellings_of(digits: str) -> tuple[str, ...]:
    """
    Return all spellings of an account, in one order whichever is given: Mexico, Argentina and Brazil may have two.

    :param digits: as :func:`to_digits` returns them
    """
    other = other_spelling(digits)
    if other is None or account_of(digits) != account_of(other):
        return (digits,)
    return (digits, other) if len(digits) < len(other) else (other, digits)


def other_spelling(digits: str) -> str | None:
    """
    Return a Mexican, Argentine or Brazilian number with the digit that it lacks or without the one too many.

    The two are one account where :func:`account_of` says so; None for every other number.

    :param digits: as :func:`to_digits` returns them
    """
    if len(digits) not in (12, 13) or (extra := _EXTRA_DIGIT.get(digits[:2])) is None:
        return None
    index, digit = extra
    if len(digits) == 12:
        return digits[:index] + digit + digits[index:]
    return digits[:index] + digits[index + 1 :] if digits[index] == digit else None


@cache
def _patterns(country_code: str) -> tuple[re.Pattern[str], ...]:
    """Return what phonenumbers compares a number of one country with: first all numbers, then each kind."""
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(int(country_code))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return ()
    kinds = [metadata.general_desc]
    kinds += [
        metadata.fixed_line,
        metadata.mobile,
        metadata.toll_free,
        metadata.premium_rate,
        metadata.shared_cost,
        metadata.personal_number,
        metadata.voip,
        metadata.pager,
        metadata.uan,
        metadata.voicemail,
    ]
    # Of a kind that has no lengths of its own, numbers are as long as the country's.
    return tuple(
        re.compile(kind.national_number_pattern)
        for kind in kinds
        if kind is not None and kind.national_number_pattern is not None
    )


def _is_valid(digits: str) -> bool:
    """Return what phonenumbers' ``is_valid_number`` says of a number of such a country, at a tenth of its cost."""
    national = digits[2:]
    country, *kinds = _patterns(digits[:2])
    return bool(country.fullmatch(national)) and any(kind.fullmatch(national) for kind in kinds)


def _as_written(value: Any, field: str) -> str:
    value = plain(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in "[{(" and text[-1:] in "]})" and "," in text:
            raise InvalidInput(
                field,
                f"is a list written as text ({len(text)} characters).",
                hint="Pass the list itself: an XComArg such as task.output, or set "
                "render_template_as_native_obj=True on the DAG.",
            )
        return text
    if value is not None and is_missing(value):
        raise InvalidInput(field, "is empty (not a number).", hint=_HINT)
    if isinstance(value, float):
        raise InvalidInput(field, "is a float.", hint="Read the column as text: a float can lose digits of a number.")
    raise InvalidInput(field, f"is of type {type(value).__name__}, not a phone number.", hint=_HINT)


def _check_possible(digits: str, field: str) -> None:
    # What nearly every number passes, at a fiftieth of the cost; all others get the whole check.
    if not _is_plainly_possible(digits):
        _check_closely(digits, field)


def _is_plainly_possible(digits: str) -> bool:
    for width in (1, 2, 3):
        if lengths := _possible_lengths(digits[:width]):
            return len(digits) - width in lengths and digits[width : width + 1] != "0"
    return False


@cache
def _possible_lengths(country_code: str) -> frozenset[int]:
    """Return how many digits may follow a country code; nothing where there is no such code."""
    if country_code.startswith("0"):
        # A number as it is dialled inside its country: as an int, 061 would be 61.
        return frozenset()
    # Late, as it costs 20 to 40 ms, and a DAG without a literal number never needs it.
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(int(country_code))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(country_code), region)
    if metadata is None or metadata.general_desc is None:
        return frozenset()
    return frozenset(metadata.general_desc.possible_length)


def _check_closely(digits: str, field: str) -> None:
    import phonenumbers

    # phonenumbers no longer knows Mexico's 521, which WhatsApp itself still hands out.
    checked = account_of(digits) if digits.startswith("521") else digits
    try:
        parsed = phonenumbers.parse(f"+{checked}", None)
    except phonenumbers.NumberParseException:
        raise InvalidInput(
            field, f"does not begin with a country code that exists ({_shape(digits)}).", hint=_HINT
        ) from None
    national = digits[len(str(parsed.country_code)) :]
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if national.startswith("0") and written != f"+{checked}":
        raise InvalidInput(
            field,
            f"has a 0 between country code and number ({_shape(digits)}).",
            hint="Leave that 0 out: it is dialled inside the country only.",
        )
    # is_possible, not is_valid: the latter refuses numbers that WhatsApp hands out.
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    if reason in (
        phonenumbers.ValidationResult.IS_POSSIBLE,
        phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY,
    ):
        if reason == phonenumbers.ValidationResult.IS_POSSIBLE:
            return
        problem = "too short: the area code is missing"
    elif reason == phonenumbers.ValidationResult.TOO_SHORT:
        problem = "too short"
    elif reason == phonenumbers.ValidationResult.TOO_LONG:
        problem = "too long"
    else:
        problem = "of a length that does not exist there"
    raise InvalidInput(field, f"is {problem} for country code {parsed.country_code} ({_shape(digits)}).", hint=_HINT)


def _shape(text: str) -> str:
    """Say what a rejected number looks like without giving it away."""
    digits = sum(c.isdecimal() for c in text)
    return f"{mask(text)}, {digits} digits" if digits >= 8 else f"{len(text)} characters, {digits} digits"
