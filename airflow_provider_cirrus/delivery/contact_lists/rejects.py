"""Where numbers go that refuse messages for good, so that the next run leaves them alone."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.text import clean_text

#: Meta's codes after which a number is to be left alone (Meta, WhatsApp error codes): the message cannot reach it,
#: mostly as it is not on WhatsApp; and the person has stopped messages.
REJECT_CODES = (131026, 131050)

# How Cirrus says 131026 without the code.
_NOT_ON_WHATSAPP = "not a valid whatsapp user"
_ENDINGS = (".csv", ".jsonl", ".ndjson")
# Characters of a reason: as many as a ledger keeps.
_REASON = 160

#: Number, Meta's code and the reason.
Rejected = tuple[str, int | None, str | None]
#: A line of a sink: :data:`~.spec.REJECT_FIELDS`.
Row = tuple[str, int, str, str]


class OpenSink(Protocol):
    """A sink that is open. One thread at a time uses it."""

    def add(self, rejected: Sequence[Rejected]) -> int:
        """
        Write down those of the numbers that refused messages for good; return how many these were.

        What is written survives the end of the process.

        :param rejected: digits, code and reason of messages that were rejected
        :raises CirrusError: it was not written
        """

    def close(self) -> None:
        """Let go of files and connections."""


@dataclass(frozen=True)
class RejectSink:
    """
    Where numbers are written down that Meta answers with one of :data:`REJECT_CODES`: a file or a SQL table.

    Either can be the ``suppression`` of the next run as it is, and grows by every run.

    :param path: of a local file that ends in ``.csv``, ``.jsonl`` or ``.ndjson``; made for this user alone
    :param conn_id: connection of a database
    :param table: in it, ``schema.table`` where it is in a schema; made where it is missing, else it must have the
        columns ``number``, ``code``, ``reason`` and ``time``
    :raises InvalidInput: not exactly one of file and table, or a file that cannot be added to
    """

    path: Any = None
    conn_id: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.table is None) or (self.table is None) != (self.conn_id is None):
            raise InvalidInput("on_reject", "is either a path, or a conn_id and a table.")
        if self.path is None:
            for name in ("conn_id", "table"):
                value = getattr(self, name)
                if not isinstance(value, str) or not value.strip():
                    raise InvalidInput(f"on_reject.{name}", "is empty or no text.")
            return
        text = str(self.path)
        if "://" in text:
            raise InvalidInput(
                "on_reject", "is a URI, and stores have no files that grow.", hint="Give a local path, or a SQL table."
            )
        if not text.lower().endswith(_ENDINGS):
            raise InvalidInput(
                "on_reject", f"ends in {Path(text).suffix or 'nothing'}.", hint=f"Choose one of {', '.join(_ENDINGS)}."
            )

    @classmethod
    def of(cls, value: Any) -> RejectSink:
        """
        Return a sink from what an argument may hold; nothing is opened.

        :param value: a sink, a path, or a dict of the class's arguments
        :raises InvalidInput: anything else
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str | os.PathLike):
            return cls(value)
        if isinstance(value, Mapping) and set(value) <= {"path", "conn_id", "table"}:
            return cls(**value)
        raise InvalidInput(
            "on_reject",
            f"is of type {type(value).__name__}, or has other names than path, conn_id and table.",
            hint='Give a path, or {"conn_id": "crm", "table": "do_not_message"}.',
        )


def rows_of(rejected: Sequence[Rejected], now: float) -> list[Row]:
    """
    Return the lines for those that refused messages for good.

    :param now: Unix seconds
    """
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return [
        (digits, found, mask_all(clean_text(reason, _REASON)), at)
        for digits, code, reason in rejected
        if (found := _code(code, reason)) is not None
    ]


def _code(code: int | None, reason: str | None) -> int | None:
    if code is None and reason is not None and _NOT_ON_WHATSAPP in reason.casefold():
        return REJECT_CODES[0]
    return code if code in REJECT_CODES else None
