"""
The report: one line per message, in a file that grows while messages are sent.

Every try of a task writes the report anew from its beginning, so that it is complete after a crash and no message
stands in it twice. The earlier report stays in its place until the new one is closed (docs/report.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeAlias

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask, mask_all
from airflow_provider_cirrus.delivery.errors import ReportError
from airflow_provider_cirrus.delivery.report.destination import ReportDestination, destination_of, format_of
from airflow_provider_cirrus.delivery.report.formats import (
    ENCODE,
    FIELDS,
    Format,
    Line,
    More,
    ParquetFormat,
    TextFormat,
    pyarrow_modules,
)

log = logging.getLogger(__name__)


Recipients: TypeAlias = Literal["full", "masked", "hash"]
IfExists: TypeAlias = Literal["resume", "replace", "fail"]

# Lines encoded at once: bounds the memory of a caller that hands over all that its ledger remembers.
_CHUNK = 2_000


class ReportFile:
    """
    A report that is being written; a context manager, whose methods any thread may call.

    Nothing is opened before :meth:`open`. Leave the ``with`` block before raising an error of your own that does not
    mean that lines are missing: an exception inside it marks the report as incomplete.

    :param path: local path, ``ObjectStoragePath`` or URI; ends in .jsonl, .ndjson, .csv or .parquet
    :param recipients: ``full``; ``masked`` (``+44******0123``); ``hash`` (BLAKE2b of the digits, 32 hex digits:
        pseudonymous, not anonymous). The last two mask numbers in reasons, too.
    :param consent_records: show the record of each recipient's opt-in, in :data:`PROOF_FIELDS`
    :param previews: show what each recipient would see, in :data:`PREVIEW_FIELDS`
    :param variants: show which variant of an experiment is each recipient's, in :data:`VARIANT_FIELDS`
    :param if_exists: what to do when it is opened and a report is there: ``resume`` leaves that one until this one is
        closed; ``replace`` removes it; ``fail`` raises
    :param spreadsheet_safe: in CSV, put an apostrophe before a text that a spreadsheet would run as a formula
    :raises InvalidInput: another ending, or another way to write recipients
    """

    def __init__(
        self,
        path: Any,
        *,
        recipients: Recipients = "full",
        consent_records: bool = False,
        previews: bool = False,
        variants: bool = False,
        if_exists: IfExists = "resume",
        spreadsheet_safe: bool = True,
    ) -> None:
        if recipients not in _SHOW:
            raise InvalidInput("report.recipients", f"is {recipients!r}.", hint=f"Choose one of {', '.join(_SHOW)}.")
        self._kind = format_of(path)
        self._place: ReportDestination = destination_of(path, complete_only=self._kind == "parquet")
        self._recipients = recipients
        self._more = More(consent_records, previews, variants, spreadsheet_safe)
        self._if_exists = if_exists
        self._lock = threading.Lock()
        self._format: Format | None = None
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

        :raises InvalidInput: the place cannot be written, a report is there that must not be, or pyarrow is missing
        """
        if self._kind == "parquet":
            pyarrow_modules()
        try:
            if self._if_exists == "fail" and self._place.exists():
                raise InvalidInput(
                    "report.if_exists",
                    f"is fail, and there is a report already: {self.uri}.",
                    hint="Nothing was sent. Put the run into its path ({{ run_id }}), or move the old one away.",
                )
            if self._if_exists == "replace":
                self._place.remove()
            file = self._place.open(must_be_new=self._if_exists == "fail")
            fields = (*FIELDS, *self._more.names)
            self._format = (
                ParquetFormat(file, fields) if self._kind == "parquet" else TextFormat(file, self._kind, fields)
            )
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
            encoded = ENCODE[self._kind](shown, self._more)
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


def _shown(lines: Sequence[Line], recipients: Recipients) -> Sequence[Line]:
    """Return the lines with what may be seen of each recipient."""
    if recipients == "full":
        return lines
    show = _SHOW[recipients]
    return [
        replace(
            line,
            recipient=show(line.recipient),
            reason=line.reason and mask_all(line.reason),
            preview=line.preview and mask_all(line.preview),
        )
        for line in lines
    ]


def _hash(recipient: str) -> str:
    # Without a salt, so that reports of several runs and shards can be joined.
    digits = "".join(c for c in recipient if c.isdecimal())
    return hashlib.blake2b(digits.encode(), digest_size=16).hexdigest() if digits else ""


def shown_as(recipients: Recipients) -> Callable[[str], str]:
    """
    Return what writes a recipient's digits as a report does, for whatever tells of them beside it.

    :param recipients: as of :class:`ReportFile`
    """
    return _SHOW[recipients]


_SHOW: dict[str, Callable[[str], str]] = {"full": str, "masked": mask, "hash": _hash}
