"""The sandbox's own pages: the inbox, faults, reset. None of this exists at the vendor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.responses import Response, StreamingResponse

from airflow_provider_cirrus.sandbox.answers import json_response
from airflow_provider_cirrus.sandbox.bubbles import Bubbles
from airflow_provider_cirrus.sandbox.page import render, render_conversation
from airflow_provider_cirrus.sandbox.search import Query, QueryError
from airflow_provider_cirrus.sandbox.settings import LOOPBACK_HOSTS
from airflow_provider_cirrus.sandbox.shapes import a_bool, a_text, an_integer, an_object, keys
from airflow_provider_cirrus.sandbox.strict_json import BodyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from airflow_provider_cirrus.sandbox.conversations import Conversations
    from airflow_provider_cirrus.sandbox.faults import FaultBook
    from airflow_provider_cirrus.sandbox.settings import Settings
    from airflow_provider_cirrus.sandbox.store import Store

SHOWN = 100
_LONGEST_ANSWER = 4096
# Seconds between two looks whether something has come in.
_LOOK = 0.3

SECURITY_HEADERS = {
    # Messages are untrusted text: even if one got through as markup, nothing of it could run or load.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not none at all: a browser would then send its own forms without their origin.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Controlled(Protocol):
    """What is controlled: the sandbox's own state."""

    settings: Settings
    store: Store
    faults: FaultBook
    conversations: Conversations
    stopping: asyncio.Event

    def reset(self) -> None:
        """Forget everything that came in, and all faults."""


