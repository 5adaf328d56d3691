"""Where Cirrus is and who we are there: the checked settings that both clients share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from airflow_provider_cirrus import __version__
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.exchange import Request
from airflow_provider_cirrus.api.wire import encode_id

DEFAULT_BASE_URL = "https://api.commbox.io"
#: Seconds to wait for a connection, and then for each part of an answer; a whole answer may take twice as long.
DEFAULT_TIMEOUT = 30.0

_VISIBLE_ASCII = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Endpoint:
    """
    A stream of a Cirrus deployment and the token for it.

    :param token: the API token
    :param stream_id: the encrypted stream id, percent-encoded or not
    :param base_url: ``https://host[:port][/path]``; ``http://`` only where the host is this machine
    :param api_version: ``""`` for the plain paths, ``"v2"`` for deployments that serve them under ``/v2``
    :param timeout: seconds
    :param baggage: what the requests are part of, by name: told to nobody but a server on this machine
    :raises InvalidInput: names the setting that cannot be right; the token itself is never shown
    """

    token: str = field(repr=False)
    stream_id: str
    base_url: str = DEFAULT_BASE_URL
    api_version: str = ""
    timeout: float = DEFAULT_TIMEOUT
    baggage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_token(self.token)
        if not isinstance(self.stream_id, str) or not self.stream_id.strip():
            raise InvalidInput("stream_id", "is missing.", hint="Copy the encrypted stream id from the Cirrus console.")
        if encode_id(self.stream_id) in (".", "..") or any(c.isspace() for c in self.stream_id):
            raise InvalidInput("stream_id", f"is no stream id ({len(self.stream_id)} characters, with a space).")
        if self.api_version not in ("", "v2"):
            raise InvalidInput("api_version", f"{self.api_version!r} is unknown.", hint='Leave it empty, or use "v2".')
        if isinstance(self.timeout, bool) or not 0 < self.timeout < 3600:
            raise InvalidInput("timeout", f"{self.timeout!r} is no number of seconds between 0 and 3600.")
        object.__setattr__(self, "base_url", _check_url(self.base_url))

    def url(self, request: Request) -> str:
        """Return the whole address of a request."""
        return self.base_url + request.path

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request but the authorization."""
        always = {
            "Accept": "application/json",
            # What can be unpacked up to a limit.
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"airflow-provider-cirrus/{__version__}",
        }
        # The names of DAGs are nobody else's business.
        if not self.baggage or not is_loopback(urlsplit(self.base_url).hostname or ""):
            return always
        # As W3C Baggage has it.
        return {**always, "Baggage": ",".join(f"{name}={quote(value)}" for name, value in self.baggage.items())}

    @property
    def authorization(self) -> str:
        """The value of the ``Authorization`` header."""
        return f"Bearer {self.token}"

    @property
    def is_plain(self) -> bool:
        """Whether the connection is plain HTTP, which only this machine may be spoken to."""
        return self.base_url.startswith("http://")

    @property
    def secrets(self) -> Sequence[str]:
        """What must not stand in any message, even where a server repeats it."""
        return (self.token,)


def _check_token(token: str) -> None:
    hint = "Copy the API token from the Cirrus console, without 'Bearer'."
    if not isinstance(token, str) or not token.strip():
        raise InvalidInput("token", "is missing.", hint=hint)
    if token.lower().startswith("bearer"):
        raise InvalidInput("token", f"begins with 'Bearer' ({len(token)} characters).", hint=hint)
    if not _VISIBLE_ASCII.fullmatch(token):
        raise InvalidInput(
            "token",
            f"holds a space, a line end or a character beyond ASCII ({len(token)} characters).",
            hint=hint,
        )


def _check_url(url: str) -> str:
    hint = "Give the host as https://api.commbox.io, or as your deployment is called."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # port raises where it is no number
    except ValueError:
        raise InvalidInput("host", "is no address that can be read.", hint=hint) from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("host", f"{parts.scheme or 'no scheme'!r} is no https:// address.", hint=hint)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput("host", "holds more than host, port and path.", hint=hint)
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidInput(
            "host",
            f"http://{host} would send the token in the clear.",
            hint="Use https://; http:// is for this machine only (127.0.0.1, localhost, ::1).",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host, without a port, is this machine by its name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
