"""
What can go wrong between us and Cirrus, sorted by the one question that matters: may it be repeated?

The tree::

    CirrusError
    ├── InvalidInput         we refused it; nothing left this machine
    ├── NotConnected         no connection, so nothing left this machine
    │   └── TlsFailed        the host is not who it should be
    ├── Refused              the server answered, and certainly did nothing
    │   ├── BadRequest       400
    │   │   └── WrongVersion the address takes another version's body
    │   ├── Unauthorized     401
    │   ├── NotFound         404
    │   └── Throttled        429
    └── Ambiguous            it may or may not have happened
        ├── NoAnswer         time-out, dropped connection
        ├── ServerError      5xx
        └── UnreadableAnswer anything else that we cannot read
"""

from __future__ import annotations

import re
from enum import Enum


class CirrusError(Exception):
    """
    A call to Cirrus that did not succeed.

    :param message: what happened, for a person; never a token, never a whole phone number
    :param hint: what to do about it
    :param status: HTTP status, where there was an answer
    :param retry_after: seconds that the server asked us to wait, where it did
    """

    #: True only where the request certainly had no effect.
    not_sent = False
    #: True where the same request may succeed later without anybody changing anything.
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.message = message
        self.hint = hint
        self.status = status
        self.retry_after = retry_after


class InvalidInput(CirrusError, ValueError):
    """
    Something that we were given cannot be sent; nothing was.

    :param field: the argument that is wrong, such as ``body[1]``
    :param problem: what is wrong with it, and the shape of the value, never the value of a secret
    :param hint: the remedy
    """

    not_sent = True

    def __init__(self, field: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{field}: {problem}", hint=hint)
        self.field = field
        self.problem = problem


class NotConnected(CirrusError):
    """No connection came about, so nothing was sent."""

    not_sent = True
    retryable = True


class TlsFailed(NotConnected):
    """The TLS handshake failed: wrong host, plain HTTP, or a certificate that is not trusted."""

    retryable = False


class Refused(CirrusError):
    """The server refused the request as a whole and did nothing."""

    not_sent = True


class BadRequest(Refused):
    """
    400 without a list of recipients: the request is wrong as it stands, and nothing of it was sent.

    Cirrus documents 400 as a refusal of the request: it comes without data and with descriptions such as a missing
    parameter, while messages that were judged come back as entries. It does not say which message is wrong, so a
    request with several is sent again in halves until the one that is wrong stands alone; only that is rejected.
    """


class WrongVersion(BadRequest):
    """400 from an address that takes another version's body: no message was judged."""


class Unauthorized(Refused):
    """401: the token is wrong, or was revoked (the old one lives on for 30 days)."""


class NotFound(Refused):
    """404: wrong stream, wrong host or wrong API version."""


class Throttled(Refused):
    """429: too fast. ``retry_after`` is set where the server said how long to wait."""

    retryable = True


class Ambiguous(CirrusError):
    """It may or may not have happened: never repeat a send because of it."""


class NoAnswer(Ambiguous):
    """The request left, and no answer came: time-out or dropped connection."""

    retryable = True


class ServerError(Ambiguous):
    """5xx: whether it did anything is not documented."""

    retryable = True


class UnreadableAnswer(Ambiguous):
    """An answer that is not the documented one: HTML, a redirect, an unknown status."""


class Disposition(Enum):
    """What a recipient's refusal means for that message and for the run (cirrus-api.md, Meta's codes)."""

    PERMANENT = "permanent"  #: this message will never go to this recipient
    THROTTLE = "throttle"  #: not sent; try again in a moment
    LATER = "later"  #: not sent; try again in a day
    STOP = "stop"  #: the account: every further message would fail too
    STOP_TEMPLATE = "stop_template"  #: this template in this language: every further message with both would fail too


#: Meta's codes of what is refused for a time, such as 131049 for a day: not sent, and worth another try then.
LATER_CODES = (131049, 132015, 134101, 131057)

_DISPOSITIONS = {
    **dict.fromkeys((4, 80007, 130429, 131056, 131000, 131016, 133004), Disposition.THROTTLE),
    **dict.fromkeys(LATER_CODES, Disposition.LATER),
    **dict.fromkeys((131031, 131042, 131045, 131048, 131064, 368, 190), Disposition.STOP),
    **dict.fromkeys((132001, 132016), Disposition.STOP_TEMPLATE),
}

# `failed` is free text, and "4 parameters" is not error 4: short codes count only where marked as a code.
_CODE = re.compile(r"(?<![\d+])(13\d{4}|80007)(?!\d)|(?:code|error|#)\W{0,3}(4|190|368)(?!\d)", re.IGNORECASE)


def find_code(text: str) -> int | None:
    """Return Meta's numeric error code in a free-text reason, or None."""
    found = _CODE.search(text)
    return int(found[1] or found[2]) if found else None


def disposition(code: int | None) -> Disposition:
    """Return what a refusal with this code means; without a known code it is permanent."""
    return _DISPOSITIONS.get(code, Disposition.PERMANENT) if code is not None else Disposition.PERMANENT
