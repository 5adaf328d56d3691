"""Where a report goes: a file of this machine, or an object in a store."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import IO, Any, Protocol

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.storage import create_private, object_path

log = logging.getLogger(__name__)

# Bytes of one part of a multipart upload; S3 takes no less than 5 MiB, and s3fs would take 50.
_PART = 8 * 1024 * 1024


_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def format_of(path: Any) -> str:
    """
    Return the format of a report, by what its name ends in.

    :raises InvalidInput: something else
    """
    ending = Path(str(path)).suffix.lower()
    if ending not in _ENDINGS:
        raise InvalidInput(
            "report_path", f"ends in {ending or 'nothing'}.", hint=f"Choose one of {', '.join(_ENDINGS)}."
        )
    return _ENDINGS[ending]


class ReportDestination(Protocol):
    """
    Where a report goes.

    :ivar uri: where it is once it is published
    :ivar growing_at: where it can be read before that, if anywhere
    """

    uri: str
    growing_at: str | None

    def exists(self) -> bool:
        """Return whether a report is there."""

    def remove(self) -> None:
        """Remove the report that is there, if any."""

    def open(self, *, must_be_new: bool = False) -> IO[bytes]:
        """
        Return a file to write the report to.

        :param must_be_new: raise FileExistsError where somebody has begun one at the same moment, if that can be told
        """

    def publish(self, *, partial: bool) -> None:
        """Put what was written, and closed, in its place; what is partial never replaces something longer."""


def destination_of(path: Any, *, complete_only: bool) -> ReportDestination:
    """
    Return the place for a path or URI.

    :param complete_only: half of the report cannot be read, so it only ever appears complete
    """
    text = str(path)
    if text.startswith("file://"):
        return _Local(text.removeprefix("file://"), complete_only)
    return _Stored(path) if "://" in text else _Local(text, complete_only)


class _Local:
    """A file of this machine. ``complete_only``: half of it cannot be read, so it only ever appears complete."""

    def __init__(self, path: str, complete_only: bool) -> None:
        # Resolved, as the rename would put a file in the place of a link.
        self._path = os.path.realpath(path)
        self._part = f"{self._path}.part"
        self._complete_only = complete_only
        self._mine: tuple[int, int] | None = None
        self.uri = f"file://{self._path}"
        self.growing_at: str | None = None

    def exists(self) -> bool:
        return os.path.exists(self._path)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def open(self, *, must_be_new: bool = False) -> IO[bytes]:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        if os.path.isdir(self._path):
            raise IsADirectoryError(None, "it is a folder")
        if not self._complete_only:
            # Exclusive: of two tries at once, one gets the name and the other goes beside it.
            try:
                file: IO[bytes] = create_private(self._path)
            except FileExistsError:
                if must_be_new:
                    raise
            else:
                self.growing_at = self._path
                return file
        # Removed, not truncated: a superseded try may live on as an orphan, and writes to what it has open.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)
        file = create_private(self._part)
        self.growing_at = self._part
        self._mine = _identity(os.fstat(file.fileno()))
        return file

    def publish(self, *, partial: bool) -> None:
        if self._mine is None:
            return
        found = os.stat(self._part)
        if _identity(found) != self._mine:
            # A later try has begun its own report under this name.
            log.warning("The report %s is now written by another try; this one's is dropped.", self.uri)
            return
        if partial and os.path.exists(self._path) and os.path.getsize(self._path) >= found.st_size:
            log.warning("The report is incomplete and stays at %s beside the earlier, longer one.", self._part)
            return
        os.replace(self._part, self._path)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class _Stored:
    """An object in a store: what is written can be seen once it is closed."""

    def __init__(self, path: Any) -> None:
        self._given = path
        self._fs: Any = None
        self._beside = False
        self.uri = str(path)
        self.growing_at: str | None = None

    def exists(self) -> bool:
        self._reach()
        return bool(self._fs.exists(self._path))

    def remove(self) -> None:
        self._reach()
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path)

    def _reach(self) -> None:
        try:
            path = object_path(self._given)
            self._fs, self._path = path.fs, path.path
        except ValueError as error:
            raise InvalidInput(
                "report_path",
                f"{self.uri} cannot be reached: {error}.",
                hint="Is the provider of that store installed?",
            ) from error

    def open(self, *, must_be_new: bool = False) -> IO[bytes]:
        self._reach()
        self._part = f"{self._path}.part"
        # A store refuses only when the first part arrives, long after messages left: so it is asked now.
        self._fs.pipe_file(self._part, b"")
        self._beside = bool(self._fs.exists(self._path))
        if not self._beside:
            # Some may write and not delete; an empty object beside the report is no reason to send nothing.
            with contextlib.suppress(OSError):
                self._fs.rm_file(self._part)
        file: IO[bytes] = self._fs.open(self._part if self._beside else self._path, "wb", block_size=_PART)
        return file

    def publish(self, *, partial: bool) -> None:
        if not self._beside:
            return
        # Listings from before the upload may be cached.
        self._fs.invalidate_cache()
        if partial and self._fs.size(self._path) >= self._fs.size(self._part):
            log.warning("The report is incomplete and stays at %s.part beside the earlier, longer one.", self.uri)
            return
        self._fs.mv(self._part, self._path)
