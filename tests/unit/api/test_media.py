from __future__ import annotations

import io
import struct
import zipfile

import pytest

from airflow_provider_cirrus.api import media
from airflow_provider_cirrus.api.errors import InvalidInput

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 32
PDF = b"%PDF-1.7\n" + b"x" * 32


def iso(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0" * 32


def office(folder: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(f"{folder}/document.xml", "<x/>")
    return made.getvalue()


def compound(stream: str, directory_sectors: int = 1) -> bytes:
    """An OLE compound file whose directory names the stream in its last sector."""
    head = bytearray(512)
    head[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<H", head, 30, 9)
    struct.pack_into("<I", head, 48, 1)  # sector 0 is the FAT, the directory begins in sector 1
    struct.pack_into("<I", head, 76, 0)
    chain = [0xFFFFFFFD, *range(2, directory_sectors + 1), 0xFFFFFFFE]
    fat = struct.pack(f"<{len(chain)}I", *chain).ljust(512, b"\xff")
    sectors = [b"\0" * 512] * (directory_sectors - 1) + [stream.encode("utf-16-le").ljust(512, b"\0")]
    return bytes(head) + fat + b"".join(sectors)


def check(content: bytes, filename: str, size: int | None = None) -> media.MediaType:
    return media.check(io.BytesIO(content), filename, len(content) if size is None else size)


@pytest.mark.parametrize(
    ("content", "filename", "mime", "kind"),
    [
        pytest.param(PNG, "a.png", "image/png", "image", id="png"),
        pytest.param(JPEG, "a.JPG", "image/jpeg", "image", id="jpeg-in-capitals"),
        pytest.param(iso(b"isom"), "a.mp4", "video/mp4", "video", id="mp4"),
        pytest.param(iso(b"3gp5"), "a.3gp", "video/3gpp", "video", id="3gpp"),
        pytest.param(PDF, "a.pdf", "application/pdf", "document", id="pdf"),
        pytest.param(b"BM is how this text begins", "a.txt", "text/plain", "document", id="txt"),
        pytest.param("Grüße".encode("latin-1"), "a.txt", "text/plain", "document", id="txt-latin-1"),
        pytest.param("Grüße".encode("utf-16"), "a.txt", "text/plain", "document", id="txt-utf-16"),
        pytest.param(office("word"), "a.docx", media.DOCX.mime, "document", id="docx"),
        pytest.param(office("xl"), "a.xlsx", media.XLSX.mime, "document", id="xlsx"),
        pytest.param(office("ppt"), "a.pptx", media.PPTX.mime, "document", id="pptx"),
        pytest.param(compound("WordDocument"), "a.doc", "application/msword", "document", id="doc"),
        pytest.param(compound("Workbook", 3), "a.xls", "application/vnd.ms-excel", "document", id="xls-long-directory"),
        pytest.param(compound("PowerPoint Document"), "a.ppt", media.PPT.mime, "document", id="ppt"),
    ],
)
def test_a_file_is_what_its_content_says(content: bytes, filename: str, mime: str, kind: str) -> None:
    found = check(content, filename)
    assert (found.mime, found.kind) == (mime, kind)


@pytest.mark.parametrize(
    ("content", "filename", "problem"),
    [
        pytest.param(b"", "a.png", "is empty", id="empty"),
        pytest.param(PDF, "a.png", "holds a PDF document, but its name says a PNG image", id="mistyped"),
        pytest.param(PNG, "a", "its name ends in 'nothing'", id="no-extension"),
        pytest.param(PNG, "a.gif", "its name ends in 'gif'", id="unknown-extension"),
        pytest.param(b"GIF89a" + b"\0" * 9, "a.gif", "is a GIF image", id="gif"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "a.webp", "is a WebP image", id="webp"),
        pytest.param(iso(b"qt  "), "a.mov", "is a QuickTime video", id="quicktime"),
        pytest.param(iso(b"heic"), "a.heic", "is a HEIC image", id="heic"),
        pytest.param(b"{\\rtf1 text}", "a.doc", "is an RTF document", id="rtf"),
        pytest.param(office("jar"), "a.docx", "of no type that WhatsApp takes", id="zip-that-is-no-office"),
        pytest.param(b"PK\x03\x04 cut off", "a.docx", "of no type that WhatsApp takes", id="broken-zip"),
        pytest.param(compound("WordDocument")[:700], "a.doc", "of no type", id="broken-compound-file"),
        pytest.param(b"\x00\x01\x02\x03", "a.bin", "of no type that WhatsApp takes", id="binary"),
    ],
)
def test_what_whatsapp_does_not_take_is_refused(content: bytes, filename: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        check(content, filename)


@pytest.mark.parametrize(
    ("content", "filename", "limit"),
    [
        pytest.param(PNG, "a.png", 5, id="image"),
        pytest.param(iso(b"isom"), "a.mp4", 16, id="video"),
        pytest.param(PDF, "a.pdf", 100, id="document"),
    ],
)
def test_the_limit_is_metas_by_kind(content: bytes, filename: str, limit: int) -> None:
    check(content, filename, limit * 1024 * 1024)
    with pytest.raises(InvalidInput, match=f"at most {limit} MB"):
        check(content, filename, limit * 1024 * 1024 + 1)


def test_the_file_is_left_at_its_beginning() -> None:
    file = io.BytesIO(office("word"))
    file.seek(7)
    media.check(file, "a.docx", 100)
    assert file.tell() == 0
