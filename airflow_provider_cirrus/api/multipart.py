"""A form with a file as a request's body, without holding the file in memory."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from airflow_provider_cirrus.api.errors import InvalidInput

_CHUNK = 64 * 1024
# What leads out of the folder that a server keeps files in, ends a header, or shows another name than it is: slashes,
# control characters, and those that turn the direction of writing.
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class MultipartFile:
    """
    A multipart body with one file, read in chunks: memory does not grow with the file.

    Fields that are texts come before the file.

    It can be sent again only after its file was rewound, which :meth:`__iter__` does.

    :param filename: a name alone, as its recipient sees it
    :raises InvalidInput: the name is none: it holds a folder, or what cannot be seen
    """

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        filename: str,
        media_type: str,
        size: int,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.boundary = secrets.token_hex(16)
        # RFC 7578 with the escape of HTML 5: the header cannot be left through a file's name.
        escaped = _checked(filename).replace('"', "%22")
        texts = "".join(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{text}\r\n'
            for field, text in (fields or {}).items()
        )
        self._head = (
            f"{texts}--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{escaped}"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        yield self._head
        left = self._size
        while left > 0:
            chunk = self._file.read(min(_CHUNK, left))
            if not chunk:
                raise InvalidInput("file", f"ended {left} bytes early.", hint="It changed while it was being read.")
            left -= len(chunk)
            yield chunk
        yield self._tail


def _checked(filename: str) -> str:
    if _NO_NAME.search(filename) or filename.strip() in ("", ".", ".."):
        raise InvalidInput(
            "filename",
            f"{filename!r} is no name of a file: it holds a folder or a character that cannot be seen.",
            hint="Give a name alone, such as menu.pdf.",
        )
    return filename
