"""What happened to one of the recipients, in order: what was asked for, what became of it, what was answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.tally import reason_of

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.conversations import Conversations
    from airflow_provider_cirrus.sandbox.records import MessageRecord
    from airflow_provider_cirrus.sandbox.store import Store


@dataclass(frozen=True)
class Event:
    """
    One thing that happened.

    :ivar at: when, ISO 8601 in UTC
    :ivar kind: ``requested``, ``checked``, ``accepted``, ``refused``, ``answered`` or ``written`` (by an agent)
    :ivar text: what, for people
    :ivar request: the number of the request that it came with
    :ivar message: the key of the message that it is about
    :ivar conversation: in which it was
    """

    at: str
    kind: str
    text: str
    request: int | None = None
    message: str | None = None
    conversation: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def timeline(number: str, store: Store, conversations: Conversations) -> list[Event]:
    """
    Return what happened to a recipient, oldest first.

    :param number: digits; nothing happened to what holds none
    """
    if not number:
        return []
    # Of one moment: first what was asked for, then what came of it.
    found = [_of_request(one, number) for one in store.requests_about(number)]
    records = store.to(number)
    found += [_of_message(record) for record in records]
    ours = {record.id for record in records}
    for conversation in conversations.of(number):
        for child in conversation["childs"]:
            # The sends are there already, but for those that are not kept any more.
            if child["id"] not in ours:
                found.append(_of_child(child, conversation["objectId"]))
    return sorted(found, key=lambda event: event.at)


def _of_request(request: dict[str, Any], number: str) -> Event:
    moment = datetime.fromtimestamp(request["time"], UTC)
    status = "no answer" if request["status"] is None else f"answered {request['status']}"
    if request["operation"] == "validate":
        kind, text = "checked", f"The number was checked: {status}"
    else:
        kind, text = "requested", f"{_wanted(request['json'], number)}: {status}"
    return Event(_iso(moment), kind, text, request["number"])


def _wanted(body: Any, number: str) -> str:
    """Return what a send wants of a number; it may break every rule."""
    entries = body.get("data") if isinstance(body, dict) else None
    wanted = []
    for entry in entries if isinstance(entries, list) else ():
        data = entry.get("template_data") if isinstance(entry, dict) else None
        if (
            isinstance(data, dict)
            and str(data.get("to")).removeprefix("+") == number
            and isinstance(data.get("template"), dict)
        ):
            language = data["template"].get("language")
            code = language.get("code") if isinstance(language, dict) else language
            wanted.append(f"{data['template'].get('name')} ({code})")
    return "A request for " + (", ".join(wanted) or "something that cannot be read")


def _of_message(record: MessageRecord) -> Event:
    if record.is_accepted:
        due = record.schedule
        when = "" if due is None else f", for {datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M:%S} UTC"
        text = f"{record.template} ({record.language}) was accepted as {record.id}{when}"
    else:
        text = f"{record.template} ({record.language}) was refused: {reason_of(record.failed)}"
    at = _iso(datetime.fromisoformat(record.received_at))
    return Event(at, record.outcome, text, record.request, record.key, record.object_id)


def _of_child(child: dict[str, Any], conversation: int) -> Event:
    kind = "written" if child["user"].get("isManager") else "answered"
    return Event(_iso(datetime.fromisoformat(child["createdTime"])), kind, child["message"], conversation=conversation)


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
