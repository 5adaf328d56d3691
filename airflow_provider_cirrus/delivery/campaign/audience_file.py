"""The audience file of a campaign: every row is looked at before anything leaves, and what was looked at is sent."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias

from airflow_provider_cirrus.api.campaign import RECIPIENT_COLUMN
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.media import XLSX
from airflow_provider_cirrus.api.phone import account_of, mask, to_digits
from airflow_provider_cirrus.delivery.audience.rows import csv_rows, value_of
from airflow_provider_cirrus.delivery.audience.table import BadRow, Row
from airflow_provider_cirrus.delivery.audience.workbook import open_workbook
from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord
from airflow_provider_cirrus.delivery.errors import EmptyAudience
from airflow_provider_cirrus.delivery.ledger.base import KEY_BYTES
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules.policy import NO_RULES
from airflow_provider_cirrus.delivery.storage import object_path, open_source

#: Says of recipients, as digits and row, why they get nothing, beginning with the rule's name; no text: they may.
Look: TypeAlias = Callable[[Sequence[tuple[str, Mapping[str, Any]]]], Sequence[ConsentRecord | str]]

_MEDIA_TYPES = {".csv": "text/csv", ".xlsx": XLSX.mime}
# Enough to see the pattern in a file that is wrong throughout.
_SHOWN = 5
# Rows for which databases are asked at once.
_CHUNK = 500
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
    :ivar rules: name of a rule to the rows that it held back
    :ivar held: the first of those rows, for people
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
    rules: dict[str, int] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    recipients: bytes = b""

    @property
    def total(self) -> int:
        """The number of rows of the file as it came."""
        return self.kept + self.suppressed + self.rejected + self.duplicate


@dataclass
class _Looked:
    """A row that was looked at: whose it is, or what is wrong with it; and why its owner gets nothing."""

    number: int
    row: Mapping[str, Any]
    digits: str = ""
    problem: str = ""
    reason: str = ""


@contextmanager
def open_campaign_file(
    source: Any,
    *,
    look: Look = NO_RULES.evaluate_rows,
    needed: Mapping[str, Sequence[str]] | None = None,
    drop_bad_rows: bool = False,
) -> Iterator[CampaignFile]:
    """
    Open an audience file for a campaign, after looking at every row; it is closed at the end.

    It goes out as it is where every row may stay and every number is written in digits. Otherwise a copy in CSV
    goes out, with the rows that stay and their numbers in digits. Memory does not grow with a CSV file. What is
    written to the disk has no name there: it is gone with the process, however that ends.

    :param source: local path, ``ObjectStoragePath`` or URI of one; ends in ``.csv`` or ``.xlsx`` and has a column
        ``phone1``
    :param look: the rules, such as :meth:`~.rules.policy.Policy.evaluate_rows`; asked for many rows at once
    :param needed: the columns that they go by, by the argument that names them
    :param drop_bad_rows: leave out rows without a number and accounts that stand there twice, instead of refusing
    :raises InvalidInput: no such file, no such column, no row, or bad rows that are not to be dropped
    :raises CirrusError: by ``look``
    """
    ending = ending_of(source)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as cleaned, ExitStack() as opened:
        filename = _fetch(source, given)
        rows = given if ending == ".csv" else _as_csv(given, opened.enter_context(tempfile.TemporaryFile()))
        # Only for its counts until it is known which file goes out.
        found, is_clean = _look(_rows(rows, needed or {}, is_ours=ending != ".csv"), cleaned, look)
        _check(found, drop_bad_rows)
        if is_clean:
            found.filename, found.media_type = filename, _MEDIA_TYPES[ending]
        else:
            found.filename, found.media_type = f"{Path(filename).stem}.csv", _MEDIA_TYPES[".csv"]
        found.file = given if is_clean else cleaned
        found.file.seek(0)
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


def _fetch(source: Any, target: BinaryIO) -> str:
    """Copy the file here, so that what is looked at is what is sent; return its name."""
    path: Any = Path(str(source)) if "://" not in str(source) else object_path(source)
    try:
        with open_source(path) as file:
            shutil.copyfileobj(file, target)
    except FileNotFoundError:
        raise InvalidInput(
            "audience_file", f"there is no file {str(source)!r}.", hint="The worker must see the file."
        ) from None
    except IsADirectoryError:
        raise InvalidInput("audience_file", f"{str(source)!r} is a folder.", hint="Give one file.") from None
    except PermissionError:
        raise InvalidInput("audience_file", f"{str(source)!r} may not be read.") from None
    return str(path.name)


def _look(rows: Iterator[Row], cleaned: BinaryIO, look: Look) -> tuple[CampaignFile, bool]:
    """Look at every row and write those that stay; return the counts, and whether nothing had to be changed."""
    found = CampaignFile(None, "", "")  # type: ignore[arg-type]
    is_clean = True
    everybody = 0
    with closing(TempIndex()) as seen, _writing(cleaned) as copy:
        writer: Any = None
        for one in _looked_at(rows, look):
            if one.problem:
                found.rejected += 1
                _note(found.problems, f"row {one.number}{one.problem}")
                continue
            account = account_of(one.digits).encode()
            if _is_duplicate(account, bool(one.reason), seen):
                found.duplicate += 1
                shown = mask(one.digits)
                _note(found.problems, f"row {one.number}, {RECIPIENT_COLUMN}: {shown} stands in an earlier row.")
                continue
            if one.reason:
                found.suppressed += 1
                rule = one.reason.partition(":")[0]
                found.rules[rule] = found.rules.get(rule, 0) + 1
                _note(found.held, f"row {one.number}, {one.reason}")
                continue
            found.kept += 1
            everybody += int.from_bytes(hashlib.blake2b(account, digest_size=16).digest())
            is_clean = is_clean and one.row[RECIPIENT_COLUMN] == one.digits
            if writer is None:
                writer = csv.DictWriter(copy, list(one.row))
                writer.writeheader()
            writer.writerow({**one.row, RECIPIENT_COLUMN: one.digits})
    found.recipients = (everybody % _SUM).to_bytes(16)
    return found, is_clean and found.kept == found.total


def _looked_at(rows: Iterator[Row], look: Look) -> Iterator[_Looked]:
    numbered = enumerate(rows, 1)
    while chunk := [_read(number, row) for number, row in islice(numbered, _CHUNK)]:
        asked = [one for one in chunk if not one.problem]
        for one, said in zip(asked, look([(one.digits, one.row) for one in asked]), strict=True):
            one.reason = said if isinstance(said, str) else ""
        yield from chunk


def _read(number: int, row: Row) -> _Looked:
    if isinstance(row, BadRow):
        return _Looked(number, {}, problem=f" {row.reason}")
    try:
        digits = to_digits(value_of(row, RECIPIENT_COLUMN, RECIPIENT_COLUMN), RECIPIENT_COLUMN)
    except InvalidInput as error:
        return _Looked(number, row, problem=f", {error.message}")
    return _Looked(number, row, digits)


def _is_duplicate(account: bytes, is_held: bool, seen: TempIndex) -> bool:
    """
    Return whether an account stands in an earlier row.

    Whom the rules hold back in every row is suppressed in every row. If they do not, as they go by a column, it
    cannot be told which row is right.
    """
    keys = [hashlib.blake2b(account, digest_size=KEY_BYTES).digest()]
    if is_held:
        keys.append(hashlib.blake2b(account, digest_size=KEY_BYTES, person=b"held").digest())
    is_new, *is_first_held = seen.check_and_mark(keys)
    return not is_new and is_first_held != [False]


@contextmanager
def _writing(file: BinaryIO) -> Iterator[TextIO]:
    """Have text written to a file that stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()


