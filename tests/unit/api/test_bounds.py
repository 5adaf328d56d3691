"""How long an answer may take and how large it may be: against a server that knows no measure."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.async_client import AsyncCirrusClient
from airflow_provider_cirrus.api.bounds import LARGEST_ANSWER, AnswerTooLarge, unpacked
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, SendResult

TIMEOUT = 0.5
# Of a deadline that is well below what the time-outs alone would allow.
SOON = 0.4
MESSAGE = Message.build("447700900123", {"name": "order_update", "language": "en"})
GOOD = json.dumps({"status": "200", "data": [{"recipient": MESSAGE.to, "status": 200, "id": "1"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Answering = Callable[[socket.socket, threading.Event], None]


class Raw(socketserver.ThreadingTCPServer):
    """Reads each request, and has a function write the answer."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: Raw

    def handle(self) -> None:
        while self.rfile.readline():
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)
            try:
                self.server.answer(self.connection, self.server.over)
            except OSError:
                # The client is gone, as it should be.
                return


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], str]]:
    servers: list[Raw] = []

    def start(answer: Answering) -> str:
        servers.append(Raw(answer))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Callable[..., tuple[list[SendResult], float]]:
    def sync(url: str, times: int = 1) -> list[SendResult]:
        with CirrusClient("t" * 30, "s" * 22, base_url=url, timeout=TIMEOUT, attempts=1) as client:
            return [client.send([MESSAGE]) for _ in range(times)]

    async def awaited(url: str, times: int = 1) -> list[SendResult]:
        async with AsyncCirrusClient("t" * 30, "s" * 22, base_url=url, timeout=TIMEOUT, attempts=1) as client:
            return [await client.send([MESSAGE]) for _ in range(times)]

    def timed(url: str, times: int = 1) -> tuple[list[SendResult], float]:
        begin = time.monotonic()
        sent = sync(url, times) if request.param == "sync" else asyncio.run(awaited(url, times))
        return sent, time.monotonic() - begin

    return timed


