"""
What a sandbox has seen: requests, messages, uploads, campaigns, validations. One room, as one lock guards all of it:
what is counted, found and kept in a file at once is of one moment.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.answers import iso_utc
from airflow_provider_cirrus.sandbox.checks import Checks
from airflow_provider_cirrus.sandbox.media import Media
from airflow_provider_cirrus.sandbox.records import (
    MessageRecord,
    Origin,
    Records,
    digits_of,
    fingerprint,
    message_id,
    record_for,
    record_of,
)
from airflow_provider_cirrus.sandbox.requests_seen import RequestRecord, RequestsSeen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_cirrus.sandbox.archive import Archive
    from airflow_provider_cirrus.sandbox.send_body import Entry
    from airflow_provider_cirrus.sandbox.tally import Tally

COUNTED = ("accepted", "refused", "requests", "uploads", "validations", "duplicates")
# Bytes of messages, of bodies of requests, and of media that are kept: the oldest go first.
_MESSAGES, _BODIES, _MEDIA = (megabytes * 1024 * 1024 for megabytes in (256, 128, 64))
# Seconds between two looks for what is too old.
_LOOK = 1.0


class Store:
    """
    The memory of one sandbox; safe to read from other threads while requests come in.

    :param keep: how many requests, messages, uploads, campaigns and validations are remembered. Counters and the
        keys that detect duplicates are not bounded by it (about 70 MB for a million messages).
    :param keep_for: seconds for which they are remembered; None: for as long as there is room
    """

    def __init__(self, keep: int, keep_for: float | None = None) -> None:
        self._keep = keep
        self._keep_for = keep_for
        self._archive: Archive | None = None
        self._lock = threading.RLock()
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        #: Grows whenever something changes.
        self.version = 0
        self._forget()

    def attach(self, archive: Archive, *, restores: bool) -> None:
        """
        Keep everything in a file, too.

        :param restores: whether to go on with what is in it; else it is empty, and is to hold what is known now
        """
        with self._lock:
            self._archive = archive
            if restores:
                self._restore(archive)
            else:
                self._save(archive)

    def detach(self) -> None:
        """Keep nothing in a file any more."""
        with self._lock:
            self._archive = None

    def reset(self) -> None:
        """Forget everything; numbering starts at 1 again."""
        with self._lock:
            self._forget()
            if self._archive is not None:
                self._archive.drop_all()

    def listen(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """
        Have a function told of what comes in.

        :param listener: takes ``"accepted"`` or ``"refused"``, and the message
        """
        self._listeners.append(listener)

    def open_request(self, **seen: Any) -> RequestRecord:
        """Record that a request came in, and return its record."""
        with self._lock:
            self._counts["requests"] += 1
            self.version += 1
            return self._requests.open(self._counts["requests"], seen)

    def keep_body(self, record: RequestRecord, body: bytes) -> None:
        """Keep the body of a request, in the place of the oldest ones where it is too much."""
        with self._lock:
            self._requests.keep_body(record, body)

    def accept(self, entry: Entry, origin: Origin) -> MessageRecord:
        """Record an accepted message and return it; its ``object_id`` may be filled in later."""
        with self._lock:
            self._counts["accepted"] += 1
            same = fingerprint(entry.recipient, entry.template, entry.components)
            if same in self._fingerprints:
                self._counts["duplicates"] += 1
            self._fingerprints.add(same)
            self._checks.messaged(entry.recipient)
            number = self._counts["accepted"]
            return self._add(record_for(entry, "accepted", number, origin, id=message_id(number)))

    def refuse(self, entry: Entry, failed: str | dict[str, Any], origin: Origin) -> MessageRecord:
        """
        Record a message that was refused, and return it.

        :param failed: why, as the answer says it.
        """
        with self._lock:
            self._counts["refused"] += 1
            number = self._counts["refused"]
            return self._add(record_for(entry, "refused", number, origin, failed=failed))

    def opened(self, record: MessageRecord, object_id: int) -> None:
        """Record which conversation a message opened, or went on with."""
        with self._lock:
            record.object_id = object_id
            self._put(record)

    def tell(self, record: MessageRecord) -> None:
        """Tell the listeners of a message, once all of it is known."""
        for listener in self._listeners:
            listener(record.outcome, record.as_dict())

    def mark(self, records: Iterable[MessageRecord], *, is_read: bool = True) -> int:
        """Remember that somebody has looked at messages, or has not; return for how many that is new."""
        with self._lock:
            new = [one for one in records if one.is_read != is_read]
            for record in new:
                self._messages.mark(record, is_read)
                self._put(record)
            self.version += bool(new)
            return len(new)

    def delete(self, records: Iterable[MessageRecord]) -> int:
        """Forget messages; the counters go on. Return how many were there."""
        with self._lock:
            gone = self._messages.remove([record.key for record in records])
            self._drop(gone)
            self.version += bool(gone)
            return len(gone)

    def first_attempt(self, recipient: str) -> bool:
        """Say, once per recipient, that this is the first attempt."""
        with self._lock:
            first = recipient not in self._throttled
            self._throttled.add(recipient)
            return first

    def add_upload(
        self, *, filename: str, kind: str, content_type: str, size: int, sha256: str, content: bytes | None = None
    ) -> str:
        """
        Record an uploaded file and return its media ID, a string of digits.

        :param content: kept for the inbox as long as there is room; None: too large for that
        """
        with self._lock:
            self._counts["uploads"] += 1
            media_id = str(257_250_616_863_000 + self._counts["uploads"])
            record = {
                "id": media_id,
                "filename": filename,
                "kind": kind,
                "content_type": content_type,
                "size": size,
                "sha256": sha256,
                "received_at": iso_utc(),
            }
            self._media[media_id] = kind
            self._append("upload", self._uploads, record)
            if content is not None:
                self._keep_content(media_id, content)
            return media_id

    def media_kind(self, media_id: str) -> str | None:
        """Return the kind of an uploaded file, ``None`` if the ID is unknown."""
        with self._lock:
            return self._media.get(media_id)

    def media(self, media_id: str) -> tuple[str, bytes] | None:
        """Return the name of an uploaded file and its content; None where that is not kept."""
        with self._lock:
            content = self._contents.get(media_id)
            name = next((one["filename"] for one in self._uploads if one["id"] == media_id), None)
            return None if content is None or name is None else (name, content)

    def has_media(self, media_id: str) -> bool:
        """Return whether the content of an uploaded file is kept."""
        with self._lock:
            return self._contents.get(media_id) is not None

    def add_campaign(
        self, *, fields: dict[str, str], filename: str, sha256: str, recipients: list[str], request: int
    ) -> None:
        """Record a campaign that was accepted; its recipients are not among the messages."""
        with self._lock:
            record = {
                "fields": fields,
                "filename": filename,
                "sha256": sha256,
                "recipients": recipients,
                "received_at": iso_utc(),
                "request": request,
            }
            self._append("campaign", self._campaigns, record)

    def add_validation(self, number: str, valid: bool, request: int) -> None:
        """Record that a number was checked."""
        with self._lock:
            self._counts["validations"] += 1
            self._checks.checked(number)
            record = {"number": number, "valid": valid, "received_at": iso_utc(), "request": request}
            self._append("validation", self._validations, record)

    def counts(self) -> dict[str, int]:
        """Return the counters, of everything since the start or the last reset."""
        with self._lock:
            return {name: self._counts[name] for name in COUNTED}

    def messages(self, limit: int | None = None, recipient: str | None = None) -> list[dict[str, Any]]:
        """
        Return copies of the accepted messages, oldest first.

        :param limit: only the newest so many.
        :param recipient: only messages to this number; anything but digits is ignored.
        """
        records = self.records() if recipient is None else self.to(digits_of(recipient))
        chosen = [record for record in records if record.is_accepted]
        return [record.as_dict() for record in (chosen if limit is None else deque(chosen, maxlen=limit))]

    def records(self) -> list[MessageRecord]:
        """Return the messages that are kept, oldest first; to be looked at only."""
        with self._lock:
            self._prune()
            return list(self._messages)

    def tally(self) -> Tally:
        """Return the counts of the messages that are kept."""
        with self._lock:
            self._prune()
            return self._messages.tally.copy()

    def find(self, key: str) -> MessageRecord | None:
        """Return a message by its key or its id, to be looked at only; None where it is not kept."""
        with self._lock:
            return self._messages.find(key)

    def to(self, recipient: str) -> list[MessageRecord]:
        """Return what went to a number, oldest first, to be looked at only."""
        with self._lock:
            return self._messages.to(recipient)

    def recipients(self) -> list[str]:
        """Return who is among the recipients, who got something last first."""
        with self._lock:
            self._prune()
            return list(self._messages.recipients())

    def refused(self) -> list[dict[str, Any]]:
        """Return copies of the messages that were refused, oldest first."""
        return [record.as_dict() for record in self.records() if not record.is_accepted]

    def uploads(self) -> list[dict[str, Any]]:
        """Return copies of the records of the uploaded files, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._uploads))

    def campaigns(self) -> list[dict[str, Any]]:
        """Return copies of the records of the campaigns, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._campaigns))

    def validations(self) -> list[dict[str, Any]]:
        """Return copies of the records of the checked numbers, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._validations))

    def requests(self) -> list[dict[str, Any]]:
        """Return the API requests as plain data, oldest first."""
        with self._lock:
            return [record.as_dict() for record in self._requests.all()]

    def request(self, number: int) -> dict[str, Any] | None:
        """Return an API request by its number; None where it is not kept."""
        with self._lock:
            found = self._requests.find(number)
        return None if found is None else found.as_dict()

    def requests_about(self, number: str) -> list[dict[str, Any]]:
        """Return the API requests that name a number, oldest first."""
        with self._lock:
            found = self._requests.about(number)
        return [one.as_dict() for one in found]

    def validation_warnings(self) -> list[dict[str, Any]]:
        """Return the checked numbers that would endanger a real account, with the reason."""
        with self._lock:
            return self._checks.warnings()

    def _forget(self) -> None:
        self._requests = RequestsSeen(self._keep, _BODIES)
        self._messages = Records(self._keep, _MESSAGES)
        self._uploads: deque[dict[str, Any]] = deque(maxlen=self._keep)
        self._campaigns: deque[dict[str, Any]] = deque(maxlen=self._keep)
        self._validations: deque[dict[str, Any]] = deque(maxlen=self._keep)
        self._counts: Counter[str] = Counter()
        self._media: dict[str, str] = {}
        self._contents = Media(_MEDIA)
        self._checks = Checks()
        self._throttled: set[str] = set()
        self._fingerprints: set[int] = set()
        self._looked = 0.0
        self.version += 1

    def _restore(self, archive: Archive) -> None:
        self._counts.update(archive.load("counts").get("all", {}))
        for data in archive.load("message").values():
            self._drop(self._messages.add(record_of(data)))
            if data["outcome"] == "accepted":
                self._fingerprints.add(fingerprint(data["recipient"], data["template"], data["components"]))
        for kind, kept in self._lists:
            for item in archive.load(kind).values():
                self._append(kind, kept, item)
        self._media.update({one["id"]: one["kind"] for one in self._uploads})
        for media_id, content in archive.load_bytes().items():
            self._keep_content(media_id, content)
        came = [(item["received_at"], self._checks.checked, item["number"]) for item in self._validations]
        came += [(one.received_at, self._checks.messaged, one.recipient) for one in self._messages if one.is_accepted]
        for _, happened, number in sorted(came, key=lambda one: one[0]):
            happened(number)
        self._prune()

    def _save(self, archive: Archive) -> None:
        for record in self._messages:
            archive.put("message", record.key, record.as_dict())
        for kind, kept in self._lists:
            for item in kept:
                archive.put(kind, _key(item), item)
        for media_id, content in self._contents.all().items():
            archive.put_bytes(media_id, content)
        archive.put("counts", "all", dict(self._counts))

    @property
    def _lists(self) -> tuple[tuple[str, deque[dict[str, Any]]], ...]:
        return ("upload", self._uploads), ("campaign", self._campaigns), ("validation", self._validations)

    def _add(self, record: MessageRecord) -> MessageRecord:
        self._drop(self._messages.add(record))
        self._put(record)
        self._prune()
        return record

    def _put(self, record: MessageRecord) -> None:
        self.version += 1
        if self._archive is not None:
            self._archive.put("message", record.key, record.as_dict())
            self._archive.put("counts", "all", dict(self._counts))

    def _drop(self, gone: Iterable[MessageRecord]) -> None:
        if self._archive is not None:
            for record in gone:
                self._archive.drop("message", record.key)

    def _append(self, kind: str, kept: deque[dict[str, Any]], record: dict[str, Any]) -> None:
        if len(kept) == self._keep:
            self._gone(kind, kept.popleft())
        kept.append(record)
        self.version += 1
        if self._archive is not None:
            self._archive.put(kind, _key(record), record)
            self._archive.put("counts", "all", dict(self._counts))

    def _keep_content(self, media_id: str, content: bytes) -> None:
        gone = self._contents.add(media_id, content)
        if self._archive is not None:
            self._archive.put_bytes(media_id, content)
            for one in gone:
                self._archive.drop_bytes(one)

    def _prune(self) -> None:
        """Drop what is too old; looked for once a second."""
        now = time.time()
        if self._keep_for is None or now - self._looked < _LOOK:
            return
        self._looked = now
        moment = iso_utc(int((now - self._keep_for) * 1e9))
        self._drop(self._messages.drop_before(moment))
        self._requests.drop_before(now - self._keep_for)
        for kind, kept in self._lists:
            while kept and kept[0]["received_at"] < moment:
                self._gone(kind, kept.popleft())

    def _gone(self, kind: str, record: dict[str, Any]) -> None:
        if kind == "upload" and self._contents.remove(record["id"]) and self._archive is not None:
            self._archive.drop_bytes(record["id"])
        if self._archive is not None:
            self._archive.drop(kind, _key(record))


def _key(record: dict[str, Any]) -> str:
    # A campaign and a check are a request of their own.
    return str(record.get("id") or record["request"])
