"""Sources of numbers: who agreed, or who wants nothing, looked up many at a time."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.phone import account_of, mask, mask_all, spellings_of, to_digits
from airflow_provider_cirrus.api.text import as_text
from airflow_provider_cirrus.delivery.audience.rows import BadRow, Row, is_path, open_rows, value_of
from airflow_provider_cirrus.delivery.storage import object_path

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

#: The columns of what :mod:`~.rejects` writes; a file or table that has them tells since when, and why.
REJECT_FIELDS = ("number", "code", "reason", "time")

_PARTS = ("number", "source", "time", "version")
# Names of the column of numbers, in the order in which they are looked for.
_NUMBER_COLUMNS = ("to", "phone", "phone1", "number", "msisdn")
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


class LookupFailed(CirrusError):
    """A source of numbers broke off: who may be messaged is not known, so nobody is."""

    passing = True


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What is known of an entry, for the report.

    :ivar source: where it comes from, such as ``web form``
    :ivar time: when, as text, in ISO 8601 where the source has a time
    :ivar version: the version of the wording that was agreed to
    """

    source: str | None = None
    time: str | None = None
    version: str | None = None

    @property
    def texts(self) -> tuple[str | None, str | None, str | None]:
        """All three, in the order of the report."""
        return self.source, self.time, self.version


#: An entry of which nothing more is known.
NOTHING_KNOWN = Proof()


class Numbers(Protocol):
    """A source of numbers that is open. One thread uses it."""

    def find(self, numbers: Sequence[str]) -> Mapping[str, Proof]:
        """
        Return those of the numbers that the source holds, under any spelling, with what is known of each.

        :param numbers: as :func:`~airflow_provider_cirrus.api.phone.to_digits` returns them
        :raises CirrusError: it cannot be known
        """

    def close(self) -> None:
        """Let go of files and connections."""


@dataclass(frozen=True)
class FileNumbers:
    """
    Numbers of a file, read once, into a temporary file: memory does not grow with it.

    :param path: local path, ``ObjectStoragePath`` or URI; ends in ``.txt`` (one number per line), or as an audience
        does: ``.csv``, ``.jsonl``, ``.ndjson`` (each also with ``.gz``) or ``.parquet``
    :param number_column: None: ``to``, ``phone``, ``phone1``, ``number``, ``msisdn``, or the only one
    :param source_column: of what the entry comes from
    :param time_column: of the entry's time
    :param version_column: of the version of the wording
    :param delimiter: one character, between the cells of CSV
    """

    path: Any
    number_column: str | None = None
    source_column: str | None = None
    time_column: str | None = None
    version_column: str | None = None
    delimiter: str = ","


@dataclass(frozen=True)
class SqlNumbers:
    """
    Numbers of a query or a table, looked up in the database many at a time; nothing is ever committed.

    The database must hold them in digits with country code, with ``+`` or without, as text or as whole numbers.

    :param sql: one query; its placeholders are written ``:name``, and a colon that begins none ``\\:``
    :param conn_id: connection of the database
    :param table: instead of a query; ``schema.table`` where it is in a schema
    :param number_column: None: ``to``, ``phone``, ``phone1``, ``number``, ``msisdn``, or the only one
    :param source_column: of what the entry comes from
    :param time_column: of the entry's time
    :param version_column: of the version of the wording
    :param parameters: values for the placeholders; they never become part of the query's text
    """

    sql: str | None = None
    conn_id: str = ""
    table: str | None = None
    number_column: str | None = None
    source_column: str | None = None
    time_column: str | None = None
    version_column: str | None = None
    parameters: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.sql is None) == (self.table is None):
            raise InvalidInput("sql", "and table: give exactly one of them.")
        name = "sql" if self.table is None else "table"
        value = getattr(self, name)
        if not isinstance(value, str) or not value.strip():
            raise InvalidInput(name, "is empty or no text.")
        if not isinstance(self.conn_id, str) or not self.conn_id.strip():
            raise InvalidInput("conn_id", "is missing.", hint="Give the id of the database's connection.")
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise InvalidInput(
                "parameters",
                f"is of type {type(self.parameters).__name__}.",
                hint="Give a dict, for placeholders such as :day.",
            )


