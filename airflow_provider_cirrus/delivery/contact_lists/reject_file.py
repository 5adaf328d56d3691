"""Refused numbers in a local file."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.contact_lists.rejects import Rejected, rows_of
from airflow_provider_cirrus.delivery.contact_lists.spec import REJECT_FIELDS
from airflow_provider_cirrus.delivery.errors import SinkFailed


class RejectFile:
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
        """Write down those that refused for good; see :meth:`~.rejects.OpenSink.add`."""
        if rows := rows_of(rejected, self._clock()):
            with self._for_itself():
                self._write(self._encode(rows))
        return len(rows)

    def close(self) -> None:
        """Close the file."""
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
