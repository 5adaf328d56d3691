"""Workbooks of Excel: the rows of their one sheet, within limits: a small file may hold gigabytes."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.audience.table import BadRow, Row

#: Most bytes of a workbook's sheet, and of the texts that its cells share, when they are unpacked. The texts are held
#: in memory, the sheet is read as a stream.
LARGEST_SHEET = 512 * 1024 * 1024
LARGEST_TEXTS = 64 * 1024 * 1024
#: Most characters of all cells together: one shared text may stand in every one of them.
MOST_CHARACTERS = 512 * 1024 * 1024

_SHARED = "xl/sharedstrings.xml"
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
# What openpyxl raises of a file that is broken: it says what stands in the cell, which is nobody's business.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    OverflowError,
    NotImplementedError,
)


@contextmanager
def open_workbook(file: BinaryIO, field: str) -> Iterator[Iterator[list[Any]]]:
    """
    Open a workbook and yield the rows of its one sheet, each as a list of cells; empty rows are left out.

    :param file: open for reading in binary, seekable
    :param field: how errors name it
    :raises InvalidInput: no workbook, one of several sheets, one that is too large, or a damaged one; also while rows
        are taken
    """
    # Late, as it is heavy and comes with an extra.
    try:
        openpyxl = import_module("openpyxl")
    except ImportError:
        raise InvalidInput(
            field,
            "is a workbook, which needs openpyxl.",
            hint="pip install 'airflow-provider-cirrus[xlsx]', or save it as CSV.",
        ) from None
    _check_size(file, field)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except _BROKEN:
        raise InvalidInput(field, "is not an Excel workbook, whatever its name ends in.") from None
    try:
        if len(book.worksheets) != 1:
            raise InvalidInput(
                field,
                f"has {len(book.worksheets)} sheets, and which of them is meant cannot be known.",
                hint="Leave one sheet in it, or save that one as CSV.",
            )
        yield _cells(book.worksheets[0], field)
    finally:
        book.close()


def workbook_rows(file: BinaryIO, field: str) -> Iterator[tuple[Sequence[str], Iterator[Row]]]:
    """
    Yield once: the names of the columns, and the rows as dicts, of a workbook that is open already.

    :param field: how errors name it
    :raises InvalidInput: as :func:`open_workbook`, or no header
    """
    with open_workbook(file, field) as cells:
        header = ["" if name is None else str(name).strip() for name in next(cells, [])]
        if not any(header):
            raise InvalidInput(field, "has no header.", hint="The first row names the columns.")
        yield header, _rows(header, cells)


def _rows(header: Sequence[str], cells: Iterator[list[Any]]) -> Iterator[Row]:
    width = len(header)
    for number, row in enumerate(cells, 1):
        if len(row) > width:
            yield BadRow(number, f"has {len(row)} columns where the header has {width}.")
            continue
        yield dict(zip(header, [*row, *[None] * (width - len(row))], strict=True))


def _check_size(file: BinaryIO, field: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            sizes: Mapping[str, int] = {one.filename.lower(): one.file_size for one in archive.infolist()}
    except _BROKEN:
        raise InvalidInput(field, "is not an Excel workbook, whatever its name ends in.") from None
    finally:
        file.seek(0)
    sheet = max((size for name, size in sizes.items() if _SHEET.fullmatch(name)), default=0)
    for what, size, most in (("sheet", sheet, LARGEST_SHEET), ("texts", sizes.get(_SHARED, 0), LARGEST_TEXTS)):
        if size > most:
            raise InvalidInput(
                field,
                f"unpacks to {size // 1024**2} MB of {what}, and {most // 1024**2} are read at most.",
                hint="Save it as CSV, which is read as a stream.",
            )


def _cells(sheet: Any, field: str) -> Iterator[list[Any]]:
    # Programs other than Excel may write a size that is wrong, and rows beyond it would be lost.
    sheet.reset_dimensions()
    left = MOST_CHARACTERS
    number = 0
    rows = sheet.iter_rows(values_only=True)
    while True:
        try:
            row = list(next(rows))
        except StopIteration:
            return
        except _BROKEN as error:
            raise InvalidInput(
                field,
                f"is damaged behind row {number} ({type(error).__name__}).",
                hint="Open it in Excel and save it anew, or as CSV.",
            ) from None
        while row and row[-1] is None:
            row.pop()
        if not row:
            continue
        number += 1
        left -= sum(len(cell) for cell in row if isinstance(cell, str))
        if left < 0:
            raise InvalidInput(
                field,
                f"holds more than {MOST_CHARACTERS // 1024**2} million characters, however small it is packed.",
                hint="Save it as CSV, which is read as a stream.",
            )
        yield row
