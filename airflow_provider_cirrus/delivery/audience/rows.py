"""Rows of a file or of an iterable, read as a stream: one bad row is passed on as such and stops nothing."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import could_be_number, mask
from airflow_provider_cirrus.api.text import closest
from airflow_provider_cirrus.api.values import is_missing, plain
from airflow_provider_cirrus.delivery.audience.frames import Frame, is_frame
from airflow_provider_cirrus.delivery.audience.lines import Lines
from airflow_provider_cirrus.delivery.audience.table import BadRow, Row, Table
from airflow_provider_cirrus.delivery.audience.workbook import workbook_rows
from airflow_provider_cirrus.delivery.storage import open_file

_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".parquet", ".xlsx")
# Rows of Parquet that are in memory at a time.
_BATCH = 1024
#: What text is unless something else is said: UTF-8, with a mark at its beginning or without.
UTF_8 = "utf-8-sig"
_TOO_LONG = "is longer than a million characters."
_NOT_IN_ENCODING = (
    "is not UTF-8, or not in the encoding that was given: save the file as UTF-8, or say which it has, such as "
    "encoding='cp1252'."
)
# What `surrogateescape` leaves of bytes that are no UTF-8.
_NOT_TEXT = re.compile("[\ud800-\udfff]")


def open_rows(
    source: Any,
    *,
    needed: Mapping[str, Sequence[str]] | None = None,
    delimiter: str = ",",
    encoding: str = UTF_8,
) -> Iterator[Row]:
    """
    Open an audience and return its rows as a stream.

    The file is opened and its header checked at once, the rest is read as rows are taken. Empty lines are
    no rows. Cells of CSV are text; JSON Lines, Parquet and workbooks keep their types.

    :param source: a path or URI whose name ends in ``.csv``, ``.jsonl``, ``.ndjson`` (each also with ``.gz``),
        ``.parquet`` or ``.xlsx`` (of one sheet, whose first row names the columns), an ``ObjectStoragePath``, a
        :class:`Table`, a data frame of pandas or Polars, a table of pyarrow, or an iterable of dicts
    :param needed: the columns that are used, by the argument that names them; Parquet reads no other
    :param delimiter: one character, between the cells of CSV
    :param encoding: of the text in CSV and JSON Lines, as Python names it
    :raises InvalidInput: no such file, unknown ending, no header, or a needed column that the header lacks
    """
    wanted = needed or {}
    if isinstance(source, Table):
        _check_columns(source.columns, wanted)
        return iter(source)
    if not is_path(source):
        if is_frame(source):
            return open_rows(Frame(source), needed=wanted)
        if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
            raise InvalidInput(
                "audience", f"is of type {type(source).__name__}.", hint="Give a path or a list of dicts."
            )
        return _of_iterable(source)
    ending = _ending(source)
    if ending == ".parquet":
        return _of_parquet(source, wanted)
    if ending == ".xlsx":
        return _of_workbook(source, wanted)
    file = _open(source, packed=ending.endswith(".gz"))
    if ending.startswith(".csv"):
        return csv_rows(file, needed=wanted, delimiter=delimiter, encoding=encoding)
    return _of_json_lines(_text(file, "\n", encoding))


def csv_rows(
    file: BinaryIO,
    *,
    needed: Mapping[str, Sequence[str]] | None = None,
    delimiter: str = ",",
    encoding: str = UTF_8,
    is_ours: bool = False,
) -> Iterator[Row]:
    """
    Return the rows of CSV that is open already; it is closed after the last one.

    :param needed: as of :func:`open_rows`
    :param delimiter: as of :func:`open_rows`
    :param encoding: as of :func:`open_rows`
    :param is_ours: whether its quotes are in order for certain: lines in a cell are no rows then
    :raises InvalidInput: no header, or a needed column that it lacks
    """
    return _of_csv(_text(file, "", encoding), needed or {}, delimiter, is_ours)


def count_hint(source: Any) -> int | None:
    """
    Return the number of rows where it is known without reading them: lists and Parquet.

    :raises InvalidInput: no such file, or unknown ending
    """
    if is_path(source):
        if _ending(source) != ".parquet":
            return None
        with _open(source) as file:
            return int(_parquet(file).metadata.num_rows)
    return len(source) if isinstance(source, Sized) and not isinstance(source, Mapping | bytes) else None


def is_path(source: Any) -> bool:
    """Return whether the audience is a file."""
    return isinstance(source, str | os.PathLike) or (hasattr(source, "open") and hasattr(source, "name"))


def value_of(row: Mapping[str, Any], column: str, field: str) -> Any:
    """
    Return the value that a message needs.

    :param field: the part of the message that it fills
    :raises InvalidInput: None, missing, empty, NaN, or text that is no Unicode
    """
    if column not in row:
        raise InvalidInput(field, "is missing.")
    value = row[column]
    if type(value) is str and value.isprintable() and value and not value.isspace():
        # What nearly every value is.
        return value
    value = plain(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InvalidInput(field, "is empty.")
    if is_missing(value):
        raise InvalidInput(field, "is empty (not a number, or not a time).")
    # JSON can hold half a character, which no request can carry: it would fail with its whole batch.
    if isinstance(value, str) and not value.isascii() and _NOT_TEXT.search(value):
        raise InvalidInput(field, "holds half a character (a lone surrogate).")
    return value


def _text(file: BinaryIO, newline: str, encoding: str) -> io.TextIOWrapper:
    try:
        name = codecs.lookup(encoding).name
        # A line that is no UTF-8 is that line's fault, and stops no other.
        return io.TextIOWrapper(file, encoding=name, errors="surrogateescape", newline=newline)
    except (LookupError, TypeError):
        file.close()
        raise InvalidInput(
            "encoding", f"{encoding!r} is none that is known.", hint="Such as utf-8, cp1252 or latin-1."
        ) from None


def _of_iterable(source: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(source, 1):
        yield row if isinstance(row, Mapping) else BadRow(number, f"is of type {type(row).__name__}, not a dict.")


def _of_json_lines(text: io.TextIOWrapper) -> Iterator[Row]:
    with text:
        number = 0
        lines = Lines(text)
        for line in lines:
            if line.isspace():
                continue
            number += 1
            if lines.is_cut:
                lines.is_cut = False
                yield BadRow(number, _TOO_LONG)
                continue
            if not line.isascii() and _NOT_TEXT.search(line):
                yield BadRow(number, _NOT_IN_ENCODING)
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield BadRow(number, "is not JSON.")
                continue
            yield row if isinstance(row, dict) else BadRow(number, "is JSON, but not an object.")


def _of_csv(
    text: io.TextIOWrapper, needed: Mapping[str, Sequence[str]], delimiter: str, is_ours: bool
) -> Iterator[Row]:
    lines = Lines(text)
    try:
        # Strict, as a quote that is never closed would otherwise swallow all the rows after it without a word.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, [])
    except TypeError:
        text.close()
        raise InvalidInput("delimiter", "is not one character.") from None
    except csv.Error as error:
        text.close()
        unread = InvalidInput("audience", f"has a header that cannot be read: {error}.")
        raise _divided_otherwise(unread, [lines.first], delimiter) from None
    try:
        if not any(header):
            raise InvalidInput("audience", "has no header.", hint="The first line names the columns.")
        _check_columns(header, needed)
    except InvalidInput as error:
        text.close()
        raise _divided_otherwise(error, header, delimiter) from None
    return _csv_rows(lines, text, reader, header, None if is_ours else delimiter)


def _divided_otherwise(error: InvalidInput, header: Sequence[str], delimiter: str) -> InvalidInput:
    """Return the error of a header that lacks a column, and what it may be divided by instead."""
    if len(header) == 1:
        for other, name in ((";", "';'"), ("\t", "a tab"), ("|", "'|'"), (",", "','")):
            if other != delimiter and other in header[0]:
                columns = len(next(csv.reader(header, delimiter=other), []))
                hint = f"Is it divided by {name}, into {columns} columns? Then say so: delimiter={other!r}."
                return InvalidInput(error.field, error.problem, hint=hint)
    return error


def _csv_rows(
    lines_read: Lines, text: io.TextIOWrapper, reader: Any, header: Sequence[str], delimiter: str | None
) -> Iterator[Row]:
    width = len(header)
    with text:
        number = 0
        while True:
            line = reader.line_num
            problem = None
            cells: list[str] = []
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = f"is not CSV: {error}."
            lines = reader.line_num - line
            if lines_read.is_cut:
                lines_read.is_cut = False
                problem = _TOO_LONG
            if problem is None and not cells:
                continue
            if problem is None and len(cells) != width:
                problem = f"has {len(cells)} columns where the header has {width}."
            elif any(not cell.isascii() and _NOT_TEXT.search(cell) for cell in cells):
                problem = _NOT_IN_ENCODING
            elif lines > 1 and delimiter is not None and _holds_rows(cells, width, delimiter):
                problem = "holds lines that look like rows."
            if problem is None:
                number += 1
                yield dict(zip(header, cells, strict=True))
                continue
            # A quote that is not closed takes lines with it, and each of them may be somebody.
            which = f" It goes over {lines} lines of the file: a quote may not be closed." if lines > 1 else ""
            for _ in range(lines):
                number += 1
                yield BadRow(number, problem + which)


def _holds_rows(cells: Sequence[str], width: int, delimiter: str) -> bool:
    return width > 1 and any(
        inner.count(delimiter) == width - 1 for cell in cells if "\n" in cell for inner in cell.splitlines()[1:]
    )


def _of_workbook(source: Any, needed: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    found = _workbook_rows(source)
    header: Any = next(found)
    _check_columns(header, needed)
    return found


def _workbook_rows(source: Any) -> Iterator[Any]:
    """Yield the names of the columns, and then the rows."""
    with open_file(source, "audience") as file, closing(workbook_rows(file, "audience")) as opened:  # type: ignore[type-var]
        header, rows = next(opened)
        yield header
        yield from rows


def _of_parquet(source: Any, needed: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    file = _open(source)
    try:
        parquet = _parquet(file)
        _check_columns(parquet.schema_arrow.names, needed)
    except InvalidInput:
        file.close()
        raise
    columns = list(dict.fromkeys(name for names in needed.values() for name in names)) or None
    return _parquet_rows(file, parquet, columns)


def _parquet_rows(file: Any, parquet: Any, columns: Sequence[str] | None) -> Iterator[Row]:
    with file:
        for batch in parquet.iter_batches(batch_size=_BATCH, columns=columns):
            yield from batch.to_pylist()


def _parquet(file: Any) -> Any:
    # Late, as it is heavy and comes with an extra.
    try:
        pyarrow = import_module("pyarrow")
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidInput(
            "audience", "is Parquet, which needs pyarrow.", hint="pip install 'airflow-provider-cirrus[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(file, pre_buffer=False)
    except pyarrow.ArrowInvalid:
        raise InvalidInput("audience", "is not a Parquet file, whatever its name ends in.") from None


def _check_columns(header: Sequence[str], needed: Mapping[str, Sequence[str]]) -> None:
    for argument, names in needed.items():
        for name in names:
            if name not in header:
                raise InvalidInput(argument, f"there is no column {name!r}; {_known(name, header)}")
            if header.count(name) > 1:
                raise InvalidInput(argument, f"there are {header.count(name)} columns {name!r}.", hint="Rename one.")


def _known(name: str, header: Sequence[str]) -> str:
    close = closest(name, header)
    # A file without a header has somebody's number there.
    shown = [mask(column) if could_be_number(column) else _sayable(column) for column in header]
    meant = f"; did you mean {close!r}?" if close else "."
    return f"the audience has {', '.join(shown)}{meant}"


def _sayable(text: str) -> str:
    """Return a text that a log can hold: a file in another encoding has half characters."""
    return text.encode("utf-8", "replace").decode()


def _ending(source: Any) -> str:
    name = str(source).lower()
    for ending in _ENDINGS:
        if name.endswith(ending):
            return ending
    raise InvalidInput(
        "audience",
        "is a file of a kind that is not known.",
        hint=f"Its name must end in {', '.join(_ENDINGS)}.",
    )


def _open(source: Any, *, packed: bool = False) -> Any:
    file = open_file(source, "audience")
    if not packed:
        return file
    unpacked = gzip.GzipFile(fileobj=file)
    # It closes what stands there, and else nothing but itself.
    unpacked.myfileobj = file
    return unpacked


@dataclass(frozen=True)
class RejectedRow:
    """
    A row that cannot become a message.

    :ivar index: its position in the audience, from 0
    :ivar recipient: digits if they could be read, else empty
    :ivar reason: row number (from 1), column and problem; never a whole phone number
    """

    index: int
    recipient: str
    reason: str
