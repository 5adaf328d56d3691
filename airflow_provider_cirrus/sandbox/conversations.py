"""
Conversations ("objects") that sends have opened.

How the vendor treats ``createChildObject`` is not documented. Here: false, or not given, opens a new
conversation; true continues the newest one with the same number, if there is one.
"""

from __future__ import annotations

import copy
import re
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.suffixes import suffix_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cirrus.sandbox.archive import Archive
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
    :param keep_for: seconds after its last change for which one is remembered; None: for as long as there is room
    """

    def __init__(
        self, plain_stream_id: int, keep: int, list_by: str = "created", keep_for: float | None = None
    ) -> None:
        self._stream = plain_stream_id
        self._keep = keep
        self._keep_for = keep_for
        self._list_by = list_by
        self._archive: Archive | None = None
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        self._lock = threading.Lock()
        #: Grows whenever something changes.
        self.version = 0
        self.reset()

    def attach(self, archive: Archive, *, restores: bool) -> None:
        """
        Keep them in a file, too.

        :param restores: whether to go on with those in it; else it is empty, and is to hold those of now
        """
        with self._lock:
            self._archive = archive
            if restores:
                for conversation in archive.load("conversation").values():
                    self._add(conversation)
                self._next = max(self._objects, default=FIRST_OBJECT_ID - 1) + 1
            for conversation in self._objects.values():
                self._put(conversation)

    def detach(self) -> None:
        """Keep them in a file no more."""
        with self._lock:
            self._archive = None

    def listen(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """
        Have a function told of what customers answer.

        :param listener: takes ``"answered"``, and the message with its ``object_id`` and its ``recipient``
        """
        self._listeners.append(listener)

    def reset(self) -> None:
        """Forget all conversations."""
        with self._lock:
            self._objects: OrderedDict[int, dict[str, Any]] = OrderedDict()
            self._newest: dict[str, int] = {}
            self._next = FIRST_OBJECT_ID
            self.version += 1

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
                conversation = self._new(entry.recipient, data, now, text)
            _append(conversation, child, now)
            answer = suffix_of(entry.recipient).answer
            written = None if answer is None else self._write(conversation, answer, from_customer=True)
            self._put(conversation)
        if written is not None:
            self._tell(conversation, written)
        return int(conversation["objectId"])

    def write(self, object_id: int | str, text: str, *, from_customer: bool = True) -> dict[str, Any] | None:
        """Add a message to a conversation and return it, ``None`` if there is no such conversation."""
        with self._lock:
            conversation = self._find(str(object_id))
            if conversation is None:
                return None
            written = self._write(conversation, text, from_customer)
            self._put(conversation)
        if from_customer:
            self._tell(conversation, written)
        return copy.deepcopy(written)

    def write_from(self, recipient: str, text: str) -> dict[str, Any]:
        """
        Have a customer write, into the newest conversation with their number or, where there is none, a new one.

        :param recipient: digits
        :return: the message
        """
        with self._lock:
            known = self._newest.get(recipient)
            now = datetime.now(UTC)
            conversation = self._new(recipient, {}, now, text) if known is None else self._objects[known]
            written = self._write(conversation, text, from_customer=True)
            self._put(conversation)
        self._tell(conversation, written)
        return copy.deepcopy(written)

    def of(self, recipient: str) -> list[dict[str, Any]]:
        """Return the conversations with a number, in digits, with their messages, oldest first."""
        with self._lock:
            return [_whole(item) for item in self._all if item["recipient"] == recipient]

    def recipient_of(self, object_id: str) -> str | None:
        """Return with whom a conversation is, in digits; None if there is no such."""
        with self._lock:
            found = self._find(object_id)
            return None if found is None else str(found["recipient"])

    def set_status(self, object_id: int | str, status: int) -> bool:
        """Give a conversation another status; say whether it is there."""
        with self._lock:
            conversation = self._find(str(object_id))
            if conversation is not None:
                conversation["statusId"] = status
                _touch(conversation, datetime.now(UTC))
                self._put(conversation)
            return conversation is not None

    def listing(self) -> list[dict[str, Any]]:
        """Return all conversations with their messages, oldest first."""
        with self._lock:
            return [_whole(item) for item in self._all]

    def get(self, object_id: str, with_childs: bool) -> dict[str, Any] | None:
        """Return one conversation, ``None`` if there is no such."""
        with self._lock:
            found = self._find(object_id)
            return None if found is None else _shown(found, with_childs)

    def between(self, start: int, end: int) -> list[dict[str, Any]]:
        """Return the first 100 conversations of a span of Unix seconds, both ends included."""
        with self._lock:
            chosen = [item for item in self._all if start <= item[self._list_by] <= end]
            return [_shown(item, with_childs=False) for item in chosen[:MOST_LISTED]]

    @property
    def _all(self) -> list[dict[str, Any]]:
        while self._keep_for is not None and self._objects:
            oldest = next(iter(self._objects.values()))
            if oldest["updated"] >= time.time() - self._keep_for:
                break
            self._drop_oldest()
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

    def _put(self, conversation: dict[str, Any]) -> None:
        self.version += 1
        if self._archive is not None:
            self._archive.put("conversation", str(conversation["objectId"]), conversation)

    def _tell(self, conversation: dict[str, Any], message: dict[str, Any]) -> None:
        told = {**message, "object_id": conversation["objectId"], "recipient": conversation["recipient"]}
        for listener in self._listeners:
            listener("answered", told)

    def _new(self, recipient: str, data: dict[str, Any], now: datetime, text: str) -> dict[str, Any]:
        object_id = self._next
        self._next += 1
        user = {"isManager": False, "Phone1": recipient, **data.get("User", {})}
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
            "recipient": recipient,
        }
        self._add(conversation)
        return conversation

    def _add(self, conversation: dict[str, Any]) -> None:
        self._objects[conversation["objectId"]] = conversation
        self._newest[conversation["recipient"]] = conversation["objectId"]
        if len(self._objects) > self._keep:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        number, oldest = self._objects.popitem(last=False)
        if self._newest.get(oldest["recipient"]) == number:
            del self._newest[oldest["recipient"]]
        if self._archive is not None:
            self._archive.drop("conversation", str(number))


def _append(conversation: dict[str, Any], child: dict[str, Any], now: datetime) -> None:
    conversation["childs"].append(child)
    _touch(conversation, now)


def _touch(conversation: dict[str, Any], now: datetime) -> None:
    conversation["updatedTime"] = now.isoformat()
    conversation["updated"] = int(now.timestamp())


def _whole(conversation: dict[str, Any]) -> dict[str, Any]:
    return {**_shown(conversation, with_childs=False), "childs": copy.deepcopy(conversation["childs"])}


def _shown(conversation: dict[str, Any], with_childs: bool) -> dict[str, Any]:
    shown = copy.deepcopy(conversation)
    del shown["created"], shown["updated"], shown["recipient"]
    childs = shown.pop("childs")
    if with_childs:
        # Documented under "user", shown beside it: readers have to take both, so both occur.
        (shown["user"] if shown["objectId"] % 2 else shown)["childs"] = childs
    return shown
