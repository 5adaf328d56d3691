"""How long an answer may take and how large it may be, whatever the server does: shared by both clients."""

from __future__ import annotations

import http.client
import io
import socket
import time
import zlib
from functools import cache
from typing import Any

import urllib3.connection

#: Most bytes of one answer, with its headers, and once more of its body after decompression.
LARGEST_ANSWER = 8 * 1024 * 1024
#: An answer may take so many times the ``timeout``, from the end of the request to its own last byte.
TIMEOUTS = 2

# Most compressed bodies that one is made of: each costs a copy of what is left.
_PARTS = 16
# How zlib is told of each encoding that we ask for.
_PACKED = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class AnswerTooLarge(OSError):
    """An answer is larger than any that is documented; an OSError, as libraries pass those on."""

    def __init__(self) -> None:
        super().__init__(f"more than {LARGEST_ANSWER} bytes")


def unpacked(body: bytes, encoding: str) -> bytes:
    """
    Return a body as it was before the server compressed it; empty where it cannot be read.

    :param encoding: the header ``Content-Encoding``
    :raises AnswerTooLarge: it becomes larger than an answer may be
    """
    window = _PACKED.get(encoding.strip().lower())
    if window is None or not body:
        return body
    if encoding.strip().lower() == "deflate" and body[0] & 0x0F != zlib.DEFLATED:
        # Some servers leave out the header that zlib puts before it.
        window = -zlib.MAX_WBITS
    found = bytearray()
    try:
        for _ in range(_PARTS):
            machine = zlib.decompressobj(window)
            found += machine.decompress(body, LARGEST_ANSWER + 1 - len(found))
            if len(found) > LARGEST_ANSWER:
                raise AnswerTooLarge
            # A body may consist of several compressed ones.
            body = machine.unused_data
            if not body:
                return bytes(found)
    except zlib.error:
        pass
    return b""


def bound(pool: urllib3.HTTPConnectionPool) -> None:
    """Have a pool make connections whose answers are bounded in time and size."""
    pool.ConnectionCls = _bounded(pool.ConnectionCls)


def read_body(answer: urllib3.BaseHTTPResponse) -> bytes:
    """
    Return the body of an answer of a bounded connection, which must not have been read.

    :raises AnswerTooLarge: it is too large
    :raises urllib3.exceptions.HTTPError: it took too long, or broke off
    """
    body = b""
    # A body that breaks off only shows when more is asked for.
    while part := answer.read(LARGEST_ANSWER + 1 - len(body), decode_content=False):
        body = body + part if body else part
        if len(body) > LARGEST_ANSWER:
            break
        if answer.length_remaining == 0:
            return unpacked(body, answer.headers.get("content-encoding", ""))
    if len(body) > LARGEST_ANSWER:
        answer.close()
        answer.release_conn()
        raise AnswerTooLarge
    return unpacked(body, answer.headers.get("content-encoding", ""))


@cache
def _bounded(connection: Any) -> Any:
    if issubclass(connection, _BoundedConnection):
        return connection
    return type(f"Bounded{connection.__name__}", (_BoundedConnection, connection), {})


class _Answer(http.client.HTTPResponse):
    """An answer that is read through a :class:`_Watch`, from the first byte of its status line on."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Watched(sock), *args, **kwargs)  # type: ignore[arg-type]


class _BoundedConnection:
    response_class = _Answer


class _Watched:
    """What http.client makes a file of."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Watch(self._sock))


class _Watch(io.RawIOBase):
    """
    Reads from a socket, up to a moment and a number of bytes.

    Each wait has the socket's own time-out; only the last ones get less. It is asked once per buffer: an answer to
    twenty messages takes one call.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._wait = sock.gettimeout()
        self._until = None if self._wait is None else time.monotonic() + TIMEOUTS * self._wait
        self._left = LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None and self._wait is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer took too long")
            if left < self._wait:
                self._sock.settimeout(left)
        if self._left < 0:
            raise AnswerTooLarge
        count = self._file.readinto(buffer)
        self._left -= count or 0
        return int(count) if count is not None else None

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            super().close()
