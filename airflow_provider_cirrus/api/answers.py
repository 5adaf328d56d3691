"""What Cirrus answers, whatever it was asked: the envelope around it, and errors."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.exchange import Response
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.results import Envelope
from airflow_provider_cirrus.api.text import without_controls

#: Most seconds that a server's Retry-After counts for, whatever it says: beyond a day it is more likely an error.
LONGEST_RETRY_AFTER = 86_400.0
# Lists and objects within each other; nothing that is documented has more than a tenth of it.
_DEPTH = 64

# Characters of a reason that are kept, and those that are looked at for it.
_REASON, _LOOKED_AT = 300, 4_000
# Names of an object that are told, and characters of each.
_NAMES, _NAME = 8, 40
_V2_HINT = 'If the deployment serves the API under /v2, set api_version to "v2" in the connection.'
_TAG = re.compile(r"<[^<>]*>")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def error_for(response: Response, *, hide: Sequence[str] = ()) -> CirrusError:
    """Return the error that an answer without a result means, with what to do about it."""
    status = response.status
    said = quoted(envelope_of(response), response, hide)
    wait = retry_after(response.headers)
    if status == 400:
        if "missing parameter template_name" in said.lower():
            return errors.WrongVersion(f"Cirrus refused the request (400){said}.", hint=_V2_HINT, status=status)
        return errors.BadRequest(
            f"Cirrus refused the request (400){said}.",
            hint="Check the template's name, language and parameters in the console.",
            status=status,
        )
    if status == 401:
        return errors.Unauthorized(
            "Cirrus did not accept the token (401).",
            hint="Put a current token into the connection's password; a revoked one stops working after 30 days.",
            status=status,
        )
    if status == 404:
        return errors.NotFound(
            f"Cirrus does not know this address (404){said}.",
            hint=f"Check the stream id and the host of the connection. {_V2_HINT}",
            status=status,
        )
    if status == 429:
        asked = f"; it asks to wait {wait:.0f} s" if wait is not None else ""
        if wait == LONGEST_RETRY_AFTER:
            asked = "; it asks to wait for a day or longer, of which a day counts"
        return errors.Throttled(
            f"Cirrus asks to slow down (429){asked}.",
            hint="Nothing of this request was sent; lower messages_per_second or try again later.",
            status=status,
            retry_after=wait,
        )
    if 300 <= status < 400:
        return errors.UnreadableAnswer(
            f"The host redirects elsewhere ({status}), which is not followed.",
            hint="Put the address that it redirects to into the connection's host, if you trust it.",
            status=status,
        )
    if status >= 500:
        return errors.ServerError(
            f"Cirrus failed ({status}){said}.",
            hint="Whether it did anything cannot be known from here; look in the console.",
            status=status,
            retry_after=wait,
        )
    return errors.UnreadableAnswer(
        f"Cirrus answered with the undocumented status {status}{said}.",
        hint="Check the host, and any proxy in between.",
        status=status,
    )


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """
    Return the seconds that ``Retry-After`` asks for, in either of its forms, or None where it is neither.

    At most :data:`LONGEST_RETRY_AFTER`: years and milliseconds stand there, too.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        # Of thousands of digits, float makes infinity.
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, OverflowError):
        # What has the form of a date and is none: a year of many digits, a zone of many hours.
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the server's own time in Unix seconds, by the header ``Date``; None where it tells none."""
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def envelope_of(response: Response) -> Envelope | None:
    """Return the envelope around an answer; None where it has none."""
    try:
        return Envelope.model_validate(_parse(response.body))
    # Not JSON, or not an object (pydantic's error is a ValueError, too), a number of thousands of digits, or nested
    # without end.
    except (ValueError, RecursionError):
        return None


def _parse(body: bytes) -> Any:
    """
    Return what stands in JSON, without half characters and NULs: no database and no file takes those.

    :raises ValueError: it is no JSON, or nested more deeply than any answer
    """
    text = body.decode(json.detect_encoding(body), "replace")
    found = json.loads(text)
    if text.count("[") + text.count("{") > _DEPTH and _is_deeper(found, _DEPTH):
        raise ValueError("nested too deeply")
    # Only an escape can stand for one of them.
    return _mended(found) if "\\u" in text else found


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    return value


def data_of(response: Response, hide: Sequence[str]) -> Any:
    """
    Return the data of a good answer.

    :param hide: secrets that no error may quote
    :raises CirrusError: it is none
    """
    if response.status != 200:
        raise error_for(response, hide=hide)
    envelope = envelope_of(response)
    if envelope is None:
        raise unexpected(response, "JSON", hide)
    return envelope.data


def unexpected(response: Response, wanted: str, hide: Sequence[str]) -> CirrusError:
    """Return the error for an answer that is not what was asked for."""
    return errors.UnreadableAnswer(
        f"Cirrus answered {response.status}, but not with {wanted}{quoted(None, response, hide)}.",
        hint="Check that the host is Cirrus itself and not a proxy's page.",
        status=response.status,
    )


def quoted(envelope: Envelope | None, response: Response, hide: Sequence[str]) -> str:
    """
    Return what an answer says, as the end of a sentence, without secrets and whole numbers.

    Of JSON only what Cirrus says of the request: its data may be a customer's name, address and words.
    """
    text = envelope.description if envelope else None
    if not text:
        try:
            text = _said_in(_parse(response.body))
        except (ValueError, RecursionError):
            text = response.body.decode("utf-8", "replace")
    text = clean(text, hide).rstrip(". ")
    return f": {mask_all(text)}" if text else ""


def _said_in(found: Any) -> str:
    """Return what JSON says of a request, or else what it looks like."""
    if isinstance(found, Mapping):
        for name in ("message", "error", "detail", "title"):
            if isinstance(text := found.get(name), str) and text.strip() and found.get("data") is None:
                return text
    return shape_of(found)


def shape_of(value: Any) -> str:
    """Return what a value of JSON looks like, and nothing of what stands in it."""
    match value:
        case dict():
            names = [name if name.isidentifier() and len(name) <= _NAME else "…" for name in list(value)[:_NAMES]]
            more = ", …" if len(value) > _NAMES else ""
            return f"an object with {', '.join(names)}{more}" if names else "an empty object"
        case list():
            return f"a list of {len(value)}" + (f", the first {shape_of(value[0])}" if value else "")
        case str():
            return f"a text of {len(value)} characters"
        case None:
            return "null"
        case _:
            return f"a {type(value).__name__}"


def clean(text: str, hide: Sequence[str]) -> str:
    """Return a text of somebody else's as it may be shown: short, in one line, without secrets."""
    for secret in hide:
        text = text.replace(secret, "***")
    text = text[:_LOOKED_AT]
    if text.lstrip().startswith("<"):
        # A proxy's page: its words are worth more than its tags, and its title says what its heading says.
        parts = [html.unescape(part).strip() for part in _TAG.split(text)]
        text = " ".join(dict.fromkeys(part for part in parts if part))
    text = " ".join(without_controls(text).split())
    return text if len(text) <= _REASON else f"{text[:_REASON]}…"
