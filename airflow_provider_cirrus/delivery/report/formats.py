"""The columns of a report, and how JSON Lines, CSV and Parquet write them; a new column is one more in each."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from json.encoder import encode_basestring
from typing import IO, Any, Protocol

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord

#: The columns, in this order, of every format.
FIELDS = ("index", "recipient", "key", "outcome", "message_id", "object_id", "code", "reason", "attempt", "time")

#: The columns after them where the report shows consent_records of opt-in, and that of what a dry run would send.
PROOF_FIELDS = ("opt_in_source", "opt_in_time", "opt_in_version")
PREVIEW_FIELDS = ("preview",)
#: The column after these where the send is an experiment.
VARIANT_FIELDS = ("variant",)

# Those that hold what somebody wrote.
_MASKED = re.compile(r"\+\d\d\*{6}\d{4}|\+\*{6}")
_FREE = frozenset({"recipient", "reason", *PROOF_FIELDS, *PREVIEW_FIELDS, *VARIANT_FIELDS})
_ROW_GROUP = 10_000


# Not frozen, which takes three times as long to make; one is made for every message.
@dataclass(slots=True)
class Line:
    """
    One message in the report.

    :ivar index: place in the audience, from 0
    :ivar recipient: digits with country code; of a rejected row, whatever stood there
    :ivar key: the message's key in the ledger, as text
    :ivar attempt: the try of the task that brought the outcome
    :ivar time: Unix seconds of the outcome; 0 where it is not known, which is written as an empty value
    :ivar consent: of the recipient's opt-in, where the report shows it
    :ivar preview: what the recipient would see, where the report shows it
    :ivar variant: of an experiment, where the report shows it
    """

    index: int
    recipient: str
    key: str
    outcome: Outcome
    message_id: str | None
    object_id: str | None
    code: int | None
    reason: str | None
    attempt: int
    time: float
    consent: ConsentRecord = NO_RECORD
    preview: str = ""
    variant: str = ""


@dataclass(frozen=True)
class More:
    """
    The columns that a report has beside :data:`FIELDS`, all of them text.

    :ivar consent: the record of each recipient's opt-in
    :ivar preview: what the recipient would see
    :ivar variant: of an experiment
    :ivar spreadsheet_safe: not a column: whether CSV's texts may not be formulas
    """

    consent: bool = False
    preview: bool = False
    variant: bool = False
    spreadsheet_safe: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in this order."""
        return (
            (PROOF_FIELDS if self.consent else ())
            + (PREVIEW_FIELDS if self.preview else ())
            + (VARIANT_FIELDS if self.variant else ())
        )

    def texts(self, line: Line) -> tuple[str | None, ...]:
        """Return their cells of a line."""
        variant = (line.variant or None,) if self.variant else ()
        preview = (line.preview or None,) if self.preview else ()
        return (tuple(line.consent.texts) if self.consent else ()) + preview + variant


def _micros(seconds: float) -> int | None:
    return round(seconds * 1_000_000) if seconds else None


def _clock() -> Callable[[float], str | None]:
    """Return a writer of times that makes each text once: lines mostly share theirs."""
    last, text = 0.0, None

    def write(seconds: float) -> str | None:
        nonlocal last, text
        if seconds != last:
            last, text = seconds, None
            if (micros := _micros(seconds)) is not None:
                whole, rest = divmod(micros, 1_000_000)
                text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:06d}Z"
        return text

    return write


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def _bytes(text: str) -> bytes:
    # JSON can carry half a surrogate pair, which no file can.
    return text.encode("utf-8", "replace")


def _jsonl(lines: Sequence[Line], more: More) -> bytes:
    # Spelt out in the order of FIELDS: twice as fast as the encoder is with a dict per line.
    written, names = _clock(), more.names
    return _bytes(
        "".join(
            [
                f'{{"index": {at.index}, "recipient": {encode_basestring(at.recipient)}, "key": "{at.key}", '
                f'"outcome": "{at.outcome}", "message_id": {_text(at.message_id)}, '
                f'"object_id": {_text(at.object_id)}, "code": {"null" if at.code is None else at.code}, '
                f'"reason": {_text(at.reason)}, "attempt": {at.attempt}, "time": {_text(written(at.time))}'
                f"{_json(names, more.texts(at)) if names else ''}}}\n"
                for at in lines
            ]
        )
    )


def _json(names: Sequence[str], texts: Sequence[str | None]) -> str:
    return "".join(f', "{name}": {_text(text)}' for name, text in zip(names, texts, strict=True))


