"""How the task state store's values say what was recorded: with a checksum, in the order of the commits."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, KEY_BYTES, Entry
from airflow_provider_cirrus.delivery.ledger.marks import FORMAT, incomplete, unknown_format

LETTER = {outcome: outcome.letter for outcome in Outcome}
OUTCOME = {letter: outcome for outcome, letter in LETTER.items()}

# Hashes and ids hardly shrink.
_LEVEL = 1

#: One thing that was recorded. A text: intents, as the base64 of their keys. A list ``[attempt, time, rows]``:
#: outcomes, each ``[place, letter, message id, object id, code, reason]`` without the Nones at its end. A place is that
#: of the key among the intents of the same sitting, less that of the row before; or the key itself, as base64, where it
#: is not among them. An object: how many writes each earlier sitting had left when this one began.
Item: TypeAlias = "str | list[Any] | dict[str, int]"


def log_of(items: Sequence[Item]) -> str:
    """Return items as a text of JSON."""
    return json.dumps(items, separators=(",", ":"))


def joined(logs: Sequence[str]) -> str:
    """Return the items of several texts in one, without reading them."""
    return f"[{','.join(inner for log in logs if (inner := log[1:-1]))}]"


def pack(name: str, log: str, **span: int) -> dict[str, Any]:
    """
    Return the value of a key.

    :param name: the key, which the checksum covers as well
    :param log: what it says (:func:`log_of`)
    :param span: ``begin`` and ``end``: which writes it takes the place of
    """
    if span:
        # Only what is kept: to compress lets all other threads come first, and each commit waits for its write.
        log = base64.b64encode(zlib.compress(log.encode(), _LEVEL)).decode()
    return {"v": FORMAT, "crc": _crc(name, log, span), "log": log, **span}


def unpack(name: str, value: Any) -> list[Item]:
    """
    Return the items of a value.

    :raises LedgerError: another version's format
    :raises LedgerIncomplete: it is not as it was written
    """
    if not isinstance(value, Mapping) or value.get("v") != FORMAT:
        raise unknown_format()
    span = {key: value[key] for key in ("begin", "end") if key in value}
    if value.get("crc") != _crc(name, value.get("log"), span):
        raise incomplete(f"the checksum of {name} is not right")
    log: str = value["log"]
    items: list[Item] = json.loads(log if log.startswith("[") else zlib.decompress(base64.b64decode(log)))
    return items


def _crc(name: str, log: Any, span: Mapping[str, int]) -> int:
    return zlib.crc32(f"{name} {span.get('begin')} {span.get('end')} {log}".encode())


@dataclass(slots=True)
class _Group:
    """The outcomes of one try and moment, and the place of the last of them."""

    rows: list[list[Any]] = field(default_factory=list)
    last: int = 0


class Places:
    """
    The places of those intents that have no outcome yet, among all intents of a sitting.

    Memory must not grow with the audience: a place is dropped with its outcome.
    """

    def __init__(self) -> None:
        self._place: dict[bytes, int] = {}
        self._next = 0

    def items(self, intents: Sequence[bytes], outcomes: Sequence[tuple[bytes, Entry]]) -> list[Item]:
        """Return what says this; nothing is changed by it."""
        items: list[Item] = []
        groups: dict[tuple[int, float], _Group] = {}
        group: _Group | None = None
        of: tuple[int, float] | None = None
        for key, entry in outcomes:
            # Those of a request have one time: as a rule it is the group of the one before.
            if group is None or of != (entry.attempt, entry.time):
                of = (entry.attempt, entry.time)
                group = groups.setdefault((entry.attempt, round(entry.time, 1)), _Group())
            place = self._place.get(key)
            step: int | str
            if place is None:
                step = _text(key)
            else:
                step, group.last = place - group.last, place
            row = [step, LETTER[entry.outcome], entry.message_id, entry.object_id, entry.code, entry.reason]
            while row[-1] is None:
                row.pop()
            group.rows.append(row)
        # First the outcomes: what is unsent may be among the intents again.
        items += [[attempt, moment, found.rows] for (attempt, moment), found in groups.items()]
        if intents:
            items.append(_text(b"".join(intents)))
        return items

    def take(self, intents: Sequence[bytes], outcomes: Sequence[tuple[bytes, Entry]]) -> None:
        """Take note that this was recorded."""
        for key, _ in outcomes:
            self._place.pop(key, None)
        for key in intents:
            self._place[key] = self._next
            self._next += 1


class Reading:
    """The items of one sitting, read in their order."""

    def __init__(self) -> None:
        self._keys = bytearray()

    def entries(self, items: Sequence[Item]) -> Iterator[tuple[bytes, Entry]]:
        """Yield what is said of messages; intents count as unknown until their outcome."""
        for item in items:
            if isinstance(item, str):
                found = base64.b64decode(item)
                self._keys += found
                for start in range(0, len(found), KEY_BYTES):
                    yield found[start : start + KEY_BYTES], INTERRUPTED
            elif isinstance(item, list):
                yield from self._outcomes(*item)

    def _outcomes(self, attempt: int, moment: float, rows: list[list[Any]]) -> Iterator[tuple[bytes, Entry]]:
        place = 0
        for step, letter, *rest in rows:
            if isinstance(step, str):
                key = base64.b64decode(step)
            else:
                place += step
                key = bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])
                if len(key) != KEY_BYTES:
                    raise incomplete("an outcome is there without its message")
            message_id, object_id, code, reason = [*rest, None, None, None, None][:4]
            yield key, Entry(OUTCOME[letter], message_id, object_id, code, reason, attempt, moment)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
