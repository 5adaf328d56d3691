"""Faults on demand: what a test wants to go wrong, where and how often."""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


PLACES = ("send", "upload", "campaign", "validate", "object", "availability", "any")
ACTIONS = (
    "status",
    "delay",
    "hang",
    "drop",
    "close",
    "truncate",
    "drip",
    "flood",
    "missing_entry",
    "refuse",
    "contacts",
)


class FaultFields(TypedDict, total=False):
    """What a fault is made of; see :class:`Fault`."""

    on: str
    when: str
    action: str
    status: int
    headers: dict[str, str]
    body: str | dict[str, Any] | list[Any] | None
    retry_after: float | None
    retry_after_date: bool
    delay: float
    times: int | None
    skip: int
    probability: float
    seed: int | None
    recipient: str | None
    failed: str | dict[str, Any]


NAMED: dict[str, FaultFields] = {
    "rate_limited": {"on": "send", "status": 429},
    "rate_limited_retry_after": {"on": "send", "status": 429, "retry_after": 1},
    "rate_limited_for_a_year": {"on": "send", "status": 429, "retry_after": 31_536_000},
    "rate_limited_retry_date": {"on": "send", "status": 429, "retry_after": 1, "retry_after_date": True},
    "unauthorized": {"status": 401},
    "not_found": {"status": 404},
    "server_error_before": {"on": "send", "status": 500},
    "server_error_after": {"on": "send", "status": 500, "when": "after"},
    "bad_gateway_html": {"on": "send", "status": 502},
    "redirect": {"on": "send", "status": 307, "headers": {"Location": "/_sandbox/redirected"}},
    "garbage": {"on": "send", "when": "after", "status": 200, "body": "OK, but this is not JSON"},
    "truncated": {"on": "send", "when": "after", "action": "truncate"},
    "dripping": {"on": "send", "when": "after", "action": "drip", "delay": 0.5},
    "flooding": {"on": "send", "when": "after", "action": "flood"},
    "drop_before": {"on": "send", "action": "drop"},
    "drop_after": {"on": "send", "action": "drop", "when": "after"},
    "hang_before": {"on": "send", "action": "hang"},
    "hang_after": {"on": "send", "action": "hang", "when": "after"},
    "latency": {"action": "delay", "delay": 1.0},
    "missing_entry": {"on": "send", "when": "after", "action": "missing_entry"},
    "refused": {"on": "send", "action": "refuse"},
    "strange_refusal": {
        "on": "send",
        "action": "refuse",
        "failed": {"code": 2**70, "message": "Refused \ud83d on\x00 demand"},
    },
    "old_contacts": {"on": "validate", "action": "contacts"},
}
"""Ready-made faults; every field can be given again to override it."""


