"""In which country a number is, by its calling code."""

from __future__ import annotations

#: Of a number whose country nobody can tell, such as that of a satellite phone.
UNKNOWN = "??"
# Digits that tell the country of nearly every number, and beginnings that are remembered: a country has a few thousand.
_TELLING, _REMEMBERED = 7, 100_000
_known: dict[tuple[str, int], str] = {}


def country_of(digits: str) -> str:
    """
    Return the country of a number.

    Numbers that begin alike are taken for those of one country, which is what their first digits are for.

    :param digits: with country code
    :return: ISO 3166, such as ``GB``; :data:`UNKNOWN` where nobody can tell
    """
    beginning = (digits[:_TELLING], len(digits))
    if (found := _known.get(beginning)) is None:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        found = _known[beginning] = _look_up(digits)
    return found


def _look_up(digits: str) -> str:
    # Late: only those pay who ask.
    import phonenumbers

    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return UNKNOWN
    # Of a number that is valid nowhere, the country that most numbers of its code are in.
    main = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    found = phonenumbers.region_code_for_number(parsed) or (main[0] if main else "")
    return found if found.isalpha() else UNKNOWN
