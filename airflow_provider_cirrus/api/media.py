"""
Media for template headers: what a file is by its content, and whether WhatsApp takes it.

Limits and types are Meta's (WhatsApp Business documentation, supported media types).
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from airflow_provider_cirrus.api.errors import InvalidInput

Kind = Literal["image", "video", "document"]

MEGABYTE = 1024 * 1024
#: The largest file of each kind, in bytes.
MAX_SIZE: dict[Kind, int] = {"image": 5 * MEGABYTE, "video": 16 * MEGABYTE, "document": 100 * MEGABYTE}


@dataclass(frozen=True)
class MediaType:
    """A type of file that WhatsApp takes in a template header."""

    mime: str
    kind: Kind
    extensions: tuple[str, ...]
    name: str


_OFFICE = "application/vnd.openxmlformats-officedocument"
JPEG = MediaType("image/jpeg", "image", ("jpg", "jpeg"), "a JPEG image")
PNG = MediaType("image/png", "image", ("png",), "a PNG image")
MP4 = MediaType("video/mp4", "video", ("mp4", "m4v"), "an MP4 video")
GPP = MediaType("video/3gpp", "video", ("3gp", "3gpp"), "a 3GPP video")
PDF = MediaType("application/pdf", "document", ("pdf",), "a PDF document")
TXT = MediaType("text/plain", "document", ("txt",), "a plain text")
DOC = MediaType("application/msword", "document", ("doc",), "a Word document (.doc)")
XLS = MediaType("application/vnd.ms-excel", "document", ("xls",), "an Excel workbook (.xls)")
PPT = MediaType("application/vnd.ms-powerpoint", "document", ("ppt",), "a PowerPoint presentation (.ppt)")
DOCX = MediaType(f"{_OFFICE}.wordprocessingml.document", "document", ("docx",), "a Word document (.docx)")
XLSX = MediaType(f"{_OFFICE}.spreadsheetml.sheet", "document", ("xlsx",), "an Excel workbook (.xlsx)")
PPTX = MediaType(f"{_OFFICE}.presentationml.presentation", "document", ("pptx",), "a PowerPoint presentation (.pptx)")
_TYPES = (JPEG, PNG, MP4, GPP, PDF, TXT, DOC, XLS, PPT, DOCX, XLSX, PPTX)
_BY_EXTENSION = {extension: media for media in _TYPES for extension in media.extensions}

#: What people try to send and WhatsApp does not take, so that the error can name it: (offset, magic, name).
_REFUSED = (
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"AVI ", "an AVI video"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"BM", "a BMP image"),
    (0, b"ID3", "an MP3 sound"),
    (0, b"OggS", "an Ogg sound"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"{\\rtf", "an RTF document"),
)
_TAKES = "WhatsApp takes JPEG and PNG images, MP4 and 3GPP videos, and PDF, TXT, Word, Excel and PowerPoint files."


def check(file: BinaryIO, filename: str, size: int, field: str = "path") -> MediaType:
    """
    Return the type of a media file, judged by its content; the file is left at its beginning.

    :param file: open for reading, seekable
    :param filename: its name with extension, as the recipient sees it
    :param size: in bytes
    :param field: how errors name the file
    :raises InvalidInput: empty, too large, of a type that WhatsApp does not take, or not what its
        extension says
    """
    if size <= 0:
        raise InvalidInput(field, f"{filename!r} is empty (0 bytes).", hint="Check what wrote the file.")
    file.seek(0)
    media = _sniff(file, filename, field)
    file.seek(0)
    extension = PurePosixPath(filename).suffix.lower().removeprefix(".")
    if extension not in media.extensions:
        claimed = _BY_EXTENSION.get(extension)
        says = f"its name says {claimed.name}" if claimed else f"its name ends in {extension or 'nothing'!r}"
        raise InvalidInput(
            field,
            f"{filename!r} holds {media.name}, but {says}.",
            hint=f"Rename it to end in .{media.extensions[0]}, or convert it: "
            "WhatsApp refuses such a file only after it was accepted for sending.",
        )
    limit = MAX_SIZE[media.kind]
    if size > limit:
        raise InvalidInput(
            field,
            f"{filename!r} is too large for {media.kind}: {size / MEGABYTE:.1f} MB, at most {limit // MEGABYTE} MB.",
            hint="Make it smaller, or send a link to it instead.",
        )
    return media


def _sniff(file: BinaryIO, filename: str, field: str) -> MediaType:
    head = file.read(4096)
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head[4:8] == b"ftyp":
        return _iso_media(head, filename, field)
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"PK\x03\x04") and (office := _inside_zip(file)):
        return office
    if (
        head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
        and len(head) >= 512
        and (office := _inside_ole(file, head))
    ):
        return office
    if _is_text(head) and not head.startswith(b"{\\rtf"):
        return TXT
    for offset, magic, name in _REFUSED:
        if head[offset : offset + len(magic)] == magic:
            raise InvalidInput(field, f"{filename!r} is {name}.", hint=_TAKES)
    raise InvalidInput(field, f"{filename!r} is of no type that WhatsApp takes.", hint=_TAKES)


def _iso_media(head: bytes, filename: str, field: str) -> MediaType:
    brand = head[8:12]
    if brand.startswith((b"3gp", b"3g2")):
        return GPP
    refused = {
        b"qt  ": "a QuickTime video",
        b"heic": "a HEIC image",
        b"avif": "an AVIF image",
        b"M4A ": "an M4A sound",
    }
    if brand in refused:
        raise InvalidInput(field, f"{filename!r} is {refused[brand]}.", hint=_TAKES)
    return MP4


def _inside_zip(file: BinaryIO) -> MediaType | None:
    try:
        with zipfile.ZipFile(file) as archive:
            folders = {name.split("/", 1)[0] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return None
    return next((media for folder, media in (("word", DOCX), ("xl", XLSX), ("ppt", PPTX)) if folder in folders), None)


def _inside_ole(file: BinaryIO, head: bytes) -> MediaType | None:
    # [MS-CFB] 2.2 and 2.3: sector shift at offset 30, first directory sector at 48, the FAT's own sectors
    # from 76 on; each FAT entry names the next sector of its chain. Entry names are UTF-16.
    (shift,) = struct.unpack_from("<H", head, 30)
    (sector,) = struct.unpack_from("<I", head, 48)
    if shift not in (9, 12):
        return None
    fat_sectors = struct.unpack_from("<109I", head, 76)
    per_sector = (1 << shift) // 4
    names = (("WordDocument", DOC), ("Workbook", XLS), ("Book", XLS), ("PowerPoint Document", PPT))
    for _ in range(64):
        file.seek((sector + 1) << shift)
        entries = file.read(1 << shift)
        for name, media in names:
            if f"{name}\0".encode("utf-16-le") in entries:
                return media
        if sector // per_sector >= len(fat_sectors):
            return None
        file.seek(((fat_sectors[sector // per_sector] + 1) << shift) + sector % per_sector * 4)
        following = file.read(4)
        if len(following) < 4:
            return None
        (sector,) = struct.unpack("<I", following)
    return None


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    # Control characters that no text has; bytes above 127 may be any of the usual encodings.
    return not any(byte < 32 and byte not in (9, 10, 12, 13, 27) for byte in head)
