"""
Conversations ("objects") that sends have opened.

How the vendor treats ``createChildObject`` is not documented. Here: false, or not given, opens a new
conversation; true continues the newest one with the same number, if there is one.
"""

from __future__ import annotations

import copy
import re
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.suffixes import suffix_of

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.send_body import Entry

MOST_LISTED = 100
FIRST_OBJECT_ID = 70_001
OPEN = 1


class Conversations:
    """
    The conversations of one sandbox.

    :param plain_stream_id: the numeric ID of the stream.
    :param keep: how many conversations are remembered.
    :param list_by: the time by which they are listed: ``"created"`` or ``"updated"``.
    """

    def __init__(self, plain_stream_id: int, keep: int, list_by: str = "created") -> None:
        self._stream = plain_stream_id
        self._keep = keep
        self._list_by = list_by
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all conversations."""
        with self._lock:
            self._objects: OrderedDict[int, dict[str, Any]] = OrderedDict()
            self._newest: dict[str, int] = {}
            self._next = FIRST_OBJECT_ID

    def open(self, entry: Entry, message_id: str) -> int:
        """Record a message in its conversation, and the answer of who always answers; return the conversation's ID."""
        data = entry.object_data or {}
        now = datetime.now(UTC)
        text = f"[{entry.template}]"
        child = {
            "id": message_id,
            "message": text,
            "createdTime": now.isoformat(),
            "user": {"isManager": True, "ManagerId": data.get("ManagerId")},
        }
        with self._lock:
            known = self._newest.get(entry.recipient)
            if data.get("createChildObject") and known is not None:
                conversation = self._objects[known]
            else:
                conversation = self._new(entry, data, now, text)
            _append(conversation, child, now)
            answer = suffix_of(entry.recipient).answer
            if answer is not None:
                self._write(conversation, answer, from_customer=True)
            return int(conversation["objectId"])

    def write(self, object_id: int | str, text: str, *, from_customer: bool = True) -> dict[str, Any] | None:
        """Add a message to a conversation and return it, ``None`` if there is no such conversation."""
        with self._lock:
            conversation = self._find(str(object_id))
            return None if conversation is None else copy.deepcopy(self._write(conversation, text, from_customer))

    def set_status(self, object_id: int | str, status: int) -> bool:
        """Give a conversation another status; say whether it is there."""
        with self._lock:
            conversation = self._find(str(object_id))
            if conversation is not None:
                conversation["statusId"] = status
                _touch(conversation, datetime.now(UTC))
            return conversation is not None

    def listing(self) -> list[dict[str, Any]]:
        """Return all conversations with their messages, oldest first."""
        with self._lock:
            return [{**_shown(item, with_childs=False), "childs": copy.deepcopy(item["childs"])} for item in self._all]

    def shown(self, object_id: str) -> dict[str, Any] | None:
        """Return one conversation with its messages for a person, ``None`` if there is no such."""
        with self._lock:
            found = self._find(object_id)
            if found is None:
                return None
            return {**_shown(found, with_childs=False), "childs": copy.deepcopy(found["childs"])}

    def get(self, object_id: str, with_childs: bool) -> dict[str, Any] | None:
        """Return one conversation, ``None`` if there is no such."""
        with self._lock:
            found = self._find(object_id)
            return None if found is None else _shown(found, with_childs)

    def length(self) -> int:
        """Return how many messages there are in all conversations."""
        with self._lock:
            return sum(len(item["childs"]) for item in self._objects.values())

    def between(self, start: int, end: int) -> list[dict[str, Any]]:
        """Return the first 100 conversations of a span of Unix seconds, both ends included."""
        with self._lock:
            chosen = [item for item in self._all if start <= item[self._list_by] <= end]
            return [_shown(item, with_childs=False) for item in chosen[:MOST_LISTED]]

    @property
    def _all(self) -> list[dict[str, Any]]:
        return list(self._objects.values())

    def _find(self, object_id: str) -> dict[str, Any] | None:
        return self._objects.get(int(object_id)) if re.fullmatch(r"[0-9]{1,18}", object_id) else None

    def _write(self, conversation: dict[str, Any], text: str, from_customer: bool) -> dict[str, Any]:
        now = datetime.now(UTC)
        child = {
            "id": f"{conversation['objectId']}-{len(conversation['childs']) + 1}",
            "message": text,
            "createdTime": now.isoformat(),
            "user": {"isManager": not from_customer},
        }
        _append(conversation, child, now)
        return child

    def _new(self, entry: Entry, data: dict[str, Any], now: datetime, text: str) -> dict[str, Any]:
        object_id = self._next
        self._next += 1
        user = {"isManager": False, "Phone1": entry.recipient, **data.get("User", {})}
        conversation = {
            "objectId": object_id,
            "streamid": data.get("streamId", self._stream),
            "subStreamId": data.get("SubStreamId", 0),
            "statusId": data.get("StatusId", OPEN),
            "message": text,
            "content": data.get("Content", {}),
            "createdTime": now.isoformat(),
            "updatedTime": now.isoformat(),
            "assignedManagerId": data.get("ManagerId", 0),
            "isManager": "ManagerId" in data,
            "user": user,
            "childs": [],
            "created": int(now.timestamp()),
            "updated": int(now.timestamp()),
            "recipient": entry.recipient,
        }
        self._objects[object_id] = conversation
        self._newest[entry.recipient] = object_id
        if len(self._objects) > self._keep:
            _, oldest = self._objects.popitem(last=False)
            if self._newest.get(oldest["recipient"]) == oldest["objectId"]:
                del self._newest[oldest["recipient"]]
        return conversation


def _append(conversation: dict[str, Any], child: dict[str, Any], now: datetime) -> None:
    conversation["childs"].append(child)
    _touch(conversation, now)


def _touch(conversation: dict[str, Any], now: datetime) -> None:
    conversation["updatedTime"] = now.isoformat()
    conversation["updated"] = int(now.timestamp())


def _shown(conversation: dict[str, Any], with_childs: bool) -> dict[str, Any]:
    shown = copy.deepcopy(conversation)
    del shown["created"], shown["updated"], shown["recipient"]
    childs = shown.pop("childs")
    if with_childs:
        # Documented under "user", shown beside it: readers have to take both, so both occur.
        (shown["user"] if shown["objectId"] % 2 else shown)["childs"] = childs
    return shown
