"""The client for plain, synchronous code, on requests. Its async twin is in ``async_client``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import requests
import requests.adapters
import tenacity
import urllib3

from airflow_provider_cirrus.api import bounds, media, wire
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


class CirrusClient:
    """
    Talks to one stream of Cirrus over kept-alive connections.

    A request is repeated only where it certainly had no effect (no connection, 429); redirects are not
    followed. Threads may share a client.

    Example::

        with CirrusClient(token, stream_id) as cirrus:
            sent = cirrus.send([Message.build("+44 7700 900123", {"name": "order_update", "language": "en"})])

    :param token: API token
    :param stream_id: encrypted stream id, percent-encoded or not
    :param base_url: ``https://…``; ``http://`` for this machine only
    :param api_version: ``""`` or ``"v2"``
    :param timeout: seconds to wait for a connection, whatever the number of addresses, and for each part of an answer;
        a whole answer may take twice as long from the end of the request to its last byte, and have 8 MB, before and
        after decompression
    :param attempts: most times that one request is tried
    :param longest_wait: most seconds that a server's Retry-After is waited for
    :param pool_size: most connections kept alive
    :param deadline: moment of ``time.monotonic()`` at which every request ends, whatever is left of its time-outs;
        None: there is none
    :param guard: what the connection asks of every send; None: the caller has looked at that
    :param baggage: what the requests are part of, by name, such as ``{"airflow.dag_id": "news"}``, for a server on this
        machine, which is told by a W3C Baggage header; no other is
    :raises InvalidInput: a setting cannot be right
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
        deadline: float | None = None,
        guard: Guard | None = None,
        baggage: Mapping[str, str] | None = None,
    ) -> None:
        hide_numbers()
        self.endpoint = Endpoint(token, stream_id, base_url, api_version, timeout, baggage or {})
        self._attempts = attempts
        self._longest_wait = longest_wait
        self._deadline = math.inf if deadline is None else deadline
        self._guard = guard
        # Of the last listing: how to divide the next.
        self._cuts: list[int] = []
        self._session = requests.Session()
        self._session.headers.update(self.endpoint.headers)
        # An auth object, as requests lets a .netrc entry overrule a plain header.
        self._session.auth = _Bearer(self.endpoint.authorization)
        # A proxy has no business between us and our own machine, least of all with a token in the clear.
        self._session.trust_env = not self.endpoint.is_plain
        self._last_route: _Route | None = None
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=pool_size, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def __enter__(self) -> CirrusClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._last_route = None
        self._session.close()

    def send(self, messages: Sequence[Message]) -> SendResult:
        """
        Send 1 to 20 messages in one request; the caller makes the batches.

        A request that Cirrus refuses for one of several messages, without saying which, is not sent again in halves
        here: its messages are unsent, and :attr:`~.results.SendResult.split` says so.

        :return: one outcome per message, in the order of the messages, whatever Cirrus answered
        :raises InvalidInput: no messages or too many, or the connection requires an opt-in; nothing was sent
        """
        return self._send(messages) if self._guard is None else self._guard.send(messages, self._send)

    def _send(self, messages: Sequence[Message]) -> SendResult:
        request = wire.send_request(messages, self.endpoint.stream_id, self.endpoint.api_version)
        try:
            response = self._exchange(request)
        except CirrusError as error:
            return wire.failed_send(messages, error)
        return wire.read_send(messages, response, hide=self.endpoint.secrets)

    def upload_media(self, file: BinaryIO, filename: str, media_type: str | None = None) -> Upload:
        """
        Upload an image, a video or a document for the header of a template.

        :param file: open for reading in binary, seekable; read in chunks
        :param filename: with extension; the recipient of a document sees it
        :param media_type: such as ``image/png``; None: found from the content, and checked against Meta's limits
        :raises InvalidInput: WhatsApp takes no such file
        :raises CirrusError: it was not taken, or no answer came; uploading again does no harm
        """
        if media_type is None:
            media_type = media.check(file, filename, file.seek(0, 2)).mime
        request = wire.upload_request(self.endpoint.stream_id, file, filename, media_type)
        return wire.read_upload(self._exchange(request), hide=self.endpoint.secrets)

    def send_campaign(self, campaign: Campaign, file: BinaryIO, filename: str, media_type: str = "text/csv") -> None:
        """
        Start a campaign: one template to everybody in a file that Cirrus reads.

        The file is sent as it is. Whether a campaign that got no answer has begun cannot be known: repeating it
        may message everybody twice.

        :param campaign: the template and what goes with it
        :param file: the audience with a column ``phone1``, open for reading in binary, seekable; read in chunks
        :param filename: ends in ``.csv`` or ``.xlsx``
        :param media_type: of the file
        :raises CirrusError: Cirrus did not take it, or no answer came; ``not_sent`` says which
        """
        if self._guard is not None:
            self._guard.check_campaign()
        request = wire.campaign_request(self.endpoint.stream_id, campaign, file, filename, media_type)
        wire.read_campaign(self._exchange(request), hide=self.endpoint.secrets)

    def validate_contact(self, number: str) -> ContactCheck:
        """
        Ask whether a number is on WhatsApp.

        Checking numbers that are then not messaged gets the business banned: only with an opt-in, never in
        bulk, never the same number twice.

        :param number: as :func:`~.phone.to_digits` reads it
        :raises InvalidInput: no number
        :raises CirrusError: no answer that can be read
        """
        digits = to_digits(number, "number")
        if self._guard is not None:
            self._guard.check_number(digits)
        request = wire.validate_request(self.endpoint.stream_id, digits)
        return wire.read_validate(self._exchange(request), hide=self.endpoint.secrets)

    def get_conversation(self, object_id: str | int) -> Conversation:
        """
        Read one conversation with its messages.

        :raises CirrusError: there is none, or it cannot be read
        """
        request = wire.conversation_request(self.endpoint.stream_id, object_id)
        return wire.read_conversation(self._exchange(request), hide=self.endpoint.secrets)

    def list_conversations(self, start: int, end: int) -> list[Conversation]:
        """
        List the conversations of a span of time, in as many requests as it takes.

        Whether the span is over the time of creation or of change is not documented.

        :param start: Unix seconds
        :param end: Unix seconds
        :return: each conversation once; without their messages, as far as is known
        :raises CirrusError: they cannot be listed
        """
        pager = Pager(start, end, self._cuts)
        for span in pager.spans():
            request = wire.conversations_request(self.endpoint.stream_id, *span)
            pager.take(*wire.read_conversations(self._exchange(request), hide=self.endpoint.secrets))
        self._cuts = pager.cuts
        if pager.complaint:
            log.warning(pager.complaint)
        return pager.conversations

    def stream_availability(self) -> Any:
        """
        Read the stream's availability: a check of host, token and stream without side effect.

        :return: what Cirrus says; its shape is not documented
        :raises CirrusError: one of the three is wrong
        """
        request = wire.availability_request(self.endpoint.stream_id)
        return wire.read_availability(self._exchange(request), hide=self.endpoint.secrets)

    def _exchange(self, request: Request) -> Response:
        if self._attempts == 1:
            return self._once(request)
        retrying = tenacity.Retrying(**retrying_options(request, self._attempts, self._longest_wait, log.warning))
        return retrying(self._once, request)

    def _once(self, request: Request) -> Response:
        with bounds.ends_at(self._deadline):
            return self._exchange_once(request)

    def _exchange_once(self, request: Request) -> Response:
        body = None if request.body is None else WatchedBody(request.body)
        try:
            route = self._route_of(request)
            headers = {**route.headers, **request.headers}
            if body is not None:
                # With a length, what is iterable is streamed, and not in chunks.
                headers["Content-Length"] = str(len(body))
            answer = route.pool.urlopen(
                request.method,
                route.target,
                body=body,
                headers=headers,
                timeout=self.endpoint.timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                # A proxied address is a whole one.
                assert_same_host=False,
            )
            response = Response(answer.status, answer.headers, bounds.read_body(answer))
        except (requests.RequestException, urllib3.exceptions.HTTPError, bounds.AnswerTooLarge) as error:
            raise failure(error, request, body, self.endpoint.base_url, proxy=self._proxy) from error
        raise_if_repeatable(request, response, self.endpoint.secrets)
        return response

    @property
    def _proxy(self) -> str | None:
        """Host and port of the proxy on the last way; without its password."""
        proxy = self._last_route.pool.proxy if self._last_route is not None else None
        return None if proxy is None else proxy.netloc

    def _route_of(self, request: Request) -> _Route:
        address = (request.method, self.endpoint.url(request))
        route = self._last_route
        if route is None or route.address != address:
            # A run sends everything to one address, and finding the way takes as long as a request.
            self._last_route = route = self._find_route(address)
        return route

    def _find_route(self, address: tuple[str, str]) -> _Route:
        """
        Have requests find the way: headers, proxies, certificates, and the pool of connections.

        What it does around each request is left out, as it takes longer than the request itself: there are no
        cookies and no hooks to look after, and no redirect is followed.
        """
        prepared = self._session.prepare_request(requests.Request(*address))
        assert prepared.url is not None
        given = self._session.merge_environment_settings(prepared.url, {}, None, None, None)
        verify, cert, proxies = given["verify"], given["cert"], given["proxies"]
        adapter = self._session.get_adapter(prepared.url)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        pool = adapter.get_connection_with_tls_context(prepared, verify, proxies=proxies, cert=cert)
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        bounds.bound(pool)
        adapter.cert_verify(pool, prepared.url, verify, cert)  # type: ignore[no-untyped-call]
        headers = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        return _Route(address, pool, adapter.request_url(prepared, proxies), headers)


@dataclass(frozen=True)
class _Route:
    """How to get to an address: ``target`` is what stands in the request's first line."""

    address: tuple[str, str]
    pool: urllib3.HTTPConnectionPool
    target: str
    headers: Mapping[str, str]


class _Bearer(requests.auth.AuthBase):
    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization
        return request