def _csv(lines: Sequence[Line], more: More) -> bytes:
    written, names = _clock(), (*FIELDS, *more.names)
    free = _FREE if more.spreadsheet_safe else frozenset()
    text = io.StringIO(newline="")
    # CRLF as in RFC 4180; with it the module also quotes a lone CR, which it does not everywhere else.
    csv.writer(text).writerows(
        [
            _inert(cell) if cell and name in free else cell
            for name, cell in zip(names, _cells(line, written(line.time), more), strict=True)
        ]
        for line in lines
    )
    return _bytes(text.getvalue())


def _inert(text: str) -> str:
    # A spreadsheet would run it. A masked number, and nothing behind it, begins with + as well.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not _MASKED.fullmatch(text) else text


def _cells(line: Line, moment: Any, more: More) -> tuple[Any, ...]:
    """Return a line's cells in the order of the columns; ``moment``: its time as it is written."""
    cells = (line.index, line.recipient, line.key, line.outcome.value, line.message_id, line.object_id)
    return (*cells, line.code, line.reason, line.attempt, moment, *more.texts(line))


def _columns_of(lines: Sequence[Line], more: More) -> list[tuple[Any, ...]]:
    """Return the cells of a line as they go into columns; pyarrow refuses half a surrogate pair."""
    return [
        tuple(
            _bytes(cell).decode() if isinstance(cell, str) else cell for cell in _cells(line, _micros(line.time), more)
        )
        for line in lines
    ]


ENCODE: dict[str, Callable[[Sequence[Line], More], Any]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _columns_of}


class Format(Protocol):
    """A format that is being written."""

    def add(self, encoded: Any) -> None:
        """Write what :data:`ENCODE` made of lines."""

    def finish(self) -> None:
        """Write what is left, and close the file."""


class TextFormat:
    """JSON Lines or CSV."""

    def __init__(self, file: IO[bytes], kind: str, fields: Sequence[str]) -> None:
        self._file = file
        if kind == "csv":
            self.add((",".join(fields) + "\r\n").encode())

    def add(self, encoded: bytes) -> None:
        """Write lines."""
        self._file.write(encoded)
        # To the operating system each time, so that kill -9 loses nothing; object storage waits for a whole part.
        self._file.flush()

    def finish(self) -> None:
        """Close the file, once it is on the disk."""
        _finish(self._file)


class ParquetFormat:
    """Parquet, in row groups."""

    def __init__(self, file: IO[bytes], fields: Sequence[str]) -> None:
        pa, pq = pyarrow_modules()
        self._file = file
        self._pa = pa
        text, number = pa.string(), pa.int64()
        types = (number, text, text, text, text, text, number, text, number, pa.timestamp("us", tz="UTC"))
        types += (text,) * (len(fields) - len(FIELDS))
        # Fixed, as the files of several shards are read as one: an all-empty column must not become another type.
        self._schema = pa.schema(list(zip(fields, types, strict=True)))
        self._writer = pq.ParquetWriter(file, self._schema, compression="snappy")
        self._rows: list[tuple[Any, ...]] = []

    def add(self, encoded: list[tuple[Any, ...]]) -> None:
        """Keep rows until there are enough for a group."""
        self._rows += encoded
        while len(self._rows) >= _ROW_GROUP:
            self._group(self._rows[:_ROW_GROUP])
            del self._rows[:_ROW_GROUP]

    def finish(self) -> None:
        """Write the last group, and close the file."""
        try:
            if self._rows:
                self._group(self._rows)
                self._rows = []
            self._writer.close()
        finally:
            _finish(self._file)

    def _group(self, rows: list[tuple[Any, ...]]) -> None:
        columns = [
            self._pa.array(column, type=field.type)
            for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        table = self._pa.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP)


def pyarrow_modules() -> tuple[Any, Any]:
    """
    Return pyarrow and its module for Parquet.

    :raises InvalidInput: it is not installed
    """
    try:
        # By name, as it carries no types and need not be there.
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidInput(
            "report_path",
            "ends in .parquet, and pyarrow is not installed.",
            hint="pip install 'airflow-provider-cirrus[parquet]', or choose .jsonl or .csv.",
        ) from None


def _finish(file: IO[bytes]) -> None:
    try:
        file.flush()
        # Object storage has no descriptor, and is durable once closed.
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            os.fsync(file.fileno())
    finally:
        file.close()
