"""The inbox for people: which address shows which page, and what its forms do."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_provider_cirrus.sandbox.inbox import pages
from airflow_provider_cirrus.sandbox.inbox.api import Missing, problems_of, remove_fault
from airflow_provider_cirrus.sandbox.inbox.bubbles import Bubbles
from airflow_provider_cirrus.sandbox.inbox.people import timeline
from airflow_provider_cirrus.sandbox.inbox.search import Query, QueryError
from airflow_provider_cirrus.sandbox.records import digits_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from airflow_provider_cirrus.sandbox.controlled import Controlled
    from airflow_provider_cirrus.sandbox.records import MessageRecord

_LONGEST_ANSWER = 4096
# Most bytes and fields of a form.
_LONGEST_FORM, _FIELDS = 64 * 1024, 20
# Seconds between two looks whether something has come in.
_LOOK = 0.3
_ASSETS = {"inbox.css": "text/css", "inbox.js": "text/javascript", "icon.svg": "image/svg+xml"}

# What a field of the form of faults stands for.
_FAULT_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("on", "when", "action", "recipient", "failed"), str),
    **dict.fromkeys(("status", "skip", "seed"), int),
    **dict.fromkeys(("retry_after", "delay", "probability"), float),
    "times": lambda text: None if text == "all" else int(text),
}


class Web:
    """
    Answers people.

    :param app: the sandbox
    """

    def __init__(self, app: Controlled) -> None:
        self._app = app

    def routes(self) -> list[Route]:
        """Return what is answered."""
        made = [
            ("GET", "/", self._inbox),
            ("GET", "/to/{number}", self._thread),
            ("POST", "/to/{number}", self._answer),
            ("GET", "/messages/{key:path}", self._message),
            ("GET", "/conversations/{object_id}", self._conversation),
            ("POST", "/conversations/{object_id}", self._answer_in),
            ("POST", "/delete", self._delete),
            ("GET", "/files", self._files),
            ("GET", "/faults", self._faults),
            ("POST", "/faults", self._add_fault),
            ("POST", "/faults/{number}/remove", self._remove_fault),
            ("GET", "/_sandbox/events", self._events),
            ("GET", "/_sandbox/{asset}", self._asset),
        ]
        return [Route(path, endpoint, methods=[method]) for method, path, endpoint in made]

    async def _inbox(self, request: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(self._inbox_page, request))

    def _inbox_page(self, request: Request) -> str:
        bubbles = self._bubbles()
        found, listed = self._people(request, bubbles)
        return pages.inbox(
            self._app.store,
            found,
            listed,
            query=_query(request),
            number_of_page=_page(request),
            stream_id=self._app.settings.stream_id,
            problems=problems_of(self._app),
        )

    async def _thread(self, request: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(self._thread_page, request))

    def _thread_page(self, request: Request) -> str:
        number = digits_of(request.path_params["number"])
        store, bubbles = self._app.store, self._bubbles()
        events = timeline(number, store, self._app.conversations)
        if not events:
            raise Missing("nothing is known of this number")
        records = store.to(number)
        # Whoever looks at the page has read them.
        store.mark(records)
        _, listed = self._people(request, bubbles)
        return pages.thread(
            number,
            events,
            records,
            listed,
            bubbles,
            query=_query(request),
            number_of_page=_page(request),
            is_kept=store.has_media,
        )

    async def _answer(self, request: Request) -> Response:
        """Take the form of a recipient's page: the customer writes, whether or not a conversation was opened."""
        number = digits_of(request.path_params["number"])
        text = _answered(await _form(request))
        if not self._app.store.to(number) and not self._app.conversations.of(number):
            raise Missing("nothing was sent to this number")
        self._app.conversations.write_from(number, text)
        return _see(f"/to/{number}#end")

    async def _message(self, request: Request) -> Response:
        key, store = request.path_params["key"], self._app.store
        record = store.find(key)
        if record is None:
            raise Missing(f"no message {key!r}")
        store.mark([record])
        came_with = store.request(record.request)
        shown = pages.message(record, self._bubbles(), came_with, is_kept=store.has_media)
        return HTMLResponse(shown)

    async def _conversation(self, request: Request) -> Response:
        return _see(f"/to/{self._recipient(request)}#end")

    async def _answer_in(self, request: Request) -> Response:
        """Take a button of a bubble: the customer answers in the conversation that it opened."""
        text = _answered(await _form(request))
        number = self._recipient(request)
        self._app.conversations.write(request.path_params["object_id"], text, from_customer=True)
        return _see(f"/to/{number}#end")

    async def _delete(self, request: Request) -> Response:
        query = (await _form(request)).get("query", "")
        if not query.strip():
            raise QueryError("query is missing: say which messages to delete")
        store, bubbles = self._app.store, self._bubbles()
        found = await asyncio.to_thread(lambda: list(Query(query).newest_first(store.records(), bubbles.seen)))
        store.delete(found)
        return _see("/")

    async def _files(self, request: Request) -> Response:
        return HTMLResponse(pages.files(self._app.store))

    async def _faults(self, request: Request) -> Response:
        return HTMLResponse(pages.faults(self._app.faults.listing()))

    async def _add_fault(self, request: Request) -> Response:
        fields = {name: value.strip() for name, value in (await _form(request)).items() if value.strip()}
        try:
            name = fields.pop("name", None)
            given = {field: _FAULT_FIELDS.get(field, str)(value) for field, value in fields.items()}
            self._app.faults.add(name, given)
        except ValueError as exc:
            return HTMLResponse(pages.faults(self._app.faults.listing(), str(exc)), 400)
        return _see("/faults")

    async def _remove_fault(self, request: Request) -> Response:
        remove_fault(self._app, request.path_params["number"])
        return _see("/faults")

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[str]:
        """Yield an event now, and whenever something has changed; until the sandbox stops."""
        seen: Any = None
        stopping = self._app.stopping
        while not stopping.is_set():
            now = self._app.version
            if now != seen:
                seen = now
                yield "data: changed\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["asset"]
        if name not in _ASSETS:
            raise Missing("no such page; see / for the inbox")
        return Response((files(__package__) / "static" / name).read_bytes(), media_type=_ASSETS[name])

    def _bubbles(self) -> Bubbles:
        """Return what shows messages, for one request: a file of a definition may change before the next."""
        return Bubbles(self._app.settings.templates)

    def _people(
        self, request: Request, bubbles: Bubbles
    ) -> tuple[list[MessageRecord] | None, tuple[list[pages.Person], int]]:
        """Return the messages that a query finds, oldest first (None: all of them), and whom they went to."""
        query, store = _query(request), self._app.store
        if not query.strip():
            return None, pages.people(store, None, bubbles, _page(request))
        found = list(Query(query).newest_first(store.records(), bubbles.seen))[::-1]
        return found, pages.people(store, found, bubbles, _page(request))

    def _recipient(self, request: Request) -> str:
        number = self._app.conversations.recipient_of(request.path_params["object_id"])
        if number is None:
            raise Missing(f"no conversation {request.path_params['object_id']!r}")
        return number


def _query(request: Request) -> str:
    return str(request.query_params.get("query", ""))


def _page(request: Request) -> int:
    given = request.query_params.get("page", "1")
    if not given.isdecimal() or not 1 <= len(given) <= 6 or int(given) < 1:
        raise QueryError("page must be a number from 1")
    return int(given)


def _answered(fields: dict[str, str]) -> str:
    text = fields.get("text", "")
    if not text.strip() or len(text) > _LONGEST_ANSWER:
        raise QueryError(f"text must have 1 to {_LONGEST_ANSWER} characters")
    return text


async def _form(request: Request) -> dict[str, str]:
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > _LONGEST_FORM:
            raise QueryError("the form is too long")
    try:
        pairs = parse_qsl(found.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as exc:
        raise QueryError(f"the form cannot be read: {exc}") from exc
    return dict(pairs)


def _see(address: str) -> Response:
    # Not posted again by whoever reloads the page.
    return RedirectResponse(address, 303)
