"""
How long a request may take and how large its answer may be, whatever network and server do: shared by both clients.

A connection, an answer and, where somebody set a moment, all of a request end in time as a whole: not by address, not
by part of an answer.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Thread
from typing import Any

import urllib3.connection
import urllib3.exceptions
import urllib3.util.connection

#: Most bytes of one answer, with its headers, and once more of its body after decompression.
LARGEST_ANSWER = 8 * 1024 * 1024
#: An answer may take so many times the ``timeout``, from the end of the request to its own last byte.
TIMEOUTS = 2

# Most compressed bodies that one is made of: each costs a copy of what is left.
_PARTS = 16
# How zlib is told of each encoding that we ask for.
_PACKED = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


_UNTIL: ContextVar[float] = ContextVar("cirrus_until", default=math.inf)


@contextmanager
def ends_at(moment: float) -> Iterator[None]:
    """
    Have all requests of this thread end at a moment at the latest.

    :param moment: of ``time.monotonic()``
    """
    token = _UNTIL.set(moment)
    try:
        yield
    finally:
        _UNTIL.reset(token)


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
    connects_itself = connection._new_conn is urllib3.connection.HTTPConnection._new_conn
    base = _DirectConnection if connects_itself else _BoundedConnection
    return type(f"Bounded{connection.__name__}", (base, connection), {})


class _Answer(http.client.HTTPResponse):
    """An answer that is read through a :class:`_Watch`, from the first byte of its status line on."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Watched(sock), *args, **kwargs)  # type: ignore[arg-type]


class _BoundedConnection:
    response_class = _Answer


class _DirectConnection(_BoundedConnection):
    """One that connects by itself: not through a SOCKS proxy."""

    host: str
    port: int
    timeout: float | None
    source_address: tuple[str, int] | None
    socket_options: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        """
        Connect within the time-out as a whole; each of the addresses that are left gets its part of what is left.

        urllib3 gives each address all of the time-out: a host with three that are out of reach would take thrice.
        """
        until = min(_UNTIL.get(), math.inf if self.timeout is None else time.monotonic() + self.timeout)
        connection: Any = self
        try:
            addresses = _addresses(self._dns_host, self.port, until)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, connection, error) from error
        failed: OSError = TimeoutError("timed out")
        for index, address in enumerate(addresses):
            try:
                return self._connect(address, _left(until) / (len(addresses) - index), until)
            except OSError as error:
                failed = error
        if isinstance(failed, TimeoutError):
            raise urllib3.exceptions.ConnectTimeoutError(connection, f"no connection to {self.host}") from failed
        raise urllib3.exceptions.NewConnectionError(connection, f"no connection: {failed}") from failed

    def _connect(self, address: Any, seconds: float, until: float) -> socket.socket:
        family, kind, protocol, _, place = address
        sock = socket.socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            if self.source_address:
                sock.bind(self.source_address)
            if seconds <= 0:
                raise TimeoutError("timed out")
            sock.settimeout(None if seconds == math.inf else seconds)
            sock.connect(place)
            # For the handshake of TLS and the request itself.
            left = min(_left(until), math.inf if self.timeout is None else self.timeout)
            sock.settimeout(None if left == math.inf else max(left, 0.001))
        except BaseException:
            sock.close()
            raise
        return sock


def _addresses(host: str, port: int, until: float) -> list[Any]:
    """Return a host's addresses, or raise TimeoutError: the system's own patience is no matter of ours."""
    found: list[Any] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            family = urllib3.util.connection.allowed_gai_family()
            found.extend(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        except UnicodeError:
            failed.append(socket.gaierror("no name of a host"))
        except OSError as error:
            failed.append(error)

    asking = Thread(target=ask, name="cirrus-dns", daemon=True)
    asking.start()
    asking.join(None if until == math.inf else max(_left(until), 0))
    if failed:
        raise failed[0]
    return [] if asking.is_alive() else found


def _left(until: float) -> float:
    return until - time.monotonic()


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
        most = math.inf if self._wait is None else time.monotonic() + TIMEOUTS * self._wait
        self._until = min(_UNTIL.get(), most)
        self._left = LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _left(self._until)
        if left <= 0:
            raise TimeoutError("the answer took too long")
        if left < (math.inf if self._wait is None else self._wait):
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
