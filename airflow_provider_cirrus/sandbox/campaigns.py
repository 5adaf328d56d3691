"""The campaign call: a form with an audience file, read as strictly as a send."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from airflow_provider_cirrus.sandbox.answers import Answer, bad_request
from airflow_provider_cirrus.sandbox.shapes import is_number
from airflow_provider_cirrus.sandbox.strict_json import BodyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from airflow_provider_cirrus.sandbox.settings import Settings
    from airflow_provider_cirrus.sandbox.store import Store

FILE = "audience_file"
COLUMN = "phone1"
REQUIRED = ("template_name", "language_code", "stream_id")
OPTIONAL = (
    "notify_mail",
    "campaign_name",
    "scheduled_date",
    "expiration_data",
    "substream_id",
    "audience_id",
    "save_as_new_audience",
    "new_audience_name",
    "automation_script_id",
)


async def start_campaign(request: Request, settings: Settings, store: Store, number: int) -> Answer:
    """
    Serve one campaign.

    :param number: the number of the request.
    """
    try:
        raw = await request.body()
        fields, filename, content = await _read_form(request, raw)
        _check_fields(fields)
        if fields["stream_id"] != settings.stream_id:
            # A form field is no path: an id that was percent-encoded for one is another id.
            return Answer(404, description=f"No stream {fields['stream_id']!r}.", page=True)
        recipients = _recipients(filename, content)
    except BodyError as exc:
        return bad_request(str(exc))
    store.add_campaign(
        fields=fields,
        filename=filename,
        sha256=hashlib.sha256(content).hexdigest(),
        recipients=recipients,
        request=number,
    )
    # No id and no list comes back.
    return Answer(200)


async def _read_form(request: Request, raw: bytes) -> tuple[dict[str, str], str, bytes]:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise BodyError("Content-Type", "must be multipart/form-data with a boundary")
    # The parser takes a body that ends early for a whole one.
    if not raw.rstrip().endswith(b"--" + options[b"boundary"] + b"--"):
        raise BodyError("body", "ends early")
    try:
        form = await MultiPartParser(request.headers, _in_one(raw)).parse()
    except (MultiPartException, FormParserError) as exc:
        raise BodyError("body", "cannot be read") from exc
    try:
        return await _parts(form.multi_items())
    finally:
        await form.close()


async def _parts(given: list[tuple[str, Any]]) -> tuple[dict[str, str], str, bytes]:
    for name, count in Counter(name for name, _ in given).items():
        if name not in (FILE, *REQUIRED, *OPTIONAL):
            raise BodyError("body", f"unknown field {name!r}; known: {', '.join((FILE, *REQUIRED, *OPTIONAL))}")
        if count > 1:
            raise BodyError(name, "stands there twice")
    parts = dict(given)
    file = parts.pop(FILE, None)
    if not isinstance(file, UploadFile) or not file.filename:
        raise BodyError("body", f"Missing parameter {FILE}, a file")
    if not all(isinstance(value, str) for value in parts.values()):
        raise BodyError("body", f"only {FILE} is a file")
    return parts, file.filename, await file.read()


async def _in_one(raw: bytes) -> AsyncGenerator[bytes, None]:
    yield raw


def _check_fields(fields: dict[str, str]) -> None:
    for name in REQUIRED:
        if name not in fields:
            raise BodyError("body", f"Missing parameter {name}")
    for name, value in fields.items():
        if not value.strip():
            raise BodyError(name, "must not be empty")
    times = {name: _ahead(name, fields[name]) for name in ("scheduled_date", "expiration_data") if name in fields}
    if len(times) > 1 and times["expiration_data"] <= times["scheduled_date"]:
        raise BodyError("expiration_data", "must be after scheduled_date")
    if not re.fullmatch(r"[0-9]{1,9}", fields.get("substream_id", "0")):
        raise BodyError("substream_id", "must be an integer, 0 for none")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", fields.get("notify_mail", "a@b")):
        raise BodyError("notify_mail", "must be a mail address")
    save = fields.get("save_as_new_audience", "false")
    if save not in ("true", "false"):
        raise BodyError("save_as_new_audience", "must be true or false")
    if "new_audience_name" in fields and save == "false":
        raise BodyError("new_audience_name", "needs save_as_new_audience")


def _ahead(name: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise BodyError(name, "must be ISO 8601 with a zone")
    if moment <= datetime.now(UTC):
        raise BodyError(name, "must be in the future")
    return moment


def _recipients(filename: str, content: bytes) -> list[str]:
    extension = filename.rpartition(".")[2].lower()
    if extension not in ("csv", "xlsx"):
        raise BodyError(FILE, f"{filename!r} is neither CSV nor XLSX")
    rows = _csv_rows(content) if extension == "csv" else _xlsx_rows(content)
    header = rows[0] if rows else []
    if header.count(COLUMN) != 1:
        raise BodyError(FILE, f"must have one column {COLUMN!r}")
    place = header.index(COLUMN)
    found = [row[place] if place < len(row) else "" for row in rows[1:]]
    if not found:
        raise BodyError(FILE, "has no row")
    for number, recipient in enumerate(found, 1):
        if not is_number(recipient):
            raise BodyError(f"{FILE} row {number}", f"{COLUMN} must be 8 to 15 digits with country code")
    if len(set(found)) < len(found):
        raise BodyError(FILE, "a number stands in it twice")
    return found


def _csv_rows(content: bytes) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise BodyError(FILE, "is no CSV in UTF-8") from exc


def _xlsx_rows(content: bytes) -> list[list[str]]:
    try:
        openpyxl = import_module("openpyxl")
    except ImportError as exc:
        raise BodyError(FILE, "the sandbox needs openpyxl to read a workbook") from exc
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as exc:
        raise BodyError(FILE, "is no workbook") from exc
    sheet = book.worksheets[0].iter_rows(values_only=True)
    rows = [["" if cell is None else str(cell) for cell in row] for row in sheet]
    return [row for row in rows if any(row)]
