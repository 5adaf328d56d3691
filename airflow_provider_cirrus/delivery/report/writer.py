"""
The report: one line per message, in a file that grows while messages are sent.

Every try of a task writes the report anew from its beginning, so that it is complete after a crash and no message
stands in it twice. The earlier report stays in its place until the new one is closed (docs/report.md).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from json.encoder import encode_basestring
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, TypeAlias

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.contact_lists.spec import NOTHING_KNOWN, Proof
from airflow_provider_cirrus.delivery.report.destination import Place, place_of

log = logging.getLogger(__name__)

#: The columns, in this order, of every format.
FIELDS = ("index", "recipient", "key", "outcome", "message_id", "object_id", "code", "reason", "attempt", "time")
#: The columns after them where the report shows proofs of opt-in.
PROOF_FIELDS = ("opt_in_source", "opt_in_time", "opt_in_version")

_ALL_FIELDS = (*FIELDS, *PROOF_FIELDS)
# Those that hold what somebody wrote.
_FREE = frozenset({"recipient", "reason", *PROOF_FIELDS})

Recipients: TypeAlias = Literal["full", "masked", "hash"]

_ROW_GROUP = 10_000
# Lines encoded at once: bounds the memory of a caller that hands over all that its ledger remembers.
_CHUNK = 2_000
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


class ReportError(CirrusError):
    """The report cannot be written any further; the ledger still knows what was sent, and a retry goes on."""

    passing = True


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
    :ivar proof: of the recipient's opt-in, where the report shows it
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
    proof: Proof = NOTHING_KNOWN


class ReportFile:
    """
    A report that is being written; a context manager, whose methods any thread may call.

    Nothing is opened before :meth:`open`. Leave the ``with`` block before raising an error of your own that does not
    mean that lines are missing: an exception inside it marks the report as incomplete.

    :param path: local path, ``ObjectStoragePath`` or URI; ends in .jsonl, .ndjson, .csv or .parquet
    :param recipients: ``full``; ``masked`` (``+44******0123``); ``hash`` (BLAKE2b of the digits, 32 hex digits:
        pseudonymous, not anonymous). The last two mask numbers in reasons, too.
    :param proofs: show the proof of each recipient's opt-in, in :data:`PROOF_FIELDS`
    :raises InvalidInput: another ending, or another way to write recipients
    """

    def __init__(self, path: Any, *, recipients: Recipients = "full", proofs: bool = False) -> None:
        if recipients not in _SHOW:
            raise InvalidInput("report_recipients", f"is {recipients!r}.", hint=f"Choose one of {', '.join(_SHOW)}.")
        self._kind = _kind_of(path)
        self._place: Place = place_of(path, whole=self._kind == "parquet")
        self._recipients = recipients
        self._proofs = proofs
        self._lock = threading.Lock()
        self._format: _Format | None = None
        self._failed = False

    @property
    def uri(self) -> str:
        """Where the report is once it is closed: ``file:///…``, ``s3://…``."""
        return self._place.uri

    @property
    def growing_at(self) -> str | None:
        """Where lines can be read while it is open; None where that place shows nothing before it is closed."""
        return self._place.growing_at if self._kind != "parquet" else None

    def open(self) -> ReportFile:
        """
        Open the report; before this nothing was written anywhere.

        :raises InvalidInput: the place cannot be written, or pyarrow is missing
        """
        if self._kind == "parquet":
            _pyarrow()
        try:
            file = self._place.open()
            fields = _ALL_FIELDS if self._proofs else FIELDS
            self._format = _Parquet(file, fields) if self._kind == "parquet" else _Text(file, self._kind, fields)
        except OSError as error:
            raise InvalidInput(
                "report_path",
                f"{self.uri} cannot be written: {error.strerror or error}.",
                hint="Nothing was sent. Check the path and who may write there.",
            ) from error
        return self

    def write(self, lines: Sequence[Line]) -> None:
        """
        Append lines; those of one call stay together up to 2,000.

        JSON Lines and CSV are handed to the operating system before this returns.

        :raises ReportError: the disk is full, the storage is gone; further calls fail as well
        :raises ValueError: the report is not open
        """
        for start in range(0, len(lines), _CHUNK):
            shown = _shown(lines[start : start + _CHUNK], self._recipients)
            encoded = _ENCODE[self._kind](shown, self._proofs)
            with self._lock:
                if self._format is None:
                    raise ValueError("the report is not open")
                if self._failed:
                    raise ReportError(f"The report {self.uri} is broken since an earlier error.")
                with self._reported():
                    self._format.add(encoded)

    def close(self, *, keep_partial: bool = False) -> None:
        """
        Close the report and put it in its place. A second call does nothing.

        :param keep_partial: lines are missing: take the place of an earlier report only if this one has more bytes,
            else stay beside it as ``<name>.part``
        :raises ReportError: it could not be finished
        """
        with self._lock:
            finished, self._format = self._format, None
            if finished is None:
                return
            with self._reported():
                finished.finish()
                self._place.publish(partial=keep_partial or self._failed)

    def __enter__(self) -> ReportFile:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(keep_partial=True)
        except ReportError as lost:
            # The first error decides how the task ends, and this one is mostly its consequence.
            log.warning("%s", lost)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failed = True
            raise ReportError(
                f"The report {self.uri} cannot be written: {error.strerror or error}.",
                hint="The ledger knows what was sent; the next try writes the report anew.",
            ) from error


