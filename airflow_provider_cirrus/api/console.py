"""Pages of the Cirrus console, where people work."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.wire import encode_id

#: Where the vendor's own console is.
DEFAULT_CONSOLE_URL = "https://manage.commbox.io"

_HINT = f"Give it as {DEFAULT_CONSOLE_URL}, or leave it empty."


def conversation_url(object_id: str | int, console_url: str | None = None) -> str:
    """
    Return the address of a conversation's page.

    :param object_id: as an outcome or a conversation has it
    :param console_url: ``https://host[:port][/path]``, also ``http://``; None or empty: the vendor's console
    :raises InvalidInput: the console's address cannot be right
    """
    base = _checked(str(console_url or "")) or DEFAULT_CONSOLE_URL
    return f"{base}/widget/object/{encode_id(str(object_id))}"


def _checked(url: str) -> str:
    """Return the address without a slash at its end."""
    url = url.strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # port raises where it is no number
    except ValueError:
        raise InvalidInput("console_url", "is no address that can be read.", hint=_HINT) from None
    # A browser will open it: nothing that runs as a script, and no password in it.
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("console_url", f"{parts.scheme or 'no scheme'!r} is no https:// address.", hint=_HINT)
    if parts.username or parts.password or parts.query or parts.fragment or any(c.isspace() for c in url):
        raise InvalidInput("console_url", "holds more than host, port and path.", hint=_HINT)
    return url.rstrip("/")
