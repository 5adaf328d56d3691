"""The upload call: a multipart body is hashed while it streams in; only what the inbox can show is held."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from airflow_provider_cirrus.sandbox.answers import Answer, bad_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_cirrus.sandbox.store import Store

FIELD = "pic"
MEGABYTE = 1024 * 1024
LIMITS = {"image": 5 * MEGABYTE, "video": 16 * MEGABYTE, "document": 100 * MEGABYTE}
# Bytes of a file that are held for the inbox: what is larger is hashed alone.
LARGEST_SHOWN = 16 * MEGABYTE
KINDS = {
    **dict.fromkeys(("jpg", "jpeg", "png"), "image"),
    **dict.fromkeys(("mp4", "3gp", "3gpp"), "video"),
    **dict.fromkeys(("pdf", "txt", "doc", "docx", "xls", "xlsx", "ppt", "pptx"), "document"),
}


class UploadError(ValueError):
    """The upload breaks a rule."""


class UploadReader:
    """Takes the parts of a multipart body as they come."""

    def __init__(self, content_type: str) -> None:
        media_type, options = parse_options_header(content_type)
        if media_type != b"multipart/form-data" or not options.get(b"boundary"):
            raise UploadError("Content-Type must be multipart/form-data with a boundary")
        self.filename = ""
        self.kind = ""
        self.content_type = ""
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._content: bytearray | None = bytearray()
        self._parts = 0
        self._complete = False
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )

    @property
    def content(self) -> bytes | None:
        """The file, where it is small enough to be shown."""
        return None if self._content is None else bytes(self._content)

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes of the body.

        :raises UploadError: a rule is broken.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise UploadError("the multipart body cannot be read") from exc

    def finish(self) -> None:
        """
        Check what only the end can tell.

        :raises UploadError: a rule is broken.
        """
        if not self._complete:
            raise UploadError("the multipart body ends early")
        if not self._parts:
            raise UploadError(f"Missing parameter {FIELD}")
        if not self.size:
            raise UploadError("the file is empty")

    def _on_part_begin(self) -> None:
        self._parts += 1
        self._headers = {}
        if self._parts > 1:
            raise UploadError(f"exactly one field is allowed, the file {FIELD!r}")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if _text(options.get(b"name", b"")) != FIELD:
            raise UploadError(f"the file must be in the field {FIELD!r}, not {_text(options.get(b'name', b''))!r}")
        self.filename = _text(options.get(b"filename", b""))
        if not self.filename.strip():
            raise UploadError("the file has no filename")
        self.content_type = _text(self._headers.get(b"content-type", b""))
        self.kind = _kind(self.filename, self.content_type)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > LIMITS[self.kind]:
            raise UploadError(f"a file of kind {self.kind} may have at most {LIMITS[self.kind] // MEGABYTE} MB")
        self.sha256.update(data[start:end])
        if self.size > LARGEST_SHOWN:
            self._content = None
        elif self._content is not None:
            self._content += data[start:end]

    def _on_end(self) -> None:
        self._complete = True


async def upload(chunks: AsyncIterator[bytes], content_type: str, store: Store) -> Answer:
    """
    Serve one upload.

    :param chunks: the body as it comes in; always read to its end, so that a client that is still
        sending gets the answer and not a reset connection.
    """
    try:
        reader = UploadReader(content_type)
        async for chunk in chunks:
            reader.feed(chunk)
        reader.finish()
    except UploadError as exc:
        async for _ in chunks:
            pass
        return bad_request(str(exc))
    media_id = store.add_upload(
        filename=reader.filename,
        kind=reader.kind,
        content_type=reader.content_type,
        size=reader.size,
        sha256=reader.sha256.hexdigest(),
        content=reader.content,
    )
    return Answer(200, [{"filename": reader.filename, "id": media_id}])


def _kind(filename: str, content_type: str) -> str:
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension not in KINDS:
        raise UploadError(f"{filename!r} is no file for a template: known are {', '.join(KINDS)}")
    kind = KINDS[extension]
    main = content_type.partition("/")[0].strip().lower()
    declared = main if main in {"image", "video", "audio"} else "document"
    neutral = content_type.partition(";")[0].strip().lower() in {"", "application/octet-stream"}
    if not neutral and declared != kind:
        raise UploadError(f"{filename!r} is of kind {kind}, but its Content-Type says {content_type}")
    return kind


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