def _rows(file: BinaryIO, needed: Mapping[str, Sequence[str]], *, is_ours: bool) -> Iterator[Row]:
    file.seek(0)
    # Of its own, as it is closed after the last row.
    copy = os.fdopen(os.dup(file.fileno()), "rb")
    try:
        yield from csv_rows(copy, needed={"audience_file": [RECIPIENT_COLUMN], **needed}, is_ours=is_ours)
    except InvalidInput as error:
        name = error.field if error.field in needed else "audience_file"
        raise InvalidInput(name, error.problem, hint=error.hint) from None


def _note(notes: list[str], note: str) -> None:
    if len(notes) < _SHOWN:
        notes.append(note)


def _check(found: CampaignFile, drop_bad_rows: bool) -> None:
    if not found.total:
        raise EmptyAudience("audience_file", "holds no row.")
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


def _as_csv(workbook: BinaryIO, target: BinaryIO) -> BinaryIO:
    """Write the sheet of a workbook as CSV."""
    with open_workbook(workbook, "audience_file") as cells, _writing(target) as file:
        _write_cells(cells, csv.writer(file))
    return target


def _write_cells(cells: Iterator[list[Any]], writer: Any) -> None:
    header: list[Any] = []
    for row in cells:
        if not header:
            header = row
        for name, value in zip(header, row, strict=False):
            if name == RECIPIENT_COLUMN and isinstance(value, float):
                # As text, its point would count as a separator of digits.
                raise InvalidInput(
                    "audience_file", f"holds a number with a decimal point in {name}.", hint="Write numbers as text."
                )
        padded = [*row, *[None] * (len(header) - len(row))]
        writer.writerow(["" if value is None else value for value in padded])
