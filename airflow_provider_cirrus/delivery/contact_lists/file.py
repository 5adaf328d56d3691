"""Numbers of a file: read once, into a temporary file, and looked up there."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of, could_be_number, mask_all, to_digits
from airflow_provider_cirrus.delivery.audience.rows import UTF_8, open_rows, value_of
from airflow_provider_cirrus.delivery.audience.table import BadRow, Row
from airflow_provider_cirrus.delivery.contact_lists.spec import (
    NUMBER_COLUMNS,
    PARTS,
    ConsentRecord,
    FileNumbers,
    choose_columns,
    record_text,
)
from airflow_provider_cirrus.delivery.sql.temporary import temporary_database
from airflow_provider_cirrus.delivery.storage import open_file

log = logging.getLogger(__name__)
_TEXT_ENDING = ".txt"

# Formats in which each row names its own columns.
_MAY_LACK = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
# Rows written to the temporary file at once.
_CHUNK = 5_000

# SQLite before 3.32 takes 999 parameters in a statement.
_ASKED = 900
# Pages kept in memory, in KiB.
_CACHE = 4096

# Enough to see the pattern in a file that is wrong throughout.
_SHOWN = 5


class HeldNumbers:
    """
    Numbers in a temporary file; gone when it is closed, or with the process.

    It holds hashes with a secret of this process: what is on the disk names nobody.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(16)
        self._rows = temporary_database(_CACHE)
        self._rows.execute("CREATE TABLE held (key INT, source TEXT, time TEXT, version TEXT)")
        self._rows.execute("BEGIN")

    def load(self, entries: Iterator[tuple[str, str | None, str | None, str | None]]) -> None:
        """Take over digits and what is known of them; called once."""
        while chunk := [(self._key(digits), *known) for digits, *known in islice(entries, _CHUNK)]:
            self._rows.executemany("INSERT INTO held VALUES (?, ?, ?, ?)", chunk)
        # Only now: to sort all at once is quicker than to keep them in order.
        self._rows.execute("CREATE INDEX held_key ON held (key)")

    def find(self, numbers: Sequence[str]) -> Mapping[str, ConsentRecord]:
        """Return those that are held; see :meth:`~.spec.Numbers.find`."""
        found: dict[str, ConsentRecord] = {}
        for start in range(0, len(numbers), _ASKED):
            keys = {number: self._key(number) for number in numbers[start : start + _ASKED]}
            rows = self._rows.execute(
                f"SELECT key, source, time, version FROM held WHERE key IN ({', '.join('?' * len(keys))}) "  # noqa: S608  (only question marks)
                # Of several entries the last.
                "ORDER BY rowid",
                list(keys.values()),
            )
            if held := {key: ConsentRecord(*known) for key, *known in rows}:
                found |= {number: held[key] for number, key in keys.items() if key in held}
        return found

    def close(self) -> None:
        """Remove the file."""
        self._rows.close()

    def _key(self, digits: str) -> int:
        # With a hundred million numbers held, a stranger shares a key with a chance of one in 10^11.
        hashed = hashlib.blake2b(account_of(digits).encode(), digest_size=8, key=self._secret).digest()
        return int.from_bytes(hashed, "big", signed=True)


def load_file(chosen: FileNumbers, field: str, strict: bool) -> HeldNumbers:
    """
    Read a file of numbers.

    :param field: how errors name it
    :param strict: whether an entry that is no number is an error, rather than left out and logged
    :raises InvalidInput: it cannot be used as it is
    """
    held = HeldNumbers()
    try:
        bad = _Bad()
        held.load(_entries(chosen, field, bad))
        if bad.count:
            _tell(bad, chosen, field, strict)
    except BaseException:
        held.close()
        raise
    return held


class _Bad:
    """The rows that hold no number: how many, and what the first of them are."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, row: int, problem: str) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(mask_all(f"row {row} {problem}"))


def _tell(bad: _Bad, given: FileNumbers, field: str, strict: bool) -> None:
    more = f" And {bad.count - _SHOWN} more." if bad.count > _SHOWN else ""
    said = f"{' '.join(bad.first)}{more}"
    if strict:
        raise InvalidInput(
            field,
            f"{bad.count} rows of {str(given.path)!r} hold no number: {said}",
            hint="Mend them, or whoever is meant there would be messaged; nobody was.",
        )
    log.warning("%s: %d rows of %s hold no number, and count for nobody: %s", field, bad.count, given.path, said)


def _entries(given: FileNumbers, field: str, bad: _Bad) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    columns = _columns(given, field)
    at = columns.get("number", "")
    others = [columns.get(part) for part in PARTS[1:]]
    for place, row in enumerate(_rows(given, field, list(dict.fromkeys(columns.values()))), 1):
        if isinstance(row, BadRow):
            bad.add(place, row.reason)
            continue
        try:
            digits = to_digits(value_of(row, at, at), at)
            known = [None if name is None else record_text(row.get(name), name) for name in others]
        except InvalidInput as error:
            bad.add(place, f"({error.field}) {error.problem}")
            continue
        yield digits, known[0], known[1], known[2]


def _columns(given: FileNumbers, field: str) -> dict[str, str]:
    """Choose by the first row that can be read; nothing is chosen where there is none."""
    with closing(_rows(given, field)) as rows:  # type: ignore[type-var]
        first: Any = next((row for row in rows if not isinstance(row, BadRow)), None)
    name = str(given.path).lower()
    if first is None:
        if ".csv" in name:
            _check_header(given, field)
        return {}
    if any(could_be_number(name) and not any(map(str.isalpha, name)) for name in first):
        raise _without_header(given, field)
    return choose_columns(given, list(first), field, optional=name.endswith(_MAY_LACK))


def _check_header(given: FileNumbers, field: str) -> None:
    """Refuse CSV of one line that may be somebody's number."""
    for name in [given.number_column] if given.number_column else NUMBER_COLUMNS:
        try:
            with closing(
                open_rows(
                    given.path, needed={field: [name]}, delimiter=given.delimiter, encoding=given.encoding or UTF_8
                )
            ):  # type: ignore[type-var]
                return
        except InvalidInput:
            continue
    raise _without_header(given, field)


def _without_header(given: FileNumbers, field: str) -> InvalidInput:
    # The first line of a list without a header would be taken for one, and its number be lost.
    return InvalidInput(
        field,
        f"{str(given.path)!r} does not begin with the names of its columns.",
        hint="Give it a header; or one number per line, and a name that ends in .txt.",
    )


def _rows(given: FileNumbers, field: str, columns: Sequence[str] = ()) -> Iterator[Row]:
    if str(given.path).lower().endswith(_TEXT_ENDING):
        return _of_text(given.path, field)
    needed = {field: columns} if str(given.path).lower().endswith(".parquet") and columns else {}
    try:
        return _open(given, needed)
    except InvalidInput as error:
        hint = error.hint.replace("must end in", f"must end in {_TEXT_ENDING},")
        name = f"{field}.{error.field}" if error.field in ("delimiter", "encoding") else field
        raise InvalidInput(name, error.problem, hint=hint) from None


def _open(given: FileNumbers, needed: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    return open_rows(given.path, needed=needed, delimiter=given.delimiter, encoding=given.encoding or UTF_8)


def _of_text(source: Any, field: str) -> Iterator[Row]:
    return _lines(io.TextIOWrapper(open_file(source, field), encoding="utf-8-sig", errors="replace"))


def _lines(file: Any) -> Iterator[Row]:
    with file:
        for line in file:
            if not line.isspace():
                yield {NUMBER_COLUMNS[0]: line.strip()}
