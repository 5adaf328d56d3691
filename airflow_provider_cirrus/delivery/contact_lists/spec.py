"""Lists of numbers, as users name them: who agreed, or who wants nothing. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import account_of, could_be_number, mask, to_digits
from airflow_provider_cirrus.api.text import as_text
from airflow_provider_cirrus.api.values import is_missing, plain
from airflow_provider_cirrus.delivery.audience.rows import is_path

#: The columns of what :mod:`~.rejects` writes; a file or table that has them tells since when, and why.
REJECT_FIELDS = ("number", "code", "reason", "time")

#: What an entry tells, in the order in which it is kept.
PARTS = ("number", "source", "time", "version")
#: Names of the column of numbers, in the order in which they are looked for.
NUMBER_COLUMNS = ("to", "phone", "phone1", "number", "msisdn")


@dataclass(frozen=True, slots=True)
class ConsentRecord:
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
NO_RECORD = ConsentRecord()


class Numbers(Protocol):
    """A source of numbers that is open. One thread uses it."""

    def find(self, numbers: Sequence[str]) -> Mapping[str, ConsentRecord]:
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
    :param encoding: of the text in CSV and JSON Lines, such as ``cp1252``; None: UTF-8
    """

    path: Any
    number_column: str | None = None
    source_column: str | None = None
    time_column: str | None = None
    version_column: str | None = None
    delimiter: str = ","
    encoding: str | None = None


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

    def find(self, numbers: Sequence[str]) -> Mapping[str, ConsentRecord]:
        """Return those that are held; see :meth:`Numbers.find`."""
        return {number: NO_RECORD for number in numbers if account_of(number) in self.accounts}

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def parse_numbers(value: Any, field: str) -> Any:
    """
    Return a source as one of the forms that :func:`open_numbers` opens; nothing is opened.

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


def record_text(value: Any, field: str) -> str | None:
    """
    Return a part of a proof as text; None where there is none.

    :raises InvalidInput: of a type that is no text, number or time
    """
    if type(value) is str:
        # Nearly all of them.
        return value.strip() or None
    value = plain(value)
    if is_missing(value):
        return None
    try:
        return as_text(value).strip() or None
    except ValueError:
        raise InvalidInput(field, f"is of type {type(value).__name__}, no text, number or time.") from None


def choose_columns(chosen: Any, columns: Sequence[str], field: str, *, optional: bool = False) -> dict[str, str]:
    """
    Return which column holds which part: number and, where there are such, source, time and version.

    :param chosen: has ``number_column``, ``source_column``, ``time_column`` and ``version_column``
    :param columns: those that there are
    :param field: how errors name the source
    :param optional: whether rows may lack a column that others have
    :raises InvalidInput: a column that is named is not there or stands there twice, or none is that of numbers
    """
    named = {part: name for part in PARTS if (name := getattr(chosen, f"{part}_column")) is not None}
    there = ", ".join(mask(name) if could_be_number(name) else name for name in columns) or "none"
    if "number" not in named:
        lowered = {name.lower().strip(): name for name in reversed(columns)}
        found = next((lowered[name] for name in NUMBER_COLUMNS if name in lowered), None)
        if found is None and len(columns) != 1:
            raise InvalidInput(
                f"{field}.number_column",
                f"is needed: none of the columns is called {', '.join(NUMBER_COLUMNS)}; there are {there}.",
            )
        named["number"] = found or columns[0]
    for part, name in named.items():
        if (name not in columns and not optional) or columns.count(name) > 1:
            said = "there is no column" if name not in columns else f"there are {columns.count(name)} columns"
            raise InvalidInput(f"{field}.{part}_column", f"{said} {name!r}; there are {there}.")
    if set(REJECT_FIELDS) <= set(columns):
        named = {"source": "reason", "time": "time", **named}
    return named
