"""The audience file of a campaign: every row is looked at before anything leaves, and what was looked at is sent."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_cirrus.api.campaign import RECIPIENT_COLUMN
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.media import XLSX
from airflow_provider_cirrus.api.phone import account_of, mask, to_digits
from airflow_provider_cirrus.delivery.ledger import KEY_BYTES
from airflow_provider_cirrus.delivery.policy import Screen, nobody_is_held_back
from airflow_provider_cirrus.delivery.rows import BadRow, open_rows, value_of
from airflow_provider_cirrus.delivery.scratch import Scratch
from airflow_provider_cirrus.delivery.storage import object_path

_MEDIA_TYPES = {".csv": "text/csv", ".xlsx": XLSX.mime}
# Enough to see the pattern in a file that is wrong throughout.
_SHOWN = 5
# Room for the sum of the hashes of all recipients.
_SUM = 1 << 128


@dataclass
class CampaignFile:
    """
    An audience file that was looked at, and what is to be sent of it.

    :ivar kept: rows that are in it
    :ivar suppressed: rows that a rule held back
    :ivar rejected: rows without a number that can be one
    :ivar duplicate: rows whose account stands in an earlier row
    :ivar problems: the first of the rejected and duplicate rows, for people, with masked numbers
    :ivar recipients: a hash of who is in it, whatever the order and the spelling
    """

    file: BinaryIO
    filename: str
    media_type: str
    kept: int = 0
    suppressed: int = 0
    rejected: int = 0
    duplicate: int = 0
    problems: list[str] = field(default_factory=list)
    recipients: bytes = b""

    @property
    def total(self) -> int:
        """The number of rows of the file as it came."""
        return self.kept + self.suppressed + self.rejected + self.duplicate


@contextmanager
def open_campaign_file(
    source: Any, *, screen: Screen = nobody_is_held_back, drop_bad_rows: bool = False
) -> Iterator[CampaignFile]:
    """
    Open an audience file for a campaign, after looking at every row; it is closed at the end.

    It goes out as it is where every row may stay and every number is written in digits. Otherwise a copy in CSV
    goes out, with the rows that stay and their numbers in digits. Memory does not grow with a CSV file.

    :param source: local path, ``ObjectStoragePath`` or URI of one; ends in ``.csv`` or ``.xlsx`` and has a column
        ``phone1``
    :param screen: says why a recipient is held back
    :param drop_bad_rows: leave out rows without a number and accounts that stand there twice, instead of refusing
    :raises InvalidInput: no such file, no such column, no row, or bad rows that are not to be dropped
    """
    ending = ending_of(source)
    with tempfile.TemporaryDirectory(prefix="cirrus-") as folder:
        given = Path(folder) / f"given{ending}"
        filename = _fetch(source, given)
        rows = given if ending == ".csv" else _as_csv(given)
        cleaned = Path(folder) / "cleaned.csv"
        # Only for its counts until it is known which file goes out.
        found, is_clean = _look(rows, cleaned, screen)
        _check(found, drop_bad_rows)
        if is_clean:
            found.filename, found.media_type = filename, _MEDIA_TYPES[ending]
        else:
            found.filename, found.media_type = f"{Path(filename).stem}.csv", _MEDIA_TYPES[".csv"]
        with (given if is_clean else cleaned).open("rb") as file:
            found.file = file
            yield found


def ending_of(source: Any) -> str:
    """
    Return what the name of an audience file ends in: ``.csv`` or ``.xlsx``.

    :raises InvalidInput: something else
    """
    if not source or not str(source).strip():
        raise InvalidInput("audience_file", "is missing.", hint="Give a local path, or a URI such as s3://bucket/key.")
    ending = Path(str(source)).suffix.lower()
    if ending not in _MEDIA_TYPES:
        raise InvalidInput(
            "audience_file",
            f"is a file of a kind that campaigns do not take ({ending or 'no ending'}).",
            hint="Its name must end in .csv or .xlsx.",
        )
    return ending


def _fetch(source: Any, target: Path) -> str:
    """Copy the file here, so that what is looked at is what is sent; return its name."""
    path: Any = Path(str(source)) if "://" not in str(source) else object_path(source)
    try:
        with path.open("rb") as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    except FileNotFoundError:
        raise InvalidInput(
            "audience_file", f"there is no file {str(source)!r}.", hint="The worker must see the file."
        ) from None
    except IsADirectoryError:
        raise InvalidInput("audience_file", f"{str(source)!r} is a folder.", hint="Give one file.") from None
    except PermissionError:
        raise InvalidInput("audience_file", f"{str(source)!r} may not be read.") from None
    return str(path.name)


def _look(rows: Path, cleaned: Path, screen: Screen) -> tuple[CampaignFile, bool]:
    """Look at every row and write those that stay; return the counts, and whether nothing had to be changed."""
    found = CampaignFile(None, "", "")  # type: ignore[arg-type]
    is_clean = True
    everybody = 0
    with closing(Scratch()) as seen, cleaned.open("w", encoding="utf-8", newline="") as copy:
        writer: Any = None
        for number, row in enumerate(_rows(rows), 1):
            if isinstance(row, BadRow):
                found.rejected += 1
                _note(found, f"row {number} {row.reason}")
                continue
            try:
                written = value_of(row, RECIPIENT_COLUMN, RECIPIENT_COLUMN)
                digits = to_digits(written, RECIPIENT_COLUMN)
            except InvalidInput as error:
                found.rejected += 1
                _note(found, f"row {number}, {error.message}")
                continue
            if screen(digits) is not None:
                found.suppressed += 1
                continue
            account = account_of(digits).encode()
            if seen.see([hashlib.blake2b(account, digest_size=KEY_BYTES).digest()]) == [False]:
                found.duplicate += 1
                _note(found, f"row {number}, {RECIPIENT_COLUMN}: {mask(digits)} stands in an earlier row.")
                continue
            found.kept += 1
            everybody += int.from_bytes(hashlib.blake2b(account, digest_size=16).digest())
            is_clean = is_clean and written == digits
            if writer is None:
                writer = csv.DictWriter(copy, list(row))
                writer.writeheader()
            writer.writerow({**row, RECIPIENT_COLUMN: digits})
    found.recipients = (everybody % _SUM).to_bytes(16)
    return found, is_clean and found.kept == found.total


def _rows(path: Path) -> Iterator[Any]:
    try:
        yield from open_rows(path, needed={"audience_file": [RECIPIENT_COLUMN]})
    except InvalidInput as error:
        raise InvalidInput("audience_file", error.problem, hint=error.hint) from None


def _note(found: CampaignFile, problem: str) -> None:
    if len(found.problems) < _SHOWN:
        found.problems.append(problem)


def _check(found: CampaignFile, drop_bad_rows: bool) -> None:
    if not found.total:
        raise InvalidInput("audience_file", "holds no row.", hint="Give at least one recipient, or skip the task.")
    bad = found.rejected + found.duplicate
    # A file of which nothing is left is wrong throughout: it is no audience with some bad rows in it.
    if not bad or (drop_bad_rows and (found.kept or found.suppressed)):
        return
    more = f" And {bad - _SHOWN} more." if bad > _SHOWN else ""
    raise InvalidInput(
        "audience_file",
        f"{' '.join(found.problems)}{more} ({bad} of {found.total} rows cannot be messaged: "
        f"{found.rejected} without a number, {found.duplicate} duplicate.)",
        hint="Mend the file." if drop_bad_rows else 'Mend the file, or set on_bad_rows="drop" to leave these rows out.',
    )


def _as_csv(workbook: Path) -> Path:
    """Write the sheet of a workbook as CSV beside it."""
    # Late, as it is heavy and comes with an extra.
    try:
        openpyxl = import_module("openpyxl")
    except ImportError:
        raise InvalidInput(
            "audience_file",
            "is a workbook, which needs openpyxl.",
            hint="pip install 'airflow-provider-cirrus[xlsx]', or save it as CSV.",
        ) from None
    try:
        book = openpyxl.load_workbook(workbook, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise InvalidInput("audience_file", "is not an Excel workbook, whatever its name ends in.") from None
    target = workbook.with_suffix(".csv")
    with closing(book), target.open("w", encoding="utf-8", newline="") as file:
        if len(book.worksheets) != 1:
            raise InvalidInput(
                "audience_file",
                f"has {len(book.worksheets)} sheets, and which of them Cirrus reads is not documented.",
                hint="Leave one sheet in it, or save that one as CSV.",
            )
        _write_sheet(book.worksheets[0], csv.writer(file))
    return target


def _write_sheet(sheet: Any, writer: Any) -> None:
    # Programs other than Excel may write a size that is wrong, and rows beyond it would be lost.
    sheet.reset_dimensions()
    header: list[Any] = []
    for cells in sheet.iter_rows(values_only=True):
        row = list(cells)
        while row and row[-1] is None:
            row.pop()
        if not row:
            continue
        if not header:
            header = row
        for name, value in zip(header, row, strict=False):
            if name == RECIPIENT_COLUMN and isinstance(value, float):
                # As text, its point would count as a separator of digits.
                raise InvalidInput(
                    "audience_file", f"holds a number with a decimal point in {name}.", hint="Write numbers as text."
                )
        row += [None] * (len(header) - len(row))
        writer.writerow(["" if value is None else value for value in row])