def dripping(text: bytes, then: bytes = b"") -> Answering:
    """Return what writes a byte ten times per time-out, for ever."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(then)
        place = 0
        while not over.wait(TIMEOUT / 10):
            connection.sendall(text[place % len(text) :][:1])
            place += 1

    return answer


def whole(*parts: bytes) -> Answering:
    return lambda connection, over: connection.sendall(b"".join(parts))


def flooding(head: bytes, part: bytes) -> Answering:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(head)
        while not over.is_set():
            connection.sendall(part)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(b"x"), id="status-line"),
        pytest.param(dripping(b"X-Header: a\r\n", b"HTTP/1.1 200 OK\r\n"), id="headers"),
        pytest.param(dripping(b"HTTP/1.1 100 Continue\r\n\r\n"), id="interim-answers"),
        pytest.param(dripping(b" ", HEAD + b"Content-Length: 1000000\r\n\r\n"), id="body"),
        pytest.param(dripping(b"1\r\n \r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), id="chunks"),
        pytest.param(dripping(b" ", HEAD + b"Connection: close\r\n\r\n"), id="body-without-length"),
    ],
)
def test_an_answer_that_drips_is_no_answer(
    serve: Callable[[Answering], str], send: Callable[..., tuple[list[SendResult], float]], answer: Answering
) -> None:
    (sent,), seconds = send(serve(answer))
    assert [result.outcome.value for result in sent.results] == ["unknown"]
    assert isinstance(sent.error, errors.NoAnswer)
    assert "in time" in str(sent.error)
    assert seconds < 2 * TIMEOUT + 2


BOMB = gzip.compress(b" " * (LARGEST_ANSWER + 1), mtime=0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(flooding(HEAD + b"Content-Length: 300000000\r\n\r\n", b" " * 65536), id="body"),
        pytest.param(flooding(HEAD + b"Content-Length: %d\r\n\r\n" % 10**17, b" " * 65536), id="beyond-all-memory"),
        pytest.param(flooding(HEAD + b"Connection: close\r\n\r\n", b" " * 65536), id="without-length"),
        pytest.param(
            flooding(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"), id="chunks"
        ),
        pytest.param(
            flooding(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", b" " * 65536), id="one-large-chunk"
        ),
        pytest.param(
            whole(HEAD, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB), id="gzip-bomb"
        ),
    ],
)
def test_an_answer_that_is_too_large_cannot_be_read(
    serve: Callable[[Answering], str], send: Callable[..., tuple[list[SendResult], float]], answer: Answering
) -> None:
    (sent,), seconds = send(serve(answer))
    assert [result.outcome.value for result in sent.results] == ["unknown"]
    assert isinstance(sent.error, errors.UnreadableAnswer)
    assert str(LARGEST_ANSWER) in str(sent.error)
    assert seconds < 2 * TIMEOUT + 2


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        pytest.param(whole(HEAD, b"Content-Length: %d\r\n\r\n" % len(GOOD), GOOD), 3, id="length"),
        pytest.param(
            whole(HEAD, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GOOD), GOOD, b"\r\n0\r\n\r\n"), 3, id="chunks"
        ),
        pytest.param(
            whole(
                HEAD,
                b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(GOOD, mtime=0)),
                gzip.compress(GOOD, mtime=0),
            ),
            3,
            id="gzip",
        ),
        pytest.param(
            whole(HEAD, b"Content-Length: %d\r\n\r\n" % (7_000_000 + len(GOOD)), b" " * 7_000_000, GOOD), 1, id="7-mb"
        ),
    ],
)
def test_an_answer_within_bounds_is_read_and_the_connection_kept(
    serve: Callable[[Answering], str],
    send: Callable[..., tuple[list[SendResult], float]],
    answer: Answering,
    times: int,
) -> None:
    connections = set()

    def counted(connection: socket.socket, over: threading.Event) -> None:
        connections.add(connection.getpeername())
        answer(connection, over)

    sent, _ = send(serve(counted), times)
    assert [one.results[0].outcome.value for one in sent] == ["accepted"] * times
    assert len(connections) == 1


@pytest.mark.parametrize("cut", [1, len(GOOD) // 2, len(GOOD)])
def test_an_answer_that_breaks_off_is_no_answer(
    serve: Callable[[Answering], str], send: Callable[..., tuple[list[SendResult], float]], cut: int
) -> None:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD[:-cut])
        connection.shutdown(socket.SHUT_RDWR)

    (sent,), _ = send(serve(answer))
    assert [result.outcome.value for result in sent.results] == ["unknown"]
    assert isinstance(sent.error, errors.NoAnswer)


def test_a_slow_answer_within_its_time_is_read(
    serve: Callable[[Answering], str], send: Callable[..., tuple[list[SendResult], float]]
) -> None:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        text = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
        over.wait(TIMEOUT * 0.8)
        connection.sendall(text[:50])
        over.wait(TIMEOUT * 0.5)
        connection.sendall(text[50:])

    sent, _ = send(serve(answer), 2)
    assert [one.results[0].outcome.value for one in sent] == ["accepted"] * 2


def test_a_flood_costs_no_memory(serve: Callable[[Answering], str]) -> None:
    url = serve(flooding(HEAD + b"Content-Length: 300000000\r\n\r\n", b" " * 65536))
    code = f"""
