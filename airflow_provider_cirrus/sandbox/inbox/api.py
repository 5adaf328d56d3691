"""The inbox for programs: what ``openapi.json`` describes, beside faults and conversations."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_cirrus.sandbox.answers import json_response
from airflow_provider_cirrus.sandbox.inbox.bubbles import Bubbles
from airflow_provider_cirrus.sandbox.inbox.media import served
from airflow_provider_cirrus.sandbox.inbox.metrics import metrics
from airflow_provider_cirrus.sandbox.inbox.people import timeline
from airflow_provider_cirrus.sandbox.inbox.search import Query, QueryError
from airflow_provider_cirrus.sandbox.inbox.summary import summary
from airflow_provider_cirrus.sandbox.records import digits_of
from airflow_provider_cirrus.sandbox.shapes import a_bool, a_text, an_integer, an_object, keys
from airflow_provider_cirrus.sandbox.strict_json import BodyError
from airflow_provider_cirrus.sandbox.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from airflow_provider_cirrus.sandbox.controlled import Controlled
    from airflow_provider_cirrus.sandbox.records import MessageRecord

LISTED, MOST_LISTED = 50, 1_000


class Missing(Exception):
    """What was asked for is not there; says what."""


class Api:
    """
    Answers programs.

    :param app: the sandbox
    """

    def __init__(self, app: Controlled) -> None:
        self._app = app

    def routes(self) -> list[Route]:
        """Return what is answered; ``openapi.json`` describes the same."""
        made = [
            ("GET", "/healthz", self._health),
            ("GET", "/metrics", self._metrics),
            ("GET", "/inbox.json", self._inbox),
            ("GET", "/_sandbox/openapi.json", self._openapi),
            ("GET", "/_sandbox/latest", self._latest),
            ("GET", "/_sandbox/messages", self._messages),
            ("DELETE", "/_sandbox/messages", self._delete),
            ("PATCH", "/_sandbox/messages", self._mark),
            ("GET", "/_sandbox/messages/{key:path}", self._message),
            ("GET", "/_sandbox/summary", self._summary),
            ("GET", "/_sandbox/recipients/{number}", self._recipient),
            ("POST", "/_sandbox/recipients/{number}", self._answer),
            ("GET", "/_sandbox/media/{media_id}", self._media),
            ("GET", "/_sandbox/conversations", self._conversations),
            ("POST", "/_sandbox/conversations/{object_id}", self._change_conversation),
            ("GET", "/_sandbox/faults", self._faults),
            ("POST", "/_sandbox/faults", self._add_fault),
            ("DELETE", "/_sandbox/faults", self._clear_faults),
            ("DELETE", "/_sandbox/faults/{number}", self._remove_fault),
            ("POST", "/_sandbox/reset", self._reset),
        ]
        return [Route(path, endpoint, methods=[method]) for method, path, endpoint in made]

    async def _health(self, request: Request) -> Response:
        problems = problems_of(self._app)
        status, code = ("failing", 503) if problems else ("ok", 200)
        return json_response({"status": status, "problems": problems}, code)

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(metrics(self._app), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        return Response((files(__package__) / "openapi.json").read_bytes(), media_type="application/json")

    async def _inbox(self, request: Request) -> Response:
        return json_response(await asyncio.to_thread(self._everything, request))

    def _everything(self, request: Request) -> dict[str, Any]:
        store, bubbles = self._app.store, self._bubbles()
        found = self._found(request, bubbles)
        accepted = [record for record in found if record.is_accepted]
        limit = _number(request, "limit", len(accepted))
        messages = [self._shown(record, bubbles) for record in accepted[len(accepted) - min(limit, len(accepted)) :]]
        return {
            "counts": store.counts(),
            "messages": messages,
            "refused": [record.as_dict() for record in found if not record.is_accepted],
            "uploads": store.uploads(),
            "campaigns": store.campaigns(),
            "validations": store.validations(),
            "validation_warnings": store.validation_warnings(),
        }

    async def _latest(self, request: Request) -> Response:
        """Show the newest message that a query finds: for tests, which wait for one."""
        bubbles = self._bubbles()
        newest = await asyncio.to_thread(lambda: next(self._newest_first(request, bubbles), None))
        if newest is None:
            raise Missing("no such message")
        return json_response({**newest.as_dict(), "preview": bubbles.text(newest)})

    async def _messages(self, request: Request) -> Response:
        bubbles = self._bubbles()
        limit = _number(request, "limit", LISTED)
        offset = _number(request, "offset", 0)
        if limit > MOST_LISTED:
            raise QueryError(f"limit is at most {MOST_LISTED}")

        def page() -> tuple[int, list[dict[str, Any]]]:
            found = list(self._newest_first(request, bubbles))
            return len(found), [self._shown(record, bubbles) for record in islice(found, offset, offset + limit)]

        total, shown = await asyncio.to_thread(page)
        return json_response({"total": total, "messages": shown})

    async def _message(self, request: Request) -> Response:
        record = self._app.store.find(request.path_params["key"])
        if record is None:
            raise Missing(f"no message {request.path_params['key']!r}")
        bubbles = self._bubbles()
        previews = {}
        for language in bubbles.languages(record):
            preview = bubbles.preview(record, language)
            if preview is not None:
                previews[language] = preview if isinstance(preview, str) else preview.text()
        return json_response({**record.as_dict(), "preview": bubbles.text(record), "previews": previews})

    async def _delete(self, request: Request) -> Response:
        # Everything at once is a reset, which nobody should come to by a query that was lost on its way.
        if not request.query_params.get("query", "").strip():
            raise QueryError("query is missing: say which; /_sandbox/reset forgets everything")
        found = await asyncio.to_thread(self._found, request, self._bubbles())
        return json_response({"deleted": self._app.store.delete(found)})

    async def _mark(self, request: Request) -> Response:
        given = an_object(await _body(request), "the body")
        keys(given, "the body", required=("read",))
        is_read = a_bool(given["read"], "read")
        found = await asyncio.to_thread(self._found, request, self._bubbles())
        return json_response({"changed": self._app.store.mark(found, is_read=is_read)})

    async def _summary(self, request: Request) -> Response:
        if not {"query", "recipient"} & set(request.query_params):
            return json_response(summary(self._app.store.tally()).as_dict())
        found = await asyncio.to_thread(self._found, request, self._bubbles())
        return json_response(summary(Tally(found)).as_dict())

    async def _recipient(self, request: Request) -> Response:
        number = digits_of(request.path_params["number"])
        events = timeline(number, self._app.store, self._app.conversations)
        if not events:
            raise Missing("nothing is known of this number")
        bubbles = self._bubbles()
        messages = [self._shown(record, bubbles) for record in self._app.store.to(number)]
        return json_response({"number": number, "events": [event.as_dict() for event in events], "messages": messages})

    async def _answer(self, request: Request) -> Response:
        """Have a customer write, whether or not a conversation was opened."""
        given = an_object(await _body(request), "the body")
        keys(given, "the body", required=("text",))
        number = digits_of(request.path_params["number"])
        if not self._app.store.to(number) and not self._app.conversations.of(number):
            raise Missing("nothing was sent to this number")
        return json_response(self._app.conversations.write_from(number, a_text(given["text"], "text")), 201)

    async def _media(self, request: Request) -> Response:
        kept = self._app.store.media(request.path_params["media_id"])
        if kept is None:
            raise Missing("the content of this file is not kept")
        return served(*kept)

    async def _conversations(self, request: Request) -> Response:
        return json_response({"conversations": self._app.conversations.listing()})

    async def _change_conversation(self, request: Request) -> Response:
        """Have the customer or an agent write something, or change the status; at the vendor, people do that."""
        object_id = request.path_params["object_id"]
        given = an_object(await _body(request), "the body")
        keys(given, "the body", optional=("text", "from_customer", "status"))
        if not given.keys() & {"text", "status"}:
            raise BodyError("the body", "must hold text or status")
        text = a_text(given["text"], "text") if "text" in given else None
        from_customer = a_bool(given.get("from_customer", True), "from_customer")
        status = an_integer(given["status"], "status") if "status" in given else None
        conversations = self._app.conversations
        known = status is None or conversations.set_status(object_id, status)
        if known and text is not None:
            known = conversations.write(object_id, text, from_customer=from_customer) is not None
        if not known:
            raise Missing(f"no conversation {object_id!r}")
        return json_response({"changed": object_id})

    async def _faults(self, request: Request) -> Response:
        return json_response({"faults": self._app.faults.listing()})

    async def _add_fault(self, request: Request) -> Response:
        given = dict(an_object(await _body(request), "the body"))
        name = given.pop("name", None)
        return json_response({"id": self._app.faults.add(name, given)}, 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._app.faults.clear()
        return json_response({"faults": []})

    async def _remove_fault(self, request: Request) -> Response:
        remove_fault(self._app, request.path_params["number"])
        return await self._faults(request)

    async def _reset(self, request: Request) -> Response:
        self._app.reset()
        return json_response({"reset": True})

    def _bubbles(self) -> Bubbles:
        """Return what shows messages, for one request: a file of a definition may change before the next."""
        return Bubbles(self._app.settings.templates)

    def _found(self, request: Request, bubbles: Bubbles) -> list[MessageRecord]:
        return list(self._newest_first(request, bubbles))[::-1]

    def _newest_first(self, request: Request, bubbles: Bubbles) -> Iterator[MessageRecord]:
        recipient = request.query_params.get("recipient")
        store = self._app.store
        records = store.records() if recipient is None else store.to(digits_of(recipient))
        return Query(request.query_params.get("query", "")).newest_first(records, bubbles.seen)

    def _shown(self, record: MessageRecord, bubbles: Bubbles) -> dict[str, Any]:
        if self._app.settings.templates is None:
            return record.as_dict()
        return {**record.as_dict(), "preview": bubbles.text(record)}


def remove_fault(app: Controlled, number: str) -> None:
    """
    Remove a fault.

    :raises Missing: there is none of that number
    """
    if not re.fullmatch(r"[0-9]{1,9}", number) or not app.faults.remove(int(number)):
        raise Missing(f"no fault {number!r}")


def problems_of(app: Controlled) -> list[str]:
    """Return what does not go well, for people."""
    found = []
    if app.archive is not None and app.archive.problem is not None:
        found.append(f"What came in last is not in the file of the data: {app.archive.problem}")
    if app.webhook is not None and app.webhook.problem is not None:
        found.append(f"{app.webhook.failed} events were not told to the webhook, the last: {app.webhook.problem}")
    return found


def _number(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise QueryError(f"{name} must be a number")
    return int(given)


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except RecursionError as exc:
        raise BodyError("the body", "is nested too deep") from exc