@dataclass(frozen=True)
class ListedNumbers:
    """
    Numbers in memory.

    :ivar accounts: one spelling of each
    """

    accounts: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, numbers: Sequence[Any] | AbstractSet[Any], field: str) -> ListedNumbers:
        """
        Return the numbers of a list or set.

        :raises InvalidInput: an entry is none
        """
        places = isinstance(numbers, Sequence)
        return cls(
            frozenset(
                account_of(to_digits(number, f"{field}[{place}]" if places else f"{field}, an entry"))
                for place, number in enumerate(numbers)
            )
        )

    def find(self, numbers: Sequence[str]) -> Mapping[str, Proof]:
        """Return those that are held; see :meth:`Numbers.find`."""
        return {number: NOTHING_KNOWN for number in numbers if account_of(number) in self.accounts}

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def given_numbers(value: Any, field: str) -> Any:
    """
    Return a source as one of the forms that :func:`numbers_of` opens; nothing is opened.

    :param value: a list, tuple or set of numbers; a path or URI; a function of the digits that returns a bool, None,
        or a dict of source, time and version; :class:`FileNumbers` or :class:`SqlNumbers`, or a dict of either's
        arguments
    :param field: how errors name it
    :raises InvalidInput: anything else
    """
    if isinstance(value, FileNumbers | SqlNumbers | ListedNumbers):
        return value
    if isinstance(value, Mapping):
        kind: type[Any] = FileNumbers if "path" in value else SqlNumbers
        known = [one.name for one in fields(kind)]
        if not {"path", "sql", "table"} & set(value):
            raise InvalidInput(
                field, "is a dict without path, sql or table.", hint='Such as {"sql": "SELECT …", "conn_id": "crm"}.'
            )
        if strange := [name for name in value if name not in known]:
            raise InvalidInput(field, f"has no {strange[0]!r}.", hint=f"The names are {', '.join(known)}.")
        try:
            return kind(**value)
        except InvalidInput as error:
            raise InvalidInput(f"{field}.{error.field}", error.problem, hint=error.hint) from None
    if is_path(value):
        if not str(value).strip():
            raise InvalidInput(field, "is empty.", hint="Give a path, or a list of numbers.")
        return FileNumbers(value)
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes):
        return ListedNumbers.of(value, field)
    if callable(value):
        return value
    raise InvalidInput(
        field,
        f"is of type {type(value).__name__}.",
        hint="Give a list of numbers, a path, a query as SqlNumbers or dict, or a function of the digits.",
    )


def numbers_of(
    value: Any, field: str, *, connect: Callable[[str], Engine] | None = None, strict: bool = False
) -> Numbers:
    """
    Open a source of numbers; what is wrong with it is found at once.

    :param value: as :func:`given_numbers` takes it
    :param field: how errors name it
    :param connect: returns the engine of a connection, which is closed with the source; needed for SQL
    :param strict: whether an entry that is no number is an error, rather than left out and logged
    :raises InvalidInput: the source cannot be used as it is
    :raises CirrusError: its database does not answer, or does not take the query
    """
    given = given_numbers(value, field)
    if isinstance(given, ListedNumbers):
        return given
    if isinstance(given, FileNumbers):
        return _load(given, field, strict)
    if isinstance(given, SqlNumbers):
        if connect is None:
            raise InvalidInput(field, "is SQL, which cannot be had here.", hint="Give a list, a file or a function.")
        # Late, as a DAG file that names a source must not import SQLAlchemy.
        from airflow_provider_cirrus.delivery.contact_lists.sql import SqlLookup

        return SqlLookup(given, field, connect(given.conn_id), strict=strict)
    return _Asked(given, field)


