"""Whom a notice is for, however that is written; one slip must not leave all the others in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import from_text


def numbers_in(to: Any) -> list[Any]:
    """Return what stands in ``to``: people write several numbers with a comma, and templates make text of lists."""
    given = from_text(to)
    if isinstance(given, str):
        given = [part for part in re.split(r"[,;\n]", given) if part.strip()] or given
    if isinstance(given, str | int | float | Mapping) or not isinstance(given, Iterable):
        return [given]
    return list(given)


def good_and_wrong(to: Any) -> tuple[list[Any], list[InvalidInput]]:
    """
    Return whom to tell, and what is wrong with the others.

    :raises InvalidInput: there is nobody to tell
    """
    from airflow_provider_cirrus.delivery.audience.messages import check_recipients

    given = numbers_in(to)
    good: list[Any] = []
    wrong: list[InvalidInput] = []
    for place, number in enumerate(given):
        try:
            check_recipients(number)
            good.append(number)
        except InvalidInput as error:
            wrong.append(InvalidInput(f"to[{place}]", error.problem, hint=error.hint))
    if not good:
        check_recipients(given)
    return good, wrong