def _kind_of(path: Any) -> str:
    name = str(path)
    ending = Path(name).suffix.lower()
    if ending not in _ENDINGS:
        raise InvalidInput(
            "report_path", f"ends in {ending or 'nothing'}.", hint=f"Choose one of {', '.join(_ENDINGS)}."
        )
    return _ENDINGS[ending]


def _shown(lines: Sequence[Line], recipients: Recipients) -> Sequence[Line]:
    """Return the lines with what may be seen of each recipient."""
    if recipients == "full":
        return lines
    show = _SHOW[recipients]
    return [
        replace(line, recipient=show(line.recipient), reason=line.reason and mask_all(line.reason)) for line in lines
    ]


def _hash(recipient: str) -> str:
    # Without a salt, so that reports of several runs and shards can be joined.
    digits = "".join(c for c in recipient if c.isdecimal())
    return hashlib.blake2b(digits.encode(), digest_size=16).hexdigest() if digits else ""


_SHOW: dict[str, Callable[[str], str]] = {"full": str, "masked": mask, "hash": _hash}


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


def _jsonl(lines: Sequence[Line], proofs: bool) -> bytes:
    # Spelt out in the order of FIELDS: twice as fast as the encoder is with a dict per line.
    written = _clock()
    return _bytes(
        "".join(
            [
                f'{{"index": {at.index}, "recipient": {encode_basestring(at.recipient)}, "key": "{at.key}", '
                f'"outcome": "{at.outcome}", "message_id": {_text(at.message_id)}, '
                f'"object_id": {_text(at.object_id)}, "code": {"null" if at.code is None else at.code}, '
                f'"reason": {_text(at.reason)}, "attempt": {at.attempt}, "time": {_text(written(at.time))}'
                f"{_proof_json(at.proof) if proofs else ''}}}\n"
                for at in lines
            ]
        )
    )


def _proof_json(proof: Proof) -> str:
    return "".join(f', "{name}": {_text(text)}' for name, text in zip(PROOF_FIELDS, proof.texts, strict=True))


def _csv(lines: Sequence[Line], proofs: bool) -> bytes:
    written = _clock()
    text = io.StringIO(newline="")
    # CRLF as in RFC 4180; with it the module also quotes a lone CR, which it does not everywhere else.
    csv.writer(text).writerows(
        [
            _inert(cell) if cell and name in _FREE else cell
            for name, cell in zip(_ALL_FIELDS, _cells(line, written(line.time), proofs), strict=False)
        ]
        for line in lines
    )
    return _bytes(text.getvalue())


def _inert(text: str) -> str:
    # A spreadsheet would run it. Masked numbers begin with + as well, and hold nothing that runs.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and "******" not in text[:9] else text


def _cells(line: Line, moment: Any, proofs: bool) -> tuple[Any, ...]:
    """Return a line's cells in the order of the columns; ``moment``: its time as it is written."""
    cells = (line.index, line.recipient, line.key, line.outcome.value, line.message_id, line.object_id)
    return (*cells, line.code, line.reason, line.attempt, moment, *(line.proof.texts if proofs else ()))


def _columns_of(lines: Sequence[Line], proofs: bool) -> list[tuple[Any, ...]]:
    """Return the cells of a line as they go into columns; pyarrow refuses half a surrogate pair."""
    return [
        tuple(
            _bytes(cell).decode() if isinstance(cell, str) else cell
            for cell in _cells(line, _micros(line.time), proofs)
        )
        for line in lines
    ]


_ENCODE: dict[str, Callable[[Sequence[Line], bool], Any]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _columns_of}


class _Format(Protocol):
    def add(self, encoded: Any) -> None: ...

    def finish(self) -> None: ...


class _Text:
    def __init__(self, file: IO[bytes], kind: str, fields: Sequence[str]) -> None:
        self._file = file
        if kind == "csv":
            self.add((",".join(fields) + "\r\n").encode())

    def add(self, encoded: bytes) -> None:
        self._file.write(encoded)
        # To the operating system each time, so that kill -9 loses nothing; object storage waits for a whole part.
        self._file.flush()

    def finish(self) -> None:
        _finish(self._file)


class _Parquet:
    def __init__(self, file: IO[bytes], fields: Sequence[str]) -> None:
        pa, pq = _pyarrow()
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
        self._rows += encoded
        while len(self._rows) >= _ROW_GROUP:
            self._group(self._rows[:_ROW_GROUP])
            del self._rows[:_ROW_GROUP]

    def finish(self) -> None:
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


def _pyarrow() -> tuple[Any, Any]:
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
