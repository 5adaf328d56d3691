"""Time zones: by their names, and by the number of a recipient."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import spellings_of
from airflow_provider_cirrus.api.text import closest
from airflow_provider_cirrus.delivery.rules.values import shown

# What the files of zones hold beside zones of the IANA: it depends on the machine, or counts leap seconds.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})


def zones_of(digits: str) -> tuple[str, ...]:
    """
    Return the IANA zones in which the owner of a number may be; nothing where the number tells none.

    A number of an area is in the zones of that area, any other (most mobile and all toll-free numbers, and those that
    phonenumbers does not know) in all zones of its country code. Both spellings of an account have the same zones.

    :param digits: as :func:`~airflow_provider_cirrus.api.phone.to_digits` returns them
    """
    everywhere = _zones_of_country(digits[:3])
    spellings = spellings_of(digits)
    # Nearly all countries: no kind of number tells more than the country does.
    if len(everywhere) < 2 or (len(spellings) == 1 and _zones_of_prefix(digits) == everywhere):
        return everywhere
    found = [zones for spelling in spellings if (zones := _zones_of_area(spelling))]
    if len(found) == 1:
        return found[0]
    return tuple(sorted({zone for zones in found for zone in zones})) or everywhere


def _zones_of_prefix(digits: str) -> tuple[str, ...]:
    # Numbers that are the same up to where the longest entry of their country ends are in the same zones.
    return _zones_of_beginning(digits[: _longest_prefixes().get(_country_code(digits), 1)])


@lru_cache(maxsize=100_000)
def _zones_of_beginning(digits: str) -> tuple[str, ...]:
    from phonenumbers.tzdata import TIMEZONE_DATA

    prefixes = (digits[:width] for width in range(len(digits), 0, -1))
    return next((TIMEZONE_DATA[prefix] for prefix in prefixes if prefix in TIMEZONE_DATA), ())


@cache
def _longest_prefixes() -> dict[str, int]:
    """Return the length of the longest entry of each country code."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    found: dict[str, int] = {}
    for prefix in TIMEZONE_DATA:
        code = _country_code(prefix)
        found[code] = max(found.get(code, 1), len(prefix))
    return found


@cache
def _zones_of_country(digits: str) -> tuple[str, ...]:
    """Return the zones of the country of a number's first three digits."""
    return _zones_of_prefix(_code_of(digits))


@cache
def _has_areas_of_mobiles(code: str) -> bool:
    import phonenumbers

    return phonenumbers.is_number_type_geographical(phonenumbers.PhoneNumberType.MOBILE, int(code))


def _zones_of_area(digits: str) -> tuple[str, ...]:
    """Return the zones of the area that a number belongs to; nothing where it is not known to belong to one."""
    code = _country_code(digits)
    national = digits[len(code) :]
    # Two short cuts, as asking for the kind of a number costs ten times as much. In +1 all that looks like a fixed
    # line belongs to its area; elsewhere nothing else does, but for the few countries where mobile numbers do.
    looks_fixed = _fixed_lines(code).fullmatch(national)
    if code == "1" and looks_fixed:
        return _zones_of_prefix(digits)
    if not looks_fixed and not _has_areas_of_mobiles(code):
        return ()
    import phonenumbers
    from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

    number = phonenumbers.PhoneNumber(country_code=int(code), national_number=int(national or 0))
    if zeros := len(national) - len(national.lstrip("0")):
        number.italian_leading_zero, number.number_of_leading_zeros = True, zeros
    zones = time_zones_for_number(number)
    return () if UNKNOWN_TIMEZONE in zones else zones


@cache
def _fixed_lines(code: str) -> re.Pattern[str]:
    """Return what the numbers of fixed lines match, in all the regions of a country code."""
    import phonenumbers

    patterns = []
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        if metadata is not None and metadata.fixed_line is not None:
            patterns.append(f"(?:{metadata.fixed_line.national_number_pattern})")
    return re.compile("|".join(patterns))


def _country_code(digits: str) -> str:
    return _code_of(digits[:3])


@cache
def _code_of(digits: str) -> str:
    """Return the country code of a number's first three digits."""
    import phonenumbers

    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((digits[:width] for width in (1, 2, 3) if int(digits[:width] or 0) in codes), "")


def zone_named(name: Any, field: str) -> ZoneInfo:
    """
    Return a time zone by its name.

    :param field: how errors name it
    :raises InvalidInput: there is none
    """
    hint = "Write a name of the IANA, such as Europe/London."
    if not isinstance(name, str):
        raise InvalidInput(field, f"is of type {type(name).__name__}, not a time zone.", hint=hint)
    if (found := _load_zone(name)) is None:
        close = _close_zone(name)
        raise InvalidInput(
            field, f"there is no time zone {shown(name)}.", hint=f"Did you mean {close}?" if close else hint
        )
    return found


@lru_cache(maxsize=1024)
def _load_zone(name: str) -> ZoneInfo | None:
    if name.partition("/")[0] in _NO_ZONES:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A folder, or no name of a file at all, is no zone either.
        return None


@lru_cache(maxsize=256)
def _close_zone(name: str) -> str:
    return closest(name.replace(" ", "_"), available_timezones(), cutoff=0.8) or ""
