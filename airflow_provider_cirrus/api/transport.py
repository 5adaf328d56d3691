"""
What the two clients share below the API: whether a request left, why no connection came, when to repeat.

Whether a request may be repeated turns on one question: did it leave? The body answers it. It is handed
over only once the connection stands and the headers are out; a body that nobody asked for was not sent.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tenacity

from airflow_provider_cirrus.api.answers import error_for
from airflow_provider_cirrus.api.bounds import AnswerTooLarge
from airflow_provider_cirrus.api.errors import CirrusError, NoAnswer, NotConnected, TlsFailed, UnreadableAnswer
from airflow_provider_cirrus.api.exchange import Request, Response
from airflow_provider_cirrus.api.multipart import MultipartFile

# A refusal among the texts of http.client ("Tunnel connection failed: 407 …") and httpx ("407 …"). Nowhere else: they
# name ports, too, and places in memory.
_PROXY_STATUS = re.compile(r"(?:^|Tunnel connection failed: )([45]\d\d)\b")

_ON_ITS_WAY: ContextVar[Callable[[], None] | None] = ContextVar("cirrus_on_its_way", default=None)


@contextmanager
def told_when_on_its_way(tell: Callable[[], None]) -> Iterator[None]:
    """
    Have a function called as soon as a request of this thread has left: until then it may have waited for a connection.

    :param tell: called from this thread, after the last byte was handed to the socket; must not raise
    """
    token = _ON_ITS_WAY.set(tell)
    try:
        yield
    finally:
        _ON_ITS_WAY.reset(token)


class WatchedBody:
    """A request's body that remembers whether anybody asked for it."""

    def __init__(self, body: bytes | MultipartFile) -> None:
        self._body: Iterable[bytes] = (body,) if isinstance(body, bytes) else body
        self._length = len(body)
        self.was_asked_for = False

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        self.was_asked_for = True
        yield from self._body
        # Whoever asks for more than there is has handed the last of it to the socket.
        if (tell := _ON_ITS_WAY.get()) is not None:
            tell()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the same from an event loop."""
        self.was_asked_for = True
        chunks = iter(self._body)
        # A file is read in a thread: the event loop also keeps others alive.
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk


def failure(
    error: Exception, request: Request, body: WatchedBody | None, base_url: str, *, proxy: str | None = None
) -> CirrusError:
    """
    Return what a library's exception means: no connection, or no answer.

    A GET has no body to tell the two apart: there, only what certainly came before the connection counts.

    :param proxy: host and port of the proxy that the request goes through
    """
    if _is_of_proxy(error) or (proxy is not None and _found_no_way(error)):
        return _no_way(error, proxy, base_url)
    cause = _root_cause(error)
    if isinstance(cause, AnswerTooLarge):
        return UnreadableAnswer(
            f"{base_url} answered with {cause}, which no documented answer has.",
            hint="Check that the host is Cirrus itself and not a proxy's page.",
        )
    before = isinstance(cause, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError)
    if before or _names_a_connect_failure(error) or (body is not None and not body.was_asked_for):
        return _not_connected(cause, base_url)
    timed_out = isinstance(cause, TimeoutError) or "Timeout" in type(error).__name__
    what = "did not answer in time" if timed_out else "dropped the connection without an answer"
    left = "Whether it did anything cannot be known from here; look in the console." if request.side_effect else ""
    return NoAnswer(f"{base_url} {what}.", hint=left or "Try again.")


def retrying_options(
    request: Request, attempts: int, longest_wait: float, log: Callable[[str], None]
) -> dict[str, Any]:
    """
    Return the options of tenacity, sync and async alike, under which a request is repeated.

    Only where it certainly had no effect, and where waiting may help; a read may also be repeated after
    a lost answer. A server that asks for more patience than ``longest_wait`` seconds gets it from the caller.
    """

    def request_did_nothing(error: BaseException) -> bool:
        return (
            isinstance(error, CirrusError)
            and error.retryable
            and (error.not_sent or not request.side_effect)
            and (error.retry_after or 0) <= longest_wait
        )

    backoff = tenacity.wait_exponential(multiplier=0.5, max=10) + tenacity.wait_random(0, 0.5)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = getattr(state.outcome.exception(), "retry_after", None) if state.outcome else None
        return float(asked) if asked is not None else backoff(state)

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        log(f"{getattr(error, 'message', error)} Trying again in {pause:.1f} s ({state.attempt_number} of {attempts}).")

    return {
        "retry": tenacity.retry_if_exception(request_did_nothing),
        "stop": tenacity.stop_after_attempt(attempts),
        "wait": wait,
        "before_sleep": tell,
        "reraise": True,
    }


def raise_if_repeatable(request: Request, response: Response, secrets: Iterable[str]) -> None:
    """
    Raise for an answer after which the same request may be sent again, so that the retrying sees it.

    :raises CirrusError: 429, or for a read a 5xx
    """
    if response.status == 429 or (response.status >= 500 and not request.side_effect):
        raise error_for(response, hide=tuple(secrets))


def _names_a_connect_failure(error: BaseException) -> bool:
    # requests and httpx each have a class of this name, and no common base.
    return type(error).__name__ in ("ConnectTimeout", "PoolTimeout")


def _is_of_proxy(error: BaseException) -> bool:
    return any(type(one).__name__ == "ProxyError" for one in _chain(error))


def _found_no_way(error: BaseException) -> bool:
    # httpx says the same of a proxy that it does not reach as of a host.
    is_tls = any(isinstance(one, ssl.SSLError) for one in _chain(error))
    return type(error).__name__ in ("ConnectError", "ConnectTimeout") and not is_tls


def _no_way(error: BaseException, proxy: str | None, base_url: str) -> CirrusError:
    """Return what a proxy did that never passed the request on."""
    name = f"The proxy {proxy}" if proxy else "The proxy"
    hint = (
        "The request did not leave. Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the worker: whether its proxy is "
        "right, wants a user and password, and lets this host pass."
    )
    # What http.client and httpx say of the answer to a CONNECT.
    status = next((found[1] for one in _chain(error) if (found := _PROXY_STATUS.search(str(one)))), None)
    if status is not None:
        return NotConnected(f"{name} answered {status} when asked for {base_url}.", hint=hint)
    cause = _root_cause(error)
    match cause:
        case socket.gaierror():
            what = "is not known by this name"
        case ConnectionRefusedError():
            what = "refused the connection"
        case TimeoutError():
            what = "took too long to accept a connection"
        case _:
            what = f"could not be reached ({type(cause).__name__})"
    return NotConnected(f"{name} {what}, on the way to {base_url}.", hint=hint)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _root_cause(error: BaseException) -> BaseException:
    """Return the operating system's or TLS's own exception at the bottom of a library's chain."""
    return next((one for one in reversed(list(_chain(error))) if isinstance(one, OSError)), error)


def _not_connected(cause: BaseException, base_url: str) -> NotConnected:
    hint = "The request did not leave. Check the host of the connection, and the network."
    match cause:
        case ssl.SSLCertVerificationError():
            return TlsFailed(
                f"The TLS certificate of {base_url} is not trusted: {cause.verify_message or 'verification failed'}.",
                hint="The request did not leave. Check the host; for a private authority set REQUESTS_CA_BUNDLE "
                "and SSL_CERT_FILE.",
            )
        case ssl.SSLError():
            return TlsFailed(
                f"No TLS connection to {base_url} ({cause.reason or 'handshake failed'}).",
                hint="The request did not leave. Check host and port: is it an https:// service?",
            )
        case socket.gaierror():
            return NotConnected(f"The host of {base_url} is not known.", hint=hint)
        case ConnectionRefusedError():
            return NotConnected(f"{base_url} refused the connection.", hint=hint)
        case TimeoutError():
            return NotConnected(f"{base_url} took too long to accept a connection.", hint=hint)
        case _:
            return NotConnected(f"No connection to {base_url} ({type(cause).__name__}).", hint=hint)
