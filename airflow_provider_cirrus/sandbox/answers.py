"""The answers of the API: the documented envelope, and pages where no body is documented."""

from __future__ import annotations

import html
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

NO_DATA: Final = object()
"""Marks an answer whose envelope has no ``data`` key at all, which is not the same as ``null``."""


def iso_utc(nanoseconds: int | None = None) -> str:
    """
    Return an instant as the vendor writes it: ISO-8601, UTC, seven decimals.

    :param nanoseconds: nanoseconds since the Unix epoch; now if not given.
    """
    seconds, rest = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 100:07d}Z"


@dataclass
class Answer:
    """
    What the API would say, before a fault may change it.

    :param status: HTTP status, repeated as text inside the envelope.
    :param data: the payload, or :data:`NO_DATA`.
    :param description: a sentence for a person.
    :param page: answer with an HTML page, where no JSON body is documented.
    """

    status: int = 200
    data: Any = NO_DATA
    description: str = "OK"
    page: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return the answer as an HTTP response."""
        if self.page:
            return html_response(self.status, self.description, self.headers)
        envelope: dict[str, Any] = {
            "status": str(self.status),
            "description": self.description,
            "response_time": iso_utc(),
        }
        if self.data is not NO_DATA:
            envelope["data"] = self.data
        return json_response(envelope, self.status, self.headers)


def bad_request(description: str) -> Answer:
    """Return a 400 without data, as for a request that the API could not read."""
    return Answer(400, description=description)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``content`` as a UTF-8 JSON response."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:
        # Half a character, which only an escape can stand for.
        body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return Response(
        body,
        status,
        headers,
        media_type="application/json; charset=utf-8",
    )


def html_response(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return a small HTML error page, like those of a gateway in front of the API."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    title = f"{status} {phrase}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{html.escape(text)}</p></body></html>\n"
    return Response(page.encode("utf-8", "replace"), status, headers, media_type="text/html; charset=utf-8")
