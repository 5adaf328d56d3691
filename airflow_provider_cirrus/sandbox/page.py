"""The inbox as an HTML page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from airflow_provider_cirrus.sandbox.suffixes import SUFFIXES

_HEAD = '<link rel="stylesheet" href="/_sandbox/inbox.css"><script src="/_sandbox/inbox.js" defer></script>'


def render(
    *,
    counts: dict[str, int],
    messages: list[dict[str, Any]],
    uploads: list[dict[str, Any]],
    campaigns: list[dict[str, Any]],
    warnings: list[dict[str, Any]],
    faults: list[dict[str, Any]],
    stream_id: str,
    query: str = "",
    refused: Sequence[dict[str, Any]] = (),
    bubble: Callable[[dict[str, Any]], str | None] = lambda message: None,
) -> str:
    """
    Return the page.

    :param messages: oldest first, as the store gives them; shown newest first.
    :param refused: oldest first.
    :param query: by which the messages were found.
    :param bubble: returns a message as its recipient sees it, as HTML; None: it is shown by its parameters.
    """
    numbers = " · ".join(f"{escape(name)} <b>{count}</b>" for name, count in counts.items())
    search = (
        '<form class="answer" role="search" method="get" action="/"><label for="query">Search</label>'
        f'<input id="query" name="query" value="{escape(query)}" autocomplete="off"><button>Find</button></form>'
    )
    sections = [f"<p>{numbers}</p>", *_tables(messages, refused, uploads, campaigns, warnings, faults, bubble)]
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Cirrus sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{_HEAD}</head>\n<body>\n<main><h1>Cirrus sandbox</h1>\n"
        f"<p>Stream <code>{escape(stream_id)}</code>. Nothing here was sent to anybody. "
        'The same as JSON: <a href="/inbox.json">inbox.json</a></p>\n'
        + f'{search}\n<div id="found" data-live>'
        + "\n".join(section for section in sections if section)
        + "</div></main>\n</body>\n</html>\n"
    )


def render_conversation(
    conversation: dict[str, Any], messages: dict[str, dict[str, Any]], bubble: Callable[[dict[str, Any]], str | None]
) -> str:
    """
    Return the page of a conversation, on which one can answer as the customer.

    :param conversation: with its messages as ``childs``
    :param messages: those of them that were sent, by ID
    :param bubble: as of :func:`render`
    """
    number = escape(str(conversation["objectId"]))
    recipient = escape(str(conversation["user"].get("Phone1", "")))
    lines = []
    for child in conversation["childs"]:
        is_ours = bool(child["user"].get("isManager"))
        message = messages.get(str(child["id"]))
        shown = None if message is None else bubble(message)
        if shown is None:
            text = escape(child["message"])
            shown = f'<div class="bubble"><bdi>{text}</bdi></div>'
        moment = escape(child["createdTime"][:19].replace("T", " "))
        side = "ours" if is_ours else "theirs"
        lines.append(f'<li class="{side}">{shown}<small>{moment} UTC</small></li>')
    at = f"/conversations/{number}"
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>Conversation {number}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{_HEAD}</head>\n<body>\n<main>"
        f'<p><a href="/">Inbox</a></p><h1>Conversation {number} with {recipient}</h1>\n'
        f'<ol class="talk" id="talk" data-live>{"".join(lines)}</ol>\n'
        f'<form class="answer" method="post" action="{at}"><label for="text">Answer as the customer</label>'
        '<input id="text" name="text" required maxlength="4096" autocomplete="off"><button>Answer</button></form>'
        f'<form class="answer" method="post" action="{at}"><button name="text" value="STOP">Answer STOP</button></form>'
        "</main>\n</body>\n</html>\n"
    )


def _tables(
    messages: Sequence[Any],
    refused: Sequence[Any],
    uploads: Sequence[Any],
    campaigns: Sequence[Any],
    warnings: Sequence[Any],
    faults: Sequence[Any],
    bubble: Callable[[dict[str, Any]], str | None],
) -> list[str]:
    return [
        _table(
            "Messages",
            ("#", "received", "recipient", "template", "content", "id"),
            [_message(message, bubble(message)) for message in reversed(messages)],
            "Nothing has come in yet.",
        ),
        _table(
            "Refused",
            ("received", "recipient", "template", "why"),
            [_refused(item) for item in reversed(refused)],
        ),
        _table(
            "Uploads",
            ("id", "file", "kind", "type", "bytes", "SHA-256"),
            [_upload(item) for item in reversed(uploads)],
        ),
        _table(
            "Campaigns",
            ("received", "template", "file", "recipients", "form"),
            [_campaign(item) for item in reversed(campaigns)],
        ),
        _table(
            "Numbers checked unwisely",
            ("number", "why a real account would be at risk"),
            [_cells(item["number"], item["warning"]) for item in warnings],
        ),
        _table(
            "Faults on demand",
            ("id", "fault", "on", "when", "struck"),
            [
                _cells(
                    item["id"],
                    item["name"] or item["action"],
                    item["on"],
                    item["when"],
                    f"{item['struck']} of {'∞' if item['times'] is None else item['times']}",
                )
                for item in faults
            ],
        ),
        _table(
            "Numbers with a meaning",
            ("last two digits", "what happens"),
            [_cells(f"…{ending}", suffix.meaning) for ending, suffix in SUFFIXES.items()],
        ),
    ]


def _table(title: str, heads: tuple[str, ...], rows: list[str], empty: str = "") -> str:
    if not rows:
        return f"<h2>{title}</h2>\n<p>{empty}</p>" if empty else ""
    head = "".join(f"<th>{escape(item)}</th>" for item in heads)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<h2>{title}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _cells(*values: Any) -> str:
    return "".join(f"<td>{escape(str(value))}</td>" for value in values)


def _message(message: dict[str, Any], bubble: str | None) -> str:
    lines = [_component(component) for component in message["components"]] if bubble is None else [bubble]
    if message["schedule"] is not None:
        due = datetime.fromtimestamp(message["schedule"], UTC)
        lines.append(_line("scheduled", f"{due:%Y-%m-%d %H:%M:%S} UTC"))
    if message["object_id"] is not None:
        number = escape(str(message["object_id"]))
        lines.append(f'<div><b>conversation</b> <a href="/conversations/{number}">{number}</a></div>')
    content = "".join(lines) or "no parameters"
    return (
        _cells(message["number"], message["received_at"][:19].replace("T", " "), message["recipient"])
        + f"<td>{escape(message['template'])} <small>{escape(message['language'])}</small></td>"
        + f"<td>{content}</td>"
        + _cells(message["id"])
    )


def _upload(item: dict[str, Any]) -> str:
    return _cells(*(item[name] for name in ("id", "filename", "kind", "content_type", "size", "sha256")))


def _refused(item: dict[str, Any]) -> str:
    failed = item["failed"]
    why = failed if isinstance(failed, str) else json.dumps(failed, ensure_ascii=False)
    return (
        _cells(item["received_at"][:19].replace("T", " "), item["recipient"])
        + f"<td>{escape(item['template'])} <small>{escape(item['language'])}</small></td>"
        + _cells(why)
    )


def _campaign(campaign: dict[str, Any]) -> str:
    fields = dict(campaign["fields"])
    template, language = fields.pop("template_name"), fields.pop("language_code")
    form = "".join(_line(name, value) for name, value in fields.items() if name != "stream_id")
    return (
        _cells(campaign["received_at"][:19].replace("T", " "))
        + f"<td>{escape(template)} <small>{escape(language)}</small></td>"
        + _cells(campaign["filename"], len(campaign["recipients"]))
        + f"<td>{form}</td>"
    )


def _component(component: dict[str, Any]) -> str:
    kind = str(component["type"])
    if kind == "button":
        kind = f"button {component['index']} ({component['sub_type']})"
    parameters = component.get("parameters")
    if not isinstance(parameters, list):
        rest = {key: value for key, value in component.items() if key != "type"}
        return _line(kind, json.dumps(rest, ensure_ascii=False) if rest else "")
    return _line(kind, " | ".join(_parameter(item) for item in parameters))


def _parameter(parameter: Any) -> str:
    if not isinstance(parameter, dict):
        return str(parameter)
    value = parameter.get(str(parameter.get("type")), parameter)
    if isinstance(value, dict):
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    name = parameter.get("parameter_name")
    return f"{name}: {value}" if name else str(value)


def _line(label: str, text: Any) -> str:
    return f"<div><b>{escape(label)}</b> {escape(str(text))}</div>"