import resource
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
message = Message.build("447700900123", {{"name": "order_update", "language": "en"}})
client = CirrusClient("t" * 30, "s" * 22, base_url={url!r}, timeout=5.0, attempts=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(client.send([message]).results[0].outcome.value)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    outcome, grown = done.stdout.split()
    assert outcome == "unknown"
    assert int(grown) * (1024 if sys.platform != "darwin" else 1) < 4 * LARGEST_ANSWER


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        pytest.param(b"abc", "", b"abc", id="none"),
        pytest.param(b"abc", "identity", b"abc", id="identity"),
        pytest.param(gzip.compress(b"abc", mtime=0), " GZIP ", b"abc", id="gzip"),
        pytest.param(gzip.compress(b"ab", mtime=0) + gzip.compress(b"c", mtime=0), "x-gzip", b"abc", id="two-in-one"),
        pytest.param(zlib.compress(b"abc"), "deflate", b"abc", id="deflate"),
        pytest.param(zlib.compress(b"abc")[2:-4], "deflate", b"abc", id="deflate-without-header"),
        pytest.param(b"abc", "gzip", b"", id="not-compressed-at-all"),
        pytest.param(b"", "gzip", b"", id="empty"),
        pytest.param(gzip.compress(b"", mtime=0) * 300_000, "gzip", b"", id="more-parts-than-anybody-makes"),
        pytest.param(b" " * LARGEST_ANSWER, "", b" " * LARGEST_ANSWER, id="as-large-as-may-be"),
    ],
)
def test_a_body_is_unpacked(body: bytes, encoding: str, text: bytes) -> None:
    assert unpacked(body, encoding) == text


@pytest.mark.parametrize("bomb", [BOMB, gzip.compress(b" " * LARGEST_ANSWER, mtime=0) + gzip.compress(b" ", mtime=0)])
def test_a_bomb_is_not_unpacked(bomb: bytes) -> None:
    with pytest.raises(AnswerTooLarge):
        unpacked(bomb, "gzip")


@pytest.fixture
def holes(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host of three addresses that accept no connection and refuse none; what the resolver says is made up."""
    found = []
    fillers = []
    for place in (1, 2, 3):
        hole = socket.socket()
        hole.bind((f"127.0.0.{place}", 0))
        hole.listen(0)
        address = hole.getsockname()
        # The first ones fill what the system keeps for a server that never accepts.
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        fillers.append(hole)
        found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    yield "http://localhost:1"
    for one in fillers:
        one.close()


def test_a_connection_has_its_time_for_all_addresses_together(holes: str) -> None:
    with CirrusClient("t", "s" * 22, base_url=holes, timeout=3, attempts=1) as cirrus:
        start = time.monotonic()
        (result,) = cirrus.send([MESSAGE]).results
        # Each of the three by itself would take as long.
        assert time.monotonic() - start < 8
    assert result.outcome is Outcome.UNSENT
    assert "took too long to accept a connection" in str(result.reason)


def test_a_deadline_ends_a_connection(holes: str) -> None:
    start = time.monotonic()
    with CirrusClient("t", "s" * 22, base_url=holes, timeout=30, attempts=1, deadline=start + SOON) as cirrus:
        (result,) = cirrus.send([MESSAGE]).results
    assert time.monotonic() - start < 5
    assert result.outcome is Outcome.UNSENT


def test_a_deadline_ends_an_answer_that_never_does(serve: Callable[[Answering], str]) -> None:
    def trickle(sock: socket.socket, over: threading.Event) -> None:
        sock.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        while not over.wait(0.05):
            sock.sendall(b" ")

    start = time.monotonic()
    with CirrusClient("t", "s" * 22, base_url=serve(trickle), timeout=30, attempts=1, deadline=start + SOON) as cirrus:
        (result,) = cirrus.send([MESSAGE]).results
    assert time.monotonic() - start < 5
    assert result.outcome is Outcome.UNKNOWN


def test_a_host_that_is_slow_to_be_found_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [over.wait(30)])
    start = time.monotonic()
    with CirrusClient("t", "s" * 22, base_url="http://localhost:1", timeout=TIMEOUT, attempts=1) as cirrus:
        (result,) = cirrus.send([MESSAGE]).results
    over.set()
    assert time.monotonic() - start < 5
    assert result.outcome is Outcome.UNSENT
