"""Text parameters: what becomes text, and which texts WhatsApp takes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_cirrus.api.values import plain

#: Most characters of each place that holds text (Meta, template components).
HEADER_LIMIT = 60
BODY_LIMIT = 1024
URL_SUFFIX_LIMIT = 2000
PAYLOAD_LIMIT = 256
# Meta, coupon code templates, 2026-05; it was 15 until 2025.
COUPON_LIMIT = 20
AUTHENTICATION_CODE_LIMIT = 15

#: Stands where a cleaned text has nothing left: WhatsApp refuses empty parameters.
NOTHING = "-"

_RUN_OF_SPACES = re.compile(r" {5,}")
# The colours of a terminal, as they stand in the output of commands.
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def as_text(value: Any) -> str:
    """
    Return a parameter's value as text: the one place where values become text.

    Text stays as it is; int, float and Decimal are written in full (``1200``, ``19.9``, never ``1E+3``); dates and
    times in ISO 8601, a UUID with dashes. Scalars of numpy, pandas and pyarrow are written as Python's own. Format
    anything else yourself, for the reader's eyes.

    :raises ValueError: None, bool, a number that is not finite, or another type
    """
    if type(value) is str:
        return value
    match plain(value):
        case str() as text:
            return text
        case bool():
            raise ValueError("is a bool; write the text that the recipient is to read.")
        case int() as number:
            return str(number)
        case float() as number if math.isfinite(number):
            return format(Decimal(repr(number)), "f")
        case Decimal() as number if number.is_finite():
            return format(number, "f")
        case datetime() | date() | time() as moment:
            return moment.isoformat()
        case UUID() as name:
            return str(name)
        case None:
            raise ValueError("is None; every parameter of a template needs a value.")
        case float() | Decimal():
            raise ValueError("is not a finite number.")
        case _:
            raise ValueError(f"is of type {type(value).__name__}; write it as text.")


def check_text(text: str, limit: int) -> str:
    """
    Return a text parameter if WhatsApp takes it.

    :param text: the parameter
    :param limit: most characters in this place
    :raises ValueError: empty, too long, or holding what Meta refuses (errors 132000 and 132018)
    """
    # What nearly every text passes: no control character and no half of one is printable.
    if text.isprintable() and len(text) <= limit and "     " not in text and text and not text.isspace():
        return text
    if not text.strip():
        raise ValueError("is empty; WhatsApp refuses empty parameters.")
    for character, name in (("\n", "a newline"), ("\r", "a carriage return"), ("\t", "a tab")):
        if character in text:
            raise ValueError(
                f"holds {name} at character {text.index(character) + 1} of {len(text)}; "
                "WhatsApp refuses it in a parameter: use a space or a comma."
            )
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(
            "holds half of a character (a lone surrogate), which no text can; read it with the right encoding."
        )
    if run := _RUN_OF_SPACES.search(text):
        raise ValueError(
            f"holds {len(run[0])} spaces in a row at character {run.start() + 1}; WhatsApp takes at most 4."
        )
    if len(text) > limit:
        raise ValueError(f"is {len(text)} characters long; at most {limit} fit here.")
    return text


def clean_text(value: Any, limit: int) -> str:
    """
    Return whatever it is as a text parameter that WhatsApp takes: for texts that nobody wrote for it.

    Newlines, tabs and other control characters become spaces, several spaces in a row become one, half a
    character becomes ``?``. What is longer than ``limit`` is cut and ends in ``…``; where nothing is left
    stands :data:`NOTHING`.

    :param value: a text, or what :func:`as_text` takes; anything else as ``str`` writes it, None as nothing
    :param limit: most characters, at least 1
    """
    try:
        text = "" if value is None else as_text(value)
    except ValueError:
        text = str(value)
    return cut(" ".join(without_controls(_COLOURS.sub("", text)).split()) or NOTHING, limit)


def without_controls(text: str) -> str:
    """Return a text with a space for each control character, and ``?`` for each half of a character."""
    return _CONTROLS.sub(" ", text.encode("utf-8", "replace").decode())


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters, the last of them ``…`` where some were left out."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def cut_together(texts: Sequence[str], limit: int) -> list[str]:
    """
    Return texts that together have at most ``limit`` characters; the longest are cut, all to one length.

    :param texts: no more of them than ``limit``
    """
    most = max(map(len, texts), default=0)
    while most > 1 and sum(min(len(text), most) for text in texts) > limit:
        most -= 1
    return [cut(text, most) for text in texts]


def in_numbers(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 message``, ``2 messages``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def closest(written: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """
    Return the known name that a slip was probably meant to be, if any; case does not count.

    :param cutoff: how alike the two must be, from 0 to 1
    """
    # Late, as only an error needs it.
    from difflib import get_close_matches

    lowered = {name.lower().strip(): name for name in known}
    found = get_close_matches(written.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None
