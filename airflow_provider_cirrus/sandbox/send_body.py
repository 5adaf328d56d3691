"""Rules for the body of a send."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from airflow_provider_cirrus.sandbox import strict_json
from airflow_provider_cirrus.sandbox.components import check_components
from airflow_provider_cirrus.sandbox.shapes import a_bool, a_list, a_text, an_integer, an_object, digits, keys
from airflow_provider_cirrus.sandbox.strict_json import BodyError

MOST_ENTRIES = 20
STATUS_IDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15})
USER_KEYS = ("UniqueId", "LastName", "FirstName", "Email", "Remarks")

# Midnight of the year 3000: nobody schedules that, but milliseconds land far behind it.
LATEST_SCHEDULE = 32_503_680_000


@dataclass(frozen=True)
class Entry:
    """
    One message of a send, checked.

    :param schedule: Unix seconds, or ``None`` for now.
    """

    recipient: str
    template: str
    language: str
    components: list[Any]
    schedule: int | None
    object_data: dict[str, Any] | None


def read_entries(raw: bytes, content_type: str) -> list[Entry]:
    """
    Return the messages of a send.

    :param raw: the body as received.
    :param content_type: the Content-Type header.
    :raises BodyError: a rule is broken; the text names the place.
    """
    body = an_object(strict_json.loads(raw, content_type), "body")
    keys(body, "body", required=("data",))
    data = a_list(body["data"], "data")
    if not 1 <= len(data) <= MOST_ENTRIES:
        raise BodyError("data", f"must hold 1 to {MOST_ENTRIES} entries, not {len(data)}")
    return [_entry(item, f"data[{index}]") for index, item in enumerate(data)]


def _entry(value: Any, place: str) -> Entry:
    entry = an_object(value, place)
    keys(entry, place, required=("template_data",), optional=("schedule", "object_data"))
    here = f"{place}.template_data"
    template_data = an_object(entry["template_data"], here)
    keys(template_data, here, required=("to", "template"))
    recipient = digits(template_data["to"], f"{here}.to")
    here = f"{here}.template"
    template = an_object(template_data["template"], here)
    keys(template, here, required=("name", "language", "components"))
    name = a_text(template["name"], f"{here}.name")
    language = an_object(template["language"], f"{here}.language")
    keys(language, f"{here}.language", required=("code",))
    code = a_text(language["code"], f"{here}.language.code")
    check_components(template["components"], f"{here}.components")
    schedule = _schedule(entry["schedule"], f"{place}.schedule") if "schedule" in entry else None
    object_data = _object_data(entry["object_data"], f"{place}.object_data") if "object_data" in entry else None
    return Entry(recipient, name, code, template["components"], schedule, object_data)


def _schedule(value: Any, place: str) -> int:
    schedule = an_integer(value, place)
    if schedule > LATEST_SCHEDULE:
        raise BodyError(place, "must be Unix seconds; this looks like milliseconds")
    # What the vendor does with the past is unknown; it may well send at once.
    if schedule <= time.time():
        raise BodyError(place, "must lie in the future")
    return schedule


def _object_data(value: Any, place: str) -> dict[str, Any]:
    data = an_object(value, place)
    known = ("createChildObject", "streamId", "SubStreamId", "StatusId", "ManagerId", "Content", "User")
    keys(data, place, optional=known)
    if "createChildObject" in data:
        a_bool(data["createChildObject"], f"{place}.createChildObject")
    for key in ("streamId", "SubStreamId", "StatusId", "ManagerId"):
        if key in data and an_integer(data[key], f"{place}.{key}") < 0:
            raise BodyError(f"{place}.{key}", "must not be negative")
    if "StatusId" in data and data["StatusId"] not in STATUS_IDS:
        raise BodyError(f"{place}.StatusId", f"{data['StatusId']} is no documented status")
    if "Content" in data:
        an_object(data["Content"], f"{place}.Content")
    if "User" in data:
        here = f"{place}.User"
        user = an_object(data["User"], here)
        keys(user, here, required=("Phone1",), optional=USER_KEYS)
        a_text(user["Phone1"], f"{here}.Phone1")
        for key in USER_KEYS:
            if key in user and not isinstance(user[key], str):
                raise BodyError(f"{here}.{key}", "must be a string")
    return data
