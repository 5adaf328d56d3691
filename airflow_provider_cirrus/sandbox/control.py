"""Who may call the sandbox's own pages: the inbox, faults, reset. None of this exists at the vendor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, Router

from airflow_provider_cirrus.sandbox.answers import json_response
from airflow_provider_cirrus.sandbox.inbox import pages
from airflow_provider_cirrus.sandbox.inbox.api import Api, Missing
from airflow_provider_cirrus.sandbox.inbox.web import Web
from airflow_provider_cirrus.sandbox.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from airflow_provider_cirrus.sandbox.controlled import Controlled


SECURITY_HEADERS = {
    # Messages are untrusted text: even if one got through as markup, nothing of it could run or load.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "media-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not none at all: a browser would then send its own forms without their origin.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_Endpoint = Callable[[Request], Awaitable[Response]]


class Control:
    """
    Serves what is the sandbox's own, to programs and to people.

    :param loopback_only: answer only under a loopback host name, since a web page elsewhere could have its
        own name resolve to this machine and read the inbox through the user's browser.
    """

    def __init__(self, app: Controlled, *, loopback_only: bool) -> None:
        self._loopback_only = loopback_only
        # First what is for programs: its addresses are whole, those of people's pages partly patterns.
        self.routes = [
            Route(route.path, _told(route.endpoint, answer), methods=route.methods)
            for routes, answer in ((Api(app).routes(), _as_json), (Web(app).routes(), _as_page))
            for route in routes
        ]
        self._router = Router(self.routes, redirect_slashes=False, default=_nothing)
        self._first = {route.path.split("/")[1] for route in self.routes} - {""}

    def serves(self, path: str) -> bool:
        """Return whether a path is one of these; all others are the vendor's."""
        return path == "/" or path.split("/")[1] in self._first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        problem = self._foreign(Request(scope, receive))
        answering = _as_json(403, problem) if problem else self._router
        await answering(scope, receive, send_safely)

    def foreign_host(self, request: Request) -> str | None:
        """Return what is wrong with the name under which the sandbox was called; None: nothing."""
        host = request.headers.get("host", "")
        if self._loopback_only and _hostname(f"//{host}") not in LOOPBACK_HOSTS:
            return f"{host!r} is no loopback name; start the sandbox with --host to serve other names"
        return None

    def _foreign(self, request: Request) -> str:
        host = request.headers.get("host", "")
        if (problem := self.foreign_host(request)) is not None:
            return problem
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "requests from other web sites are refused"
        return ""


def _told(endpoint: _Endpoint, answer: Callable[[int, str], Response]) -> _Endpoint:
    """Return an endpoint that says what is wrong with a request: a query, a body, or what is not there."""

    @wraps(endpoint)
    async def told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Missing as exc:
            return answer(404, str(exc))
        except ValueError as exc:
            return answer(400, str(exc))

    return told


def _as_json(status: int, problem: str) -> Response:
    return json_response({"error": problem}, status)


def _as_page(status: int, problem: str) -> Response:
    return HTMLResponse(pages.page("error.html", status=status, problem=problem), status)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await _as_json(404, "no such page; see / for the inbox")(scope, receive, send)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