def proof_text(value: Any, field: str) -> str | None:
    """
    Return a part of a proof as text; None where there is none.

    :raises InvalidInput: of a type that is no text, number or time
    """
    # NaN, and pandas' NaT: both are unlike themselves.
    if value is None or value != value:
        return None
    try:
        return as_text(value).strip() or None
    except ValueError:
        raise InvalidInput(field, f"is of type {type(value).__name__}, no text, number or time.") from None


def choose_columns(given: Any, columns: Sequence[str], field: str, *, optional: bool = False) -> dict[str, str]:
    """
    Return which column holds which part: number and, where there are such, source, time and version.

    :param given: has ``number_column``, ``source_column``, ``time_column`` and ``version_column``
    :param columns: those that there are
    :param field: how errors name the source
    :param optional: whether rows may lack a column that others have
    :raises InvalidInput: a column that is named is not there or stands there twice, or none is that of numbers
    """
    named = {part: name for part in _PARTS if (name := getattr(given, f"{part}_column")) is not None}
    there = ", ".join(mask(name) if sum(map(str.isdecimal, name)) >= 7 else name for name in columns) or "none"
    if "number" not in named:
        lowered = {name.lower().strip(): name for name in reversed(columns)}
        found = next((lowered[name] for name in _NUMBER_COLUMNS if name in lowered), None)
        if found is None and len(columns) != 1:
            raise InvalidInput(
                f"{field}.number_column",
                f"is needed: none of the columns is called {', '.join(_NUMBER_COLUMNS)}; there are {there}.",
            )
        named["number"] = found or columns[0]
    for part, name in named.items():
        if (name not in columns and not optional) or columns.count(name) > 1:
            said = "there is no column" if name not in columns else f"there are {columns.count(name)} columns"
            raise InvalidInput(f"{field}.{part}_column", f"{said} {name!r}; there are {there}.")
    if set(REJECT_FIELDS) <= set(columns):
        named = {"source": "reason", "time": "time", **named}
    return named


class _Asked:
    """Numbers of which a function tells."""

    def __init__(self, ask: Callable[[str], Any], field: str) -> None:
        self._ask = ask
        self._field = field

    def find(self, numbers: Sequence[str]) -> Mapping[str, Proof]:
        found: dict[str, Proof] = {}
        for number in numbers:
            # As it is spelt first; a function that looks it up may know only the other spelling.
            for spelling in dict.fromkeys((number, *spellings_of(number))):
                if (proof := self._one(spelling)) is not None:
                    found[number] = proof
                    break
        return found

    def close(self) -> None:
        pass

    def _one(self, digits: str) -> Proof | None:
        try:
            answer = self._ask(digits)
        except Exception as error:  # noqa: BLE001  (the user's own, whatever it is; it is raised again)
            said = mask_all(str(error))
            # From None: the traceback would show its words, and who it is about. Its frames stay.
            raise LookupFailed(
                f"{self._field}: the function failed for {mask(digits)} ({type(error).__name__}: {said}).",
                hint="Nobody is messaged as long as it fails.",
            ).with_traceback(error.__traceback__) from None
        if answer is None or isinstance(answer, bool):
            return NOTHING_KNOWN if answer else None
        if isinstance(answer, Proof):
            return answer
        names = [one.name for one in fields(Proof)]
        if isinstance(answer, Mapping) and answer and set(answer) <= set(names):
            return Proof(**{name: proof_text(value, f"{self._field}.{name}") for name, value in answer.items()})
        raise InvalidInput(
            self._field,
            f"the function returns a value of type {type(answer).__name__} for {mask(digits)}.",
            hint=f"It must return a bool, None, or a dict with {', '.join(names)}.",
        )