class Control:
    """
    Serves ``/``, ``/inbox.json``, ``/conversations/…`` and ``/_sandbox/…``.

    :param loopback_only: answer only under a loopback host name, since a web page elsewhere could have its
        own name resolve to this machine and read the inbox through the user's browser.
    """

    def __init__(self, app: Controlled, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        problem = self._foreign(request)
        try:
            response = _error(403, problem) if problem else await self._answer(request)
        except QueryError as exc:
            response = _error(400, str(exc))
        response.headers.update(SECURITY_HEADERS)
        return response

    async def _answer(self, request: Request) -> Response:
        match request.method, request.scope["path"]:
            case "GET", "/":
                return self._page(request)
            case "GET", "/inbox.json":
                return self._inbox(request)
            case "GET", "/_sandbox/latest":
                return self._latest(request)
            case "GET", "/_sandbox/inbox.css":
                style = (files(__package__) / "inbox.css").read_bytes()
                return Response(style, media_type="text/css; charset=utf-8")
            case "GET", "/_sandbox/inbox.js":
                script = (files(__package__) / "inbox.js").read_bytes()
                return Response(script, media_type="text/javascript; charset=utf-8")
            case "GET", "/_sandbox/events":
                return StreamingResponse(self._events(), media_type="text/event-stream")
            case "GET", "/_sandbox/faults":
                return json_response({"faults": self._app.faults.listing()})
            case "POST", "/_sandbox/faults":
                return await self._add_fault(request)
            case "DELETE", "/_sandbox/faults":
                self._app.faults.clear()
                return json_response({"faults": []})
            case "DELETE", path if path.startswith("/_sandbox/faults/"):
                number = path.removeprefix("/_sandbox/faults/")
                if not re.fullmatch(r"[0-9]{1,9}", number) or not self._app.faults.remove(int(number)):
                    return _error(404, f"no fault {number!r}")
                return json_response({"faults": self._app.faults.listing()})
            case "GET", "/_sandbox/conversations":
                return json_response({"conversations": self._app.conversations.listing()})
            case "POST", path if path.startswith("/_sandbox/conversations/"):
                return await self._change_conversation(request, path.removeprefix("/_sandbox/conversations/"))
            case "GET", path if path.startswith("/conversations/"):
                return self._conversation(path.removeprefix("/conversations/"))
            case "POST", path if path.startswith("/conversations/"):
                return await self._answer_as_customer(request, path.removeprefix("/conversations/"))
            case "POST", "/_sandbox/reset":
                self._app.reset()
                return json_response({"reset": True})
            case _:
                return _error(404, "no such page; see / for the inbox")

    def _bubbles(self) -> Bubbles:
        """Return what shows messages, for one request: a file of a definition may change before the next."""
        return Bubbles(self._app.settings.templates)

    async def _events(self) -> AsyncIterator[str]:
        """Yield an event now, and whenever something has come in; until the sandbox stops."""
        seen: Any = None
        stopping = self._app.stopping
        while not stopping.is_set():
            now = (self._app.store.counts(), self._app.store.campaign_count(), self._app.conversations.length())
            if now != seen:
                seen = now
                yield "data: changed\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK)

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

    async def _add_fault(self, request: Request) -> Response:
        try:
            given = json.loads(await request.body())
            if not isinstance(given, dict):
                raise ValueError("the body must be a JSON object")
            name = given.pop("name", None)
            number = self._app.faults.add(name, given)
        except (ValueError, RecursionError) as exc:
            return _error(400, str(exc))
        return json_response({"id": number}, 201)

    async def _change_conversation(self, request: Request, object_id: str) -> Response:
        """Have the customer or an agent write something, or change the status; at the vendor, people do that."""
        try:
            given = an_object(json.loads(await request.body()), "the body")
            keys(given, "the body", optional=("text", "from_customer", "status"))
            if not given.keys() & {"text", "status"}:
                raise BodyError("the body", "must hold text or status")
            text = a_text(given["text"], "text") if "text" in given else None
            from_customer = a_bool(given.get("from_customer", True), "from_customer")
            status = an_integer(given["status"], "status") if "status" in given else None
        except (ValueError, RecursionError) as exc:
            return _error(400, str(exc))
        conversations = self._app.conversations
        known = status is None or conversations.set_status(object_id, status)
        if known and text is not None:
            known = conversations.write(object_id, text, from_customer=from_customer) is not None
        return json_response({"changed": object_id}) if known else _error(404, f"no conversation {object_id!r}")

    def _conversation(self, object_id: str) -> Response:
        found = self._app.conversations.shown(object_id)
        if found is None:
            return _error(404, f"no conversation {object_id!r}")
        messages = self._app.store.by_id({str(child["id"]) for child in found["childs"]})
        at = f"/conversations/{object_id}"
        bubbles = self._bubbles()
        page = render_conversation(found, messages, lambda message: bubbles.html(message, at))
        return Response(page.encode(), media_type="text/html; charset=utf-8")

    async def _answer_as_customer(self, request: Request, object_id: str) -> Response:
        """Take the form of a conversation's page, and show the page again."""
        try:
            fields = parse_qs((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=4)
            text = fields.get("text", [""])[0]
            if not text.strip() or len(text) > _LONGEST_ANSWER:
                raise ValueError(f"text must have 1 to {_LONGEST_ANSWER} characters")
        except ValueError as exc:
            return _error(400, str(exc))
        if self._app.conversations.write(object_id, text, from_customer=True) is None:
            return _error(404, f"no conversation {object_id!r}")
        return Response(status_code=303, headers={"Location": f"/conversations/{object_id}"})

    def _inbox(self, request: Request) -> Response:
        store, bubbles = self._app.store, self._bubbles()
        messages = self._found(request, bubbles)
        if self._app.settings.templates is not None:
            messages = [{**message, "preview": bubbles.text(message)} for message in messages]
        return json_response(
            {
                "counts": store.counts(),
                "messages": messages,
                "refused": store.refused(),
                "uploads": store.uploads(),
                "campaigns": store.campaigns(),
                "validations": store.validations(),
                "validation_warnings": store.validation_warnings(),
            }
        )

    def _latest(self, request: Request) -> Response:
        """Show the newest message that a query finds: for tests, which wait for one."""
        bubbles = self._bubbles()
        found = self._found(request, bubbles)
        if not found:
            return _error(404, "no such message")
        return json_response({**found[-1], "preview": bubbles.text(found[-1])})

    def _page(self, request: Request) -> Response:
        store, bubbles = self._app.store, self._bubbles()
        page = render(
            counts=store.counts(),
            messages=self._found(request, bubbles, SHOWN),
            query=request.query_params.get("query", ""),
            refused=store.refused()[-SHOWN:],
            uploads=store.uploads()[-SHOWN:],
            campaigns=store.campaigns()[-SHOWN:],
            warnings=store.validation_warnings()[-SHOWN:],
            faults=self._app.faults.listing(),
            stream_id=self._app.settings.stream_id,
            bubble=bubbles.html,
        )
        return Response(page.encode(), media_type="text/html; charset=utf-8")

    def _found(self, request: Request, bubbles: Bubbles, most: int | None = None) -> list[dict[str, Any]]:
        """
        Return the messages that a request asks for, oldest first.

        :param most: where the request has no limit of its own.
        :raises QueryError: it asks for what nobody can answer.
        """
        asked = request.query_params
        limit = asked.get("limit", most)
        if limit is not None and not re.fullmatch(r"[0-9]{1,9}", str(limit)):
            raise QueryError("limit must be a number")
        number = None if limit is None else int(limit)
        query, store = Query(asked.get("query", "")), self._app.store
        if query.finds_everything:
            return store.messages(number, asked.get("recipient"))
        found = query.find(store.messages(None, asked.get("recipient")), bubbles.text)
        return found if number is None else found[len(found) - min(number, len(found)) :]


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _error(status: int, text: str) -> Response:
    content: dict[str, Any] = {"error": text}
    return json_response(content, status)
