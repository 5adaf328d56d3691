"""The pages of the inbox, made from the templates beside this module; every character of a message is escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from airflow_provider_cirrus.sandbox.faults import ACTIONS, NAMED, PLACES
from airflow_provider_cirrus.sandbox.inbox.summary import summary
from airflow_provider_cirrus.sandbox.suffixes import SUFFIXES
from airflow_provider_cirrus.sandbox.tally import Tally, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cirrus.sandbox.inbox.bubbles import Bubbles
    from airflow_provider_cirrus.sandbox.inbox.people import Event
    from airflow_provider_cirrus.sandbox.records import MessageRecord
    from airflow_provider_cirrus.sandbox.store import Store

# People in the list, and messages of one of them, that a page shows.
PEOPLE, MESSAGES = 50, 100
# Most rows of a table.
ROWS = 100
# Characters of one text that are shown.
_SHOWN = 4_096
# What a page or a person might act on instead of reading: control characters, and those that turn the text around them.
_UNSEEN = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    0x09: "\t",
    0x0A: "\n",
    0x0D: "\r",
}


def _clean(value: Any) -> Any:
    """Return a value as a page may hold it, before it is escaped."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    return shown.translate(_UNSEEN)


@cache
def _pages() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    made.filters |= {
        "moment": _moment,
        "due": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "reason": reason_of,
        "segment": lambda text: quote(str(text), safe=""),
        "searching": searching,
        "component": _component,
        "pretty": lambda value: json.dumps(value, ensure_ascii=False, indent=2),
        "markup": _markup,
    }
    return made


def page(name: str, *, query: str = "", **shown: Any) -> str:
    """
    Return a page.

    :param name: of its template, such as ``inbox.html``
    :param query: by which the messages are found
    """
    return _pages().get_template(name).render(query=query, **shown)


class Person:
    """
    Somebody in the list of the recipients.

    :param number: digits
    :param records: what went to them, oldest first; at least one
    :param bubbles: show the newest
    """

    def __init__(self, number: str, records: Sequence[MessageRecord], bubbles: Bubbles) -> None:
        self.number = number
        self.count = len(records)
        self.unread = sum(not record.is_read for record in records)
        self.newest = records[-1]
        self._bubbles = bubbles

    @property
    def line(self) -> str:
        """What the newest message says, in a line."""
        body = self._bubbles.preview(self.newest)
        if body is not None and not isinstance(body, str) and body.body:
            # Late: without definitions the sandbox stands on its own.
            from airflow_provider_cirrus.templates.markup import to_terminal

            return to_terminal(body.body, colours=False)
        texts = [line for one in self.newest.components for line in _component(one)[1:]]
        return " ".join(texts) or self.newest.template


#: A page of the list of recipients, and how many there are in all.
Listed: TypeAlias = tuple[list[Person], int]


def people(store: Store, found: Sequence[MessageRecord] | None, bubbles: Bubbles, number_of_page: int) -> Listed:
    """
    Return a page of the list of recipients, who got something last first, and how many there are in all.

    :param found: the messages by which to list them, oldest first; None: all that are kept
    :param number_of_page: from 1
    """
    start = (number_of_page - 1) * PEOPLE
    if found is None:
        everybody = store.recipients()
        chosen = {number: store.to(number) for number in everybody[start : start + PEOPLE]}
    else:
        by_number: dict[str, list[MessageRecord]] = {}
        for record in reversed(found):
            by_number.setdefault(record.recipient, []).append(record)
        everybody = list(by_number)
        chosen = {number: by_number[number][::-1] for number in everybody[start : start + PEOPLE]}
    # Whoever is gone since has no message.
    return [Person(number, records, bubbles) for number, records in chosen.items() if records], len(everybody)


def inbox(store: Store, found: Sequence[MessageRecord] | None, listed: Listed, **shown: Any) -> str:
    """
    Return the first page: who got something, and what came of it all.

    :param found: the messages that a query finds, oldest first; None: all that are kept
    :param listed: as of :func:`people`
    """
    return page(
        "inbox.html",
        people=listed[0],
        number_of_people=listed[1],
        people_on_page=PEOPLE,
        summary=summary(store.tally() if found is None else Tally(found)),
        counts=store.counts(),
        chosen=None,
        **shown,
    )


def thread(
    number: str,
    events: Sequence[Event],
    records: Sequence[MessageRecord],
    listed: Listed,
    bubbles: Bubbles,
    **shown: Any,
) -> str:
    """
    Return the page of a recipient: the messages as bubbles, the answers, and what happened in order.

    :param events: as of :func:`~airflow_provider_cirrus.sandbox.inbox.people.timeline`
    :param records: what went to them
    """
    messages = {record.key: record for record in records}
    said = [event for event in events if event.kind in ("accepted", "refused", "answered", "written")]
    return page(
        "thread.html",
        people=listed[0],
        number_of_people=listed[1],
        people_on_page=PEOPLE,
        chosen=number,
        said=said[-MESSAGES:],
        earlier=max(0, len(said) - MESSAGES),
        events=events[-2 * MESSAGES :],
        messages=messages,
        preview=bubbles.preview,
        **shown,
    )


def message(record: MessageRecord, bubbles: Bubbles, request: dict[str, Any] | None, **shown: Any) -> str:
    """
    Return the page of one message: the bubble, in every language in which its template is defined, and what it was.

    :param request: that it came with; None: it is not kept any more
    """
    return page(
        "message.html",
        message=record,
        previews=[(one, bubbles.preview(record, one)) for one in bubbles.languages(record)],
        own=bubbles.preview(record),
        request=request,
        **shown,
    )


def files(store: Store, **shown: Any) -> str:
    """Return the page of what is no message: uploads, campaigns, and numbers checked unwisely."""
    return page(
        "files.html",
        uploads=store.uploads()[: -ROWS - 1 : -1],
        campaigns=store.campaigns()[: -ROWS - 1 : -1],
        warnings=store.validation_warnings()[-ROWS:],
        **shown,
    )


def faults(listing: Sequence[dict[str, Any]], problem: str = "") -> str:
    """
    Return the page of the faults.

    :param problem: why the last one could not be added
    """
    return page(
        "faults.html",
        faults=listing,
        named=sorted(NAMED),
        places=PLACES,
        actions=ACTIONS,
        endings=SUFFIXES,
        problem=problem,
    )


def searching(term: str) -> str:
    """Return the address of the inbox with a query, such as ``template:order_update``."""
    field, colon, value = term.partition(":")
    wanted = f'{field}:"{value}"' if colon and (" " in value or not value) else term
    return "/?" + urlencode({"query": wanted})


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _markup(text: str) -> Markup:
    # Late: without definitions the sandbox stands on its own.
    from airflow_provider_cirrus.templates.markup import to_html

    # Escaped there.
    return Markup(to_html(text))  # noqa: S704


def _component(component: dict[str, Any]) -> list[str]:
    """Return what a component is, and its values, as it stands in a request."""
    kind = str(component["type"])
    if kind == "button":
        kind = f"button {component['index']} ({component['sub_type']})"
    parameters = component.get("parameters")
    if not isinstance(parameters, list):
        rest = {key: value for key, value in component.items() if key != "type"}
        return [kind, json.dumps(rest, ensure_ascii=False)] if rest else [kind]
    return [kind, " | ".join(map(_parameter, parameters))]


def _parameter(parameter: Any) -> str:
    if not isinstance(parameter, dict):
        return str(parameter)
    value = parameter.get(str(parameter.get("type")), parameter)
    if isinstance(value, dict):
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    name = parameter.get("parameter_name")
    return f"{name}: {value}" if name else str(value)
