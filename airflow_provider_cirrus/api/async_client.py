"""The async twin of the client, on httpx: the same names, awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import tenacity

from airflow_provider_cirrus.api import bounds, media, wire
from airflow_provider_cirrus.api.answers import server_time
from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.conversations import Pager
from airflow_provider_cirrus.api.endpoint import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, Endpoint
from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.exchange import Request, Response
from airflow_provider_cirrus.api.guard import Guard
from airflow_provider_cirrus.api.logs import hide_numbers
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import to_digits
from airflow_provider_cirrus.api.results import ContactCheck, Conversation, SendResult, Upload
from airflow_provider_cirrus.api.transport import WatchedBody, failure, raise_if_repeatable, retrying_options

log = logging.getLogger(__name__)


class AsyncCirrusClient:
    """
    Talks to one stream of Cirrus from an event loop.

    Parameters, results and errors are those of :class:`~.client.CirrusClient`, method by method.
    """

    def __init__(
        self,
        token: str,
        stream_id: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        api_version: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        attempts: int = 3,
        longest_wait: float = 60.0,
        pool_size: int = 10,
        guard: Guard | None = None,
        baggage: Mapping[str, str] | None = None,
    ) -> None:
        hide_numbers()
        self.endpoint = Endpoint(token, stream_id, base_url, api_version, timeout, baggage or {})
        self._attempts = attempts
        self._longest_wait = longest_wait
        self._guard = guard
        # Of the last listing: how to divide the next.
        self._cuts: list[int] = []
        #: Unix seconds of the server's clock when it last answered; None: no answer told.
        self.server_time: float | None = None
        self._http = httpx.AsyncClient(
            headers={**self.endpoint.headers, "Authorization": self.endpoint.authorization},
            timeout=timeout,
            limits=httpx.Limits(max_connections=pool_size),
            follow_redirects=False,
            # As in the sync client: no proxy between us and our own machine.
            trust_env=not self.endpoint.is_plain,
        )

    async def __aenter__(self) -> AsyncCirrusClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, messages: Sequence[Message]) -> SendResult:
        """Send 1 to 20 messages in one request."""
        if self._guard is None:
            return await self._send(messages)
        allowed, refused = self._guard.split(messages)
        sent = await self._send(allowed) if allowed or not messages else SendResult(())
        return self._guard.merged(messages, refused, sent)

    async def _send(self, messages: Sequence[Message]) -> SendResult:
        request = wire.send_request(messages, self.endpoint.stream_id, self.endpoint.api_version)
        try:
            response = await self._exchange(request)
        except CirrusError as error:
            return wire.failed_send(messages, error)
        return wire.read_send(messages, response, hide=self.endpoint.secrets)

    async def upload_media(self, file: BinaryIO, filename: str, media_type: str | None = None) -> Upload:
        """Upload an image, a video or a document for the header of a template."""
        if media_type is None:
            media_type = media.check(file, filename, file.seek(0, 2)).mime
        request = wire.upload_request(self.endpoint.stream_id, file, filename, media_type)
        return wire.read_upload(await self._exchange(request), hide=self.endpoint.secrets)

    async def send_campaign(
        self, campaign: Campaign, file: BinaryIO, filename: str, media_type: str = "text/csv"
    ) -> None:
        """Start a campaign; the warning of the sync client holds here."""
        if self._guard is not None:
            self._guard.check_campaign()
        request = wire.campaign_request(self.endpoint.stream_id, campaign, file, filename, media_type)
        wire.read_campaign(await self._exchange(request), hide=self.endpoint.secrets)

    async def validate_contact(self, number: str) -> ContactCheck:
        """Ask whether a number is on WhatsApp; the warning of the sync client holds here."""
        digits = to_digits(number, "number")
        if self._guard is not None:
            self._guard.check_number(digits)
        request = wire.validate_request(self.endpoint.stream_id, digits)
        return wire.read_validate(await self._exchange(request), hide=self.endpoint.secrets)

    async def get_conversation(self, object_id: str | int) -> Conversation:
        """Read one conversation with its messages."""
        request = wire.conversation_request(self.endpoint.stream_id, object_id)
        return wire.read_conversation(await self._exchange(request), hide=self.endpoint.secrets)

    async def list_conversations(self, start: int, end: int) -> list[Conversation]:
        """List the conversations of a span of time, in as many requests as it takes."""
        pager = Pager(start, end, self._cuts)
        for span in pager.spans():
            request = wire.conversations_request(self.endpoint.stream_id, *span)
            pager.take(*wire.read_conversations(await self._exchange(request), hide=self.endpoint.secrets))
        self._cuts = pager.cuts
        if pager.complaint:
            log.warning(pager.complaint)
        return pager.conversations

    async def stream_availability(self) -> Any:
        """Read the stream's availability: a check of host, token and stream without side effect."""
        request = wire.availability_request(self.endpoint.stream_id)
        return wire.read_availability(await self._exchange(request), hide=self.endpoint.secrets)

    async def _exchange(self, request: Request) -> Response:
        retrying = tenacity.AsyncRetrying(**retrying_options(request, self._attempts, self._longest_wait, log.warning))
        return await retrying(self._once, request)

    async def _once(self, request: Request) -> Response:
        body = None if request.body is None else WatchedBody(request.body)
        headers = dict(request.headers)
        if body is not None:
            headers["Content-Length"] = str(len(body))
        try:
            async with asyncio.timeout(None) as limit:
                made = self._http.build_request(
                    request.method,
                    self.endpoint.url(request),
                    headers=headers,
                    content=None if body is None else body.chunks(),
                    extensions={"trace": self._starting(limit)},
                )
                answer = await self._http.send(made, stream=True)
                response = Response(answer.status_code, answer.headers, await _read_body(answer))
                self.server_time = server_time(answer.headers) or self.server_time
        except (httpx.RequestError, TimeoutError, bounds.AnswerTooLarge) as error:
            raise failure(error, request, body, self.endpoint.base_url, proxy=self._proxy()) from error
        raise_if_repeatable(request, response, self.endpoint.secrets)
        return response

    def _proxy(self) -> str | None:
        """Return host and port of the proxy that the environment names, without its password."""
        if self.endpoint.is_plain:
            return None
        # Late, as only a failure needs it; requests reads the environment by the same rules as httpx.
        from requests.utils import get_environ_proxies, select_proxy

        proxy = select_proxy(self.endpoint.base_url, get_environ_proxies(self.endpoint.base_url))
        return urlsplit(proxy).netloc.rpartition("@")[2] or None if proxy else None

    def _starting(self, limit: asyncio.Timeout) -> Callable[[str, Any], Awaitable[None]]:
        """Return what httpx tells of each step; from the end of the request on, the time of the answer runs."""

        async def note(event: str, _: Any) -> None:
            if event.endswith(".receive_response_headers.started"):
                limit.reschedule(asyncio.get_running_loop().time() + bounds.TIMEOUTS * self.endpoint.timeout)

        return note


async def _read_body(answer: httpx.Response) -> bytes:
    body = bytearray()
    try:
        async for part in answer.aiter_raw():
            body += part
            if len(body) > bounds.LARGEST_ANSWER:
                raise bounds.AnswerTooLarge
    finally:
        await answer.aclose()
    return bounds.unpacked(bytes(body), answer.headers.get("content-encoding", ""))
