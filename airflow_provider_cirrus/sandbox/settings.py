"""What a sandbox was started with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a well-known value for a local tool, no secret
DEFAULT_STREAM_ID = "hSandbox_streamID_001Aw=="
DEFAULT_PLAIN_STREAM_ID = 40001
DEFAULT_PORT = 8787
DEFAULT_KEEP = 10_000

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

API_VERSIONS = ("any", "", "v2")
CONTACT_FORMATS = ("valid", "contacts")
LIST_BY = ("created", "updated")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Options of one sandbox, checked.

    :param token: the bearer token that it accepts.
    :param stream_id: the encrypted stream ID; taken plain or URL-encoded, kept plain.
    :param plain_stream_id: the numeric ID of the same stream, accepted by ``/streams/…``.
    :param messages_per_second: most messages accepted within any one second; ``None`` for no limit.
    :param api_version: which prefix takes the send body: ``"any"``, ``""`` (none) or ``"v2"``.
    :param contact_format: form of the contact answer: ``"valid"``, or ``"contacts"`` as older deployments.
    :param accept_any_media: do not refuse media IDs that were never uploaded here.
    :param list_by: the time by which conversations are listed: ``"created"`` or ``"updated"``.
    :param keep: how many messages, requests and uploads are remembered.
    :param keep_for: seconds for which they are remembered; ``None``: for as long as there is room.
    :param templates: the folder of the definitions by which messages are shown; ``None``: by their parameters.
    :param data: a file that remembers them when the sandbox has ended; ``None``: nothing does.
    :param webhook: an address that is told of each message and each answer, as JSON; ``None``: nobody is.
    :raises ValueError: an option has a value that makes no sense.
    """

    token: str = DEFAULT_TOKEN
    stream_id: str = DEFAULT_STREAM_ID
    plain_stream_id: int = DEFAULT_PLAIN_STREAM_ID
    messages_per_second: int | None = None
    api_version: str = "any"
    contact_format: str = "valid"
    accept_any_media: bool = False
    list_by: str = "created"
    keep: int = DEFAULT_KEEP
    keep_for: float | None = None
    templates: str | None = None
    data: str | None = None
    webhook: str | None = None

    def __post_init__(self) -> None:
        # The vendor's console shows IDs already encoded; people paste either form.
        object.__setattr__(self, "stream_id", unquote(self.stream_id, errors="strict"))
        if not self.token or not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("token must be printable ASCII without spaces: it travels in an HTTP header")
        if not self.stream_id:
            raise ValueError("stream_id must not be empty")
        if self.messages_per_second is not None and self.messages_per_second < 1:
            raise ValueError("messages_per_second must be at least 1")
        if self.api_version not in API_VERSIONS:
            raise ValueError(f"api_version must be one of {', '.join(map(repr, API_VERSIONS))}")
        if self.contact_format not in CONTACT_FORMATS:
            raise ValueError(f"contact_format must be one of {', '.join(map(repr, CONTACT_FORMATS))}")
        if self.list_by not in LIST_BY:
            raise ValueError(f"list_by must be one of {', '.join(map(repr, LIST_BY))}")
        if self.keep < 1:
            raise ValueError("keep must be at least 1")
        if self.keep_for is not None and not 0 < self.keep_for < math.inf:
            raise ValueError("keep_for must be seconds, more than 0")
        if self.webhook is not None and urlsplit(self.webhook).scheme not in ("http", "https"):
            raise ValueError("webhook must be an address that begins with http:// or https://")
        if self.templates is not None and not Path(self.templates).is_dir():
            raise ValueError(f"templates is no folder: {self.templates}")
