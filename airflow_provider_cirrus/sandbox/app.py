"""The sandbox as an ASGI application: who may call what, and what may go wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import struct
from itertools import repeat
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from airflow_provider_cirrus.sandbox.answers import Answer, bad_request, html_response, json_response
from airflow_provider_cirrus.sandbox.archive import Archive
from airflow_provider_cirrus.sandbox.campaigns import start_campaign
from airflow_provider_cirrus.sandbox.control import Control
from airflow_provider_cirrus.sandbox.conversations import Conversations
from airflow_provider_cirrus.sandbox.faults import Fault, FaultBook
from airflow_provider_cirrus.sandbox.rate import RateLimit
from airflow_provider_cirrus.sandbox.reading import Reader
from airflow_provider_cirrus.sandbox.requests_seen import RequestRecord
from airflow_provider_cirrus.sandbox.routes import Route, find_route
from airflow_provider_cirrus.sandbox.sending import Sender, recipients_in
from airflow_provider_cirrus.sandbox.store import Store
from airflow_provider_cirrus.sandbox.uploading import upload
from airflow_provider_cirrus.sandbox.webhook import Webhook

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from airflow_provider_cirrus.sandbox.settings import Settings

TRANSPORT = "cirrus_sandbox.transport"
"""Where the server puts the connection into the scope, for the faults that break it."""

REDIRECTED = "/_sandbox/redirected"


#: Most bytes of one send that are read: twenty messages of the longest texts are far below it.
LARGEST_BODY = 4 * 1024 * 1024
# Bytes that are kept of a request which is refused in any case.
_SHOWN_BODY = 64 * 1024


class UnansweredError(Exception):
    """The request gets no answer."""


# What a flood consists of.
_FLOOD = b" " * 65_536


class SandboxApp:
    """
    One sandbox without its server.

    :param settings: its options.
    :param loopback_only: refuse to show the inbox under foreign host names.
    """

    def __init__(self, settings: Settings, *, loopback_only: bool = True) -> None:
        self.settings = settings
        self.store = Store(settings.keep, settings.keep_for)
        self.faults = FaultBook()
        self._rate = RateLimit(settings.messages_per_second)
        self.conversations = Conversations(settings.plain_stream_id, settings.keep, settings.list_by, settings.keep_for)
        self._sender = Sender(settings, self.store, self.faults, self._rate, self.conversations)
        self._reader = Reader(settings, self.store, self.conversations)
        self._control = Control(self, loopback_only=loopback_only)
        self.stopping = asyncio.Event()
        self.archive: Archive | None = None
        self._has_read_archive = False
        self.webhook = None if settings.webhook is None else Webhook(settings.webhook)
        if self.webhook is not None:
            self.store.listen(self.webhook.tell)
            self.conversations.listen(self.webhook.tell)

    @property
    def version(self) -> int:
        """Grows whenever something changes that the inbox shows."""
        return self.store.version + self.conversations.version

    def reset(self) -> None:
        """Forget everything that came in, and all faults."""
        self.faults.clear()
        self.store.reset()
        self._rate.reset()
        self.conversations.reset()

    def open(self) -> None:
        """
        Make ready to serve, after a stop too.

        :raises OSError: the file of the data cannot be used
        """
        self.stopping = asyncio.Event()
        if self.settings.data is not None:
            archive = self.archive = Archive(self.settings.data)
            restores, self._has_read_archive = not self._has_read_archive, True
            if not restores:
                # What is known is newer: something may have changed since the stop.
                archive.drop_all()
            self.store.attach(archive, restores=restores)
            self.conversations.attach(archive, restores=restores)
        if self.webhook is not None:
            self.webhook.start()

    def close(self) -> None:
        """
        Let go of what was opened, once nothing is served any more.

        :raises OSError: the file of the data lacks what came in last
        """
        self.store.detach()
        self.conversations.detach()
        if self.webhook is not None:
            self.webhook.stop()
        if self.archive is not None:
            self.archive.close()

    def release(self) -> None:
        """Let go of everyone who is kept waiting; to be called on the event loop."""
        self.stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        path = scope["path"]
        if path == REDIRECTED:
            response: Response | None = await self._redirected(request)
        elif self._control.serves(path):
            await self._control(scope, receive, send)
            return
        else:
            response = await self._api(request, send)
        if response is not None:
            await response(scope, receive, send)

    async def _api(self, request: Request, send: Send) -> Response | None:
        route = find_route(request.scope["raw_path"])
        operation = route.operation if route is not None and route.method == request.method else "unknown"
        record = self._record(request, operation)
        try:
            if operation in {"send", "unknown"}:
                # Of whoever may not send, enough to see what it was; nobody's bodies fill the memory.
                may_send = operation == "send" and self._forbidden(request, route) is None
                self.store.keep_body(record, await _body(request, LARGEST_BODY if may_send else _SHOWN_BODY))
            response = await self._serve(request, route, record, send)
        except (UnansweredError, ClientDisconnect):
            return None
        record.status = response.status_code
        return response

    async def _serve(self, request: Request, route: Route | None, record: RequestRecord, send: Send) -> Response:
        place, recipients = _fault_place(route, record)
        older_contacts = False
        for fault in self.faults.striking(place, "before", recipients):
            if fault.action == "contacts":
                older_contacts = True
                continue
            if fault.action != "delay" and record.body is None:
                await _drain(request)
            response = await self._suffer(fault, request, None, send)
            if response is not None:
                return response
        answer = self._forbidden(request, route)
        if answer is None:
            assert route is not None
            answer = await self._answer(request, route, record, older_contacts=older_contacts)
        elif record.body is None:
            await _drain(request)
        if answer.status in {200, 206}:
            for fault in self.faults.striking(place, "after", recipients):
                if fault.action == "missing_entry":
                    _leave_out(answer, fault.recipient)
                    continue
                response = await self._suffer(fault, request, answer, send)
                if response is not None:
                    return response
        return answer.response()

    def _forbidden(self, request: Request, route: Route | None) -> Answer | None:
        settings = self.settings
        if (problem := self._control.foreign_host(request)) is not None:
            return Answer(403, description=problem, page=True)
        if route is None:
            return Answer(404, description="No such path.", page=True)
        if route.method != request.method:
            return Answer(405, description="Method not allowed.", page=True, headers={"Allow": route.method})
        if route.versioned and settings.api_version == "":
            return Answer(404, description="This deployment has no /v2.", page=True)
        if route.operation == "status":
            return None
        if _holds_token(request, settings.token):
            return Answer(401, description="A token never belongs into a query string.", page=True)
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {settings.token}".encode()):
            return Answer(401, description="Unauthorized: no or wrong bearer token.", page=True)
        if route.operation == "campaign":
            # Its stream stands in the form.
            return None
        known = {settings.stream_id}
        if route.operation in {"object", "objects", "availability"}:
            known.add(str(settings.plain_stream_id))
        if route.stream not in known:
            # Shown as decoded once: what was encoded twice still has its percent signs.
            return Answer(404, description=f"No stream {route.stream!r}.", page=True)
        return None

    async def _answer(self, request: Request, route: Route, record: RequestRecord, *, older_contacts: bool) -> Answer:
        content_type = request.headers.get("content-type", "")
        if route.operation == "send":
            if self.settings.api_version == "v2" and not route.versioned:
                # What older deployments say when the unversioned path still takes its old body.
                return bad_request("Missing parameter template_name")
            baggage = request.headers.get("baggage", "")
            return self._sender.send(record.body or b"", content_type, record.number, baggage)
        if route.operation == "upload":
            return await upload(request.stream(), content_type, self.store)
        if route.operation == "campaign":
            return await start_campaign(request, self.settings, self.store, record.number)
        await _drain(request)
        return self._reader.answer(route, dict(request.query_params), record.number, older_contacts=older_contacts)

    async def _suffer(self, fault: Fault, request: Request, answer: Answer | None, send: Send) -> Response | None:
        """Let a fault strike; return an answer, ``None`` to go on, or raise :class:`UnansweredError`."""
        if fault.action == "status":
            return _status_response(fault)
        if fault.action == "delay":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), fault.delay)
            return None
        transport: asyncio.Transport = request.scope[TRANSPORT]
        if fault.action == "hang":
            await self._until_gone(request)
        elif fault.action == "truncate":
            await _send_half((answer or Answer(fault.status)).response(), send)
            transport.close()
        elif fault.action in {"drip", "flood"}:
            await self._answer_badly(fault, request, (answer or Answer(fault.status)).response(), send)
        elif fault.action == "close":
            transport.close()
        else:
            _reset_connection(transport)
        # The server takes a request that ends without an answer for a crash, unless the client is gone.
        await _gone(request)
        raise UnansweredError

    async def _answer_badly(self, fault: Fault, request: Request, response: Response, send: Send) -> None:
        """Answer until the client has had enough: slowly, or too much."""
        # Without a length, as what is flooded has none.
        headers = [pair for pair in response.raw_headers if pair[0] != b"content-length" or fault.action == "drip"]
        body = bytes(response.body)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        parts = (body[place : place + 1] for place in range(len(body))) if fault.action == "drip" else repeat(_FLOOD)
        gone = asyncio.ensure_future(self._until_gone(request))
        try:
            for part in parts:
                await asyncio.wait({gone}, timeout=fault.delay if fault.action == "drip" else 0)
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})
        # What went well ends here; the connection lives on.
        raise UnansweredError

    async def _until_gone(self, request: Request) -> None:
        gone = asyncio.ensure_future(_gone(request))
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            stopping.cancel()
        if self.stopping.is_set():
            _reset_connection(request.scope[TRANSPORT])

    async def _redirected(self, request: Request) -> Response:
        # Recorded, so that a test can tell whether a client carried its token or its messages along.
        record = self._record(request, "redirected")
        self.store.keep_body(record, await _body(request, _SHOWN_BODY))
        record.status = 200
        return Answer(200, []).response()

    def _record(self, request: Request, operation: str) -> RequestRecord:
        token = self.settings.token
        headers = {key: value.replace(token, "…") for key, value in request.headers.items()}
        if "authorization" in headers:
            scheme, space, _ = headers["authorization"].partition(" ")
            headers["authorization"] = f"{scheme}{space}…" if space else "…"
        length = headers.get("content-length", "")
        query = "…" if _holds_token(request, token) else request.scope["query_string"].decode("latin-1")
        return self.store.open_request(
            operation=operation,
            method=request.method,
            path=request.scope["raw_path"].decode("latin-1"),
            query=query,
            headers=headers,
            content_length=int(length) if length.isdigit() else None,
        )


def _fault_place(route: Route | None, record: RequestRecord) -> tuple[str, set[str]]:
    if route is None:
        return "unknown", set()
    if route.operation == "send":
        return "send", recipients_in(record.body or b"")
    if route.operation == "validate":
        return "validate", {route.item}
    return {"objects": "object"}.get(route.operation, route.operation), set()


def _status_response(fault: Fault) -> Response:
    headers = fault.answer_headers()
    if isinstance(fault.body, str):
        return Response(fault.body.encode(), fault.status, headers, media_type="text/html; charset=utf-8")
    if fault.body is not None:
        return json_response(fault.body, fault.status, headers)
    if fault.status in {401, 404, 405, 429} or fault.status >= 500:
        return html_response(fault.status, "A fault on demand.", headers)
    return Answer(fault.status, description="A fault on demand", headers=headers).response()


def _leave_out(answer: Answer, recipient: str | None) -> None:
    if not isinstance(answer.data, list) or not answer.data:
        return
    if recipient is None:
        answer.data = answer.data[:-1]
    else:
        answer.data = [entry for entry in answer.data if entry.get("recipient") != recipient]


def _holds_token(request: Request, token: str) -> bool:
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return any(token in value or token in key for key, value in pairs)


def _reset_connection(transport: asyncio.Transport) -> None:
    # Linger 0 makes the kernel send RST: the client sees a broken connection, not an orderly end.
    connection: Any = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _send_half(response: Response, send: Send) -> None:
    body = bytes(response.body)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def _body(request: Request, most: int) -> bytes:
    """Return a request's body, of which no more is kept than may be; the rest is read and dropped."""
    found = bytearray()
    async for part in request.stream():
        found += part[: most - len(found)]
    return bytes(found)


async def _drain(request: Request) -> None:
    async for _ in request.stream():
        pass


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
