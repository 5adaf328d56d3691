"""Which country is which market of WhatsApp's price list."""

from __future__ import annotations

from collections.abc import Mapping

#: Markets that Meta's price list names one by one (as of 2026): all others are in groups, which change, and which the
#: list does not spell out.
MARKETS: Mapping[str, str] = {
    "AR": "Argentina",
    "BR": "Brazil",
    "CL": "Chile",
    "CO": "Colombia",
    "EG": "Egypt",
    "FR": "France",
    "DE": "Germany",
    "IN": "India",
    "ID": "Indonesia",
    "IL": "Israel",
    "IT": "Italy",
    "MY": "Malaysia",
    "MX": "Mexico",
    "NL": "Netherlands",
    "NG": "Nigeria",
    "PK": "Pakistan",
    "PE": "Peru",
    "RU": "Russia",
    "SA": "Saudi Arabia",
    "ZA": "South Africa",
    "ES": "Spain",
    "TR": "Turkey",
    "AE": "United Arab Emirates",
    "GB": "United Kingdom",
    "US": "North America",
    "CA": "North America",
}