class _Held:
    """
    Numbers in a temporary file; gone when it is closed.

    It holds hashes with a secret of this process: what a killed one leaves behind names nobody.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(16)
        self._folder = tempfile.TemporaryDirectory(prefix="cirrus-")
        self._rows = sqlite3.connect(Path(self._folder.name) / "numbers", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE}", "locking_mode=EXCLUSIVE"):
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.execute("CREATE TABLE held (key INT, source TEXT, time TEXT, version TEXT)")
        self._rows.execute("BEGIN")

    def load(self, entries: Iterator[tuple[str, str | None, str | None, str | None]]) -> None:
        """Take over digits and what is known of them; called once."""
        while chunk := [(self._key(digits), *known) for digits, *known in islice(entries, _CHUNK)]:
            self._rows.executemany("INSERT INTO held VALUES (?, ?, ?, ?)", chunk)
        # Only now: to sort all at once is quicker than to keep them in order.
        self._rows.execute("CREATE INDEX held_key ON held (key)")

    def find(self, numbers: Sequence[str]) -> Mapping[str, Proof]:
        found: dict[str, Proof] = {}
        for start in range(0, len(numbers), _ASKED):
            keys = {number: self._key(number) for number in numbers[start : start + _ASKED]}
            rows = self._rows.execute(
                f"SELECT key, source, time, version FROM held WHERE key IN ({', '.join('?' * len(keys))}) "  # noqa: S608  (only question marks)
                # Of several entries the last.
                "ORDER BY rowid",
                list(keys.values()),
            )
            if held := {key: Proof(*known) for key, *known in rows}:
                found |= {number: held[key] for number, key in keys.items() if key in held}
        return found

    def close(self) -> None:
        self._rows.close()
        self._folder.cleanup()

    def _key(self, digits: str) -> int:
        # With a hundred million numbers held, a stranger shares a key with a chance of one in 10^11.
        hashed = hashlib.blake2b(account_of(digits).encode(), digest_size=8, key=self._secret).digest()
        return int.from_bytes(hashed, "big", signed=True)


def _load(given: FileNumbers, field: str, strict: bool) -> _Held:
    held = _Held()
    try:
        bad = _Bad()
        held.load(_entries(given, field, bad))
        if bad.count:
            _tell(bad, given, field, strict)
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
    others = [columns.get(part) for part in _PARTS[1:]]
    for place, row in enumerate(_rows(given, field, list(dict.fromkeys(columns.values()))), 1):
        if isinstance(row, BadRow):
            bad.add(place, row.reason)
            continue
        try:
            digits = to_digits(value_of(row, at, at), at)
            known = [None if name is None else proof_text(row.get(name), name) for name in others]
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
    if any(sum(map(str.isdecimal, name)) >= 7 and not any(map(str.isalpha, name)) for name in first):
        raise _without_header(given, field)
    return choose_columns(given, list(first), field, optional=name.endswith(_MAY_LACK))


def _check_header(given: FileNumbers, field: str) -> None:
    """Refuse CSV of one line that may be somebody's number."""
    for name in [given.number_column] if given.number_column else _NUMBER_COLUMNS:
        try:
            with closing(open_rows(given.path, needed={field: [name]}, delimiter=given.delimiter)):  # type: ignore[type-var]
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
        return open_rows(given.path, needed=needed, delimiter=given.delimiter)
    except InvalidInput as error:
        hint = error.hint.replace("must end in", f"must end in {_TEXT_ENDING},")
        name = f"{field}.delimiter" if error.field == "delimiter" else field
        raise InvalidInput(name, error.problem, hint=hint) from None


def _of_text(source: Any, field: str) -> Iterator[Row]:
    path: Any = Path(str(source)) if "://" not in str(source) else object_path(source)
    try:
        file = path.open("r", encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise InvalidInput(field, f"there is no file {str(source)!r}.", hint="The worker must see the file.") from None
    except IsADirectoryError:
        raise InvalidInput(field, f"{str(source)!r} is a directory.", hint="Give one file.") from None
    except PermissionError:
        raise InvalidInput(field, f"{str(source)!r} may not be read.") from None
    return _lines(file)


def _lines(file: Any) -> Iterator[Row]:
    with file:
        for line in file:
            if not line.isspace():
                yield {_NUMBER_COLUMNS[0]: line.strip()}
