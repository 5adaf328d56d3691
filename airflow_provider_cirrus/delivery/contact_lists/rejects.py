"""Where numbers go that refuse messages for good, so that the next run leaves them alone."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.text import clean_text
from airflow_provider_cirrus.delivery.contact_lists.spec import REJECT_FIELDS

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

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


class SinkFailed(CirrusError):
    """Who refused messages cannot be written down; what was sent is in the ledger, and a retry goes on."""

    passing = True


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

    def open(
        self, connect: Callable[[str], Engine] | None = None, *, clock: Callable[[], float] = time.time
    ) -> OpenSink:
        """
        Open the sink, and make it where it is missing.

        :param connect: returns the engine of a connection, which is closed with the sink; needed for a table
        :param clock: Unix seconds
        :raises InvalidInput: it cannot be used as it is
        :raises CirrusError: the database does not answer
        """
        if self.table is None or self.conn_id is None:
            return _FileSink(str(self.path), clock)
        if connect is None:
            raise InvalidInput("on_reject", "is a table, which cannot be had here.", hint="Give a local path.")
        # Late, as a DAG file that names a sink must not import SQLAlchemy.
        from airflow_provider_cirrus.delivery.contact_lists.reject_table import SqlSink

        return SqlSink(connect(self.conn_id), self.table, clock)


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


class _FileSink:
    """A file that several processes may add to: each takes it for itself while it writes whole lines."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._encode = _csv if path.lower().endswith(".csv") else _jsonl
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput(
                "on_reject", f"{path!r} cannot be written: {error.strerror}.", hint="The folder must exist."
            ) from error
        try:
            self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def add(self, rejected: Sequence[Rejected]) -> int:
        if rows := rows_of(rejected, self._clock()):
            with self._for_itself():
                self._write(self._encode(rows))
        return len(rows)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        """Write the header of a new file; end the line that a killed process left."""
        header = _csv([REJECT_FIELDS]) if self._encode is _csv else b""
        with self._for_itself():
            size = os.fstat(self._file).st_size
            if not size:
                self._write(header)
                return
            first = os.pread(self._file, 1024, 0).removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
            if header and first.strip() != header.strip():
                raise InvalidInput(
                    "on_reject",
                    f"{self._path!r} has other columns than {', '.join(REJECT_FIELDS)}.",
                    hint="Give a file of its own; suppression takes a list of several.",
                )
            if os.pread(self._file, 1, size - 1) != b"\n":
                self._write(b"\n")

    @contextmanager
    def _for_itself(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, lines: bytes) -> None:
        try:
            # At once, to the end, so that lines of several processes do not mix.
            written = os.write(self._file, lines)
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error
        if written != len(lines):
            raise self._failed("the disk is full")

    def _failed(self, why: str) -> SinkFailed:
        return SinkFailed(
            f"on_reject: {self._path!r} cannot be written: {why}.",
            hint="Make room, and let the task retry; who refused in this run may be missing there.",
        )


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        # A spreadsheet would run what begins so.
        [cell.lstrip("=+-@\t ") if isinstance(cell, str) else cell for cell in row]
        for row in rows
    )
    return text.getvalue().encode()


def _jsonl(rows: Sequence[Sequence[Any]]) -> bytes:
    return "".join(
        json.dumps(dict(zip(REJECT_FIELDS, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
    ).encode()
