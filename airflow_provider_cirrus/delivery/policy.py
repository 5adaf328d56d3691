"""The rules that hold a message back before anything leaves; each refusal is the outcome ``suppressed``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of

#: Says of a recipient's digits why they get nothing, or None where no rule is against it.
Screen: TypeAlias = Callable[[str], "str | None"]

_NOT_ALLOWED = "allowed_recipients: the connection does not allow this recipient"
_SEPARATORS = re.compile(r"[\s.()\-]+")


def nobody_is_held_back(digits: str) -> None:
    """Be the screen of a connection without a rule."""


def screen_of(allowed: Any) -> Screen:
    """
    Return the screen for a connection's ``allowed_recipients``.

    :param allowed: numbers or their beginnings, as a list or as text (JSON, or with commas between them); None or
        an empty text: everybody is allowed, an empty list: nobody
    :raises InvalidInput: something that is no number
    """
    if allowed is None or (isinstance(allowed, str) and not allowed.strip()):
        return nobody_is_held_back
    beginnings = tuple(_beginnings(allowed))
    accounts = frozenset(map(account_of, beginnings))

    def screen(digits: str) -> str | None:
        return None if digits.startswith(beginnings) or account_of(digits) in accounts else _NOT_ALLOWED

    return screen


def _beginnings(allowed: Any) -> Sequence[str]:
    entries = allowed
    if isinstance(entries, str):
        try:
            entries = json.loads(entries) if entries.lstrip().startswith("[") else entries.split(",")
        except ValueError:
            entries = None
    if not isinstance(entries, list | tuple):
        raise InvalidInput("allowed_recipients", "is no list of numbers.", hint='Write ["+44 7700 900", "+1 212"].')
    found = []
    for place, entry in enumerate(entries):
        digits = _SEPARATORS.sub("", str(entry)).removeprefix("+")
        # Neither 0 nor 00 begins a number with country code: such an entry would allow nobody, without a word.
        if not (digits.isascii() and digits.isdecimal()) or digits.startswith("0"):
            raise InvalidInput(
                f"allowed_recipients[{place}]",
                f"is no number or beginning of one ({len(str(entry))} characters).",
                hint="Write it with its country code, such as +44 7700 900.",
            )
        found.append(digits)
    return found
