"""Which call a path stands for, read from the path as it came over the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

OPERATIONS = ("send", "upload", "campaign", "validate", "object", "objects", "availability", "status")


@dataclass(frozen=True)
class Route:
    """
    One call of the API.

    :param operation: one of :data:`OPERATIONS`.
    :param versioned: whether the path began with ``/v2``.
    :param stream: the stream ID, decoded exactly once; empty where the path names none.
    :param item: a phone number or an object ID, decoded exactly once.
    """

    operation: str
    method: str
    versioned: bool = False
    stream: str = ""
    item: str = ""


def find_route(raw_path: bytes) -> Route | None:
    """
    Return the call that ``raw_path`` stands for, ``None`` if there is none.

    The path is split before it is decoded: an ID that holds an encoded slash is one segment, and an ID
    that was encoded twice stays visibly wrong.
    """
    decoded = [_decode_once(part) for part in raw_path.split(b"/")[1:]]
    segments = [part for part in decoded if part is not None]
    if len(segments) != len(decoded) or not all(segments):
        return None
    versioned = segments[0] == "v2"
    match segments[1:] if versioned else segments:
        case ["whatsapp", "sendtemplatedmessage", stream]:
            return Route("send", "POST", versioned, stream)
        case ["whatsapp", "uploadmedia", stream]:
            return Route("upload", "POST", versioned, stream)
        case ["whatsapp", "campaign"]:
            return Route("campaign", "POST", versioned)
        case ["whatsapp", "validatecontact", stream, number]:
            return Route("validate", "GET", versioned, stream, number)
        case ["streams", stream, "objects"]:
            return Route("objects", "GET", versioned, stream)
        case ["streams", stream, "objects", object_id]:
            return Route("object", "GET", versioned, stream, object_id)
        case ["streams", stream, "streamavailability"]:
            return Route("availability", "GET", versioned, stream)
        case ["core", "systemstatus"]:
            return Route("status", "GET", versioned)
        case _:
            return None


def _decode_once(segment: bytes) -> str | None:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", segment):
        return None
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        return None