@dataclass
class Fault:
    """
    One thing that goes wrong.

    :param on: the call: send, upload, campaign, validate, object (one or a list), availability, any.
    :param when: ``before`` the request has any effect, or ``after`` it was accepted and recorded.
    :param action: ``status`` answers with ``status``, ``headers`` and ``body``; ``delay`` waits
        ``delay`` seconds and goes on; ``hang`` never answers; ``drop`` resets the TCP connection;
        ``close`` ends it in good order without an answer; ``truncate`` breaks off in the middle of the
        answer; ``drip`` answers a byte at a time, ``delay`` seconds apart; ``flood`` answers without end;
        ``missing_entry`` leaves out the entry of ``recipient`` (or the last entry);
        ``refuse`` refuses matching recipients with ``failed``; ``contacts`` gives the older contact
        answer.
    :param body: body of the answer: text (sent as HTML) or JSON; the usual one for ``status`` if not given.
    :param retry_after: seconds for a Retry-After header, none if not given.
    :param retry_after_date: write that header as an HTTP date.
    :param delay: seconds.
    :param times: how often it strikes, ``None`` for ever.
    :param skip: how many matching requests pass first.
    :param probability: with which each of those after them is struck: 0.1 strikes about one in ten.
    :param seed: with the same seed, the same ones of them are struck again; ``None``: nobody can tell which.
    :param recipient: only where this number is concerned.
    :raises ValueError: a field has a value that makes no sense.
    """

    on: str = "any"
    when: str = "before"
    action: str = "status"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str | dict[str, Any] | list[Any] | None = None
    retry_after: float | None = None
    retry_after_date: bool = False
    delay: float = 1.0
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int | None = None
    recipient: str | None = None
    failed: str | dict[str, Any] = "Refused on demand"
    name: str | None = None
    seen: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        _need(self.on in PLACES, f"on must be one of {', '.join(PLACES)}")
        _need(self.when in ("before", "after"), "when must be before or after")
        _need(self.action in ACTIONS, f"action must be one of {', '.join(ACTIONS)}")
        _need(_is_count(self.status, 200) and self.status <= 599, "status must be 200 to 599")
        _need(self.times is None or _is_count(self.times, 1), "times must be at least 1, or null for ever")
        _need(_is_count(self.skip, 0), "skip must not be negative")
        _need(_is_seconds(self.probability) and 0 < self.probability <= 1, "probability must be above 0, and at most 1")
        _need(self.seed is None or _is_count(self.seed, 0), "seed must be a whole number, not negative")
        # Not for secrets: the same faults again are wanted.
        self._chance = random.Random(self.seed)  # noqa: S311
        _need(_is_seconds(self.delay), "delay must be seconds, not negative")
        _need(self.retry_after is None or _is_seconds(self.retry_after), "retry_after must be seconds")
        _need(isinstance(self.headers, dict), "headers must be an object")
        _need(isinstance(self.body, (str, dict, list, type(None))), "body must be text or JSON")
        _need(isinstance(self.failed, (str, dict)), "failed must be text or an object")
        _need(isinstance(self.retry_after_date, bool), "retry_after_date must be true or false")
        for key, value in self.headers.items():
            _need(_is_header(key) and _is_header(value), "headers must be printable ASCII texts")
        if self.recipient is not None:
            self.recipient = "".join(filter(str.isdigit, str(self.recipient)))
            _need(bool(self.recipient), "recipient must be a phone number")
        if self.action in {"missing_entry", "refuse"}:
            _need(self.on in {"send", "any"}, f"{self.action} works on send only")
        _need(self.action != "missing_entry" or self.when == "after", "missing_entry works after only")
        _need(self.action != "refuse" or self.when == "before", "refuse works before only")
        if self.action == "contacts":
            _need(
                self.on in {"validate", "any"} and self.when == "before",
                "contacts works before validate only",
            )

    def strikes(self, on: str, when: str, recipients: Collection[str]) -> bool:
        """Say whether it strikes here; each call that matches is counted."""
        if self.on not in {on, "any"} or self.when != when:
            return False
        if self.recipient is not None and self.recipient not in recipients:
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.probability < 1 and self._chance.random() >= self.probability):
            return False
        self.struck += 1
        return True

    def answer_headers(self) -> dict[str, str]:
        """Return the headers of the answer, Retry-After reckoned from now."""
        if self.retry_after is None:
            return dict(self.headers)
        value = http_date(self.retry_after) if self.retry_after_date else f"{math.ceil(self.retry_after)}"
        return {"Retry-After": value, **self.headers}


class FaultBook:
    """The faults of one sandbox, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._faults: dict[int, Fault] = {}

    def add(self, name: object, given: Mapping[str, Any]) -> int:
        """
        Add a fault and return its number.

        :param name: one of :data:`NAMED`, whose fields ``given`` overrides, or ``None``.
        :param given: fields of :class:`Fault`.
        :raises ValueError: unknown name, unknown field, or a value that makes no sense.
        """
        if name is not None and (not isinstance(name, str) or name not in NAMED):
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(NAMED)}")
        known = {item.name for item in fields(Fault) if item.init} - {"name"}
        unknown = set(given) - known
        if unknown:
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        ready_made: dict[str, Any] = {**NAMED[name]} if name is not None else {}
        fault = Fault(**{**ready_made, **given, "name": name})
        with self._lock:
            number = next(self._numbers)
            self._faults[number] = fault
            return number

    def remove(self, number: int) -> bool:
        """Remove one fault; say whether it was there."""
        with self._lock:
            return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Return all faults as plain data, with how often each was seen and struck."""
        with self._lock:
            return [{"id": number, **asdict(fault)} for number, fault in self._faults.items()]

    def striking(self, on: str, when: str, recipients: Collection[str] = ()) -> Iterator[Fault]:
        """
        Yield the faults that strike here, one at a time.

        A fault is counted when it is reached: whoever stops at the first leaves the others for the next
        request.
        """
        with self._lock:
            candidates = [fault for fault in self._faults.values() if fault.action != "refuse"]
        for fault in candidates:
            with self._lock:
                strikes = fault.strikes(on, when, recipients)
            if strikes:
                yield fault

    def refusal(self, recipient: str) -> str | dict[str, Any] | None:
        """Return the ``failed`` value with which ``recipient`` is refused, ``None`` if it is not."""
        with self._lock:
            for fault in self._faults.values():
                if fault.action == "refuse" and fault.strikes("send", "before", {recipient}):
                    return fault.failed
        return None


def http_date(seconds: float = 0) -> str:
    """Return the instant ``seconds`` from now as an HTTP date, rounded up: it has whole seconds only."""
    return formatdate(math.ceil(time.time() + seconds), usegmt=True)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_header(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and bool(value)
