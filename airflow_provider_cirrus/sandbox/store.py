"""What a sandbox has seen: requests, messages, uploads, campaigns, validations."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import threading
import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.answers import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cirrus.sandbox.send_body import Entry


class RequestRecord:
    """One request to the API, filled in while it is served."""

    def __init__(self, number: int, seen: dict[str, Any]) -> None:
        self.number = number
        self.seen = seen
        self.body: bytes | None = None
        self.status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data; a body that is not JSON is ``None``."""
        try:
            # Bytes are kept and parsed here: parsed bodies take ten times the memory.
            body = None if self.body is None else json.loads(self.body)
        except (ValueError, RecursionError):
            body = None
        return {
            "number": self.number,
            **self.seen,
            "headers": dict(self.seen["headers"]),
            "json": body,
            "status": self.status,
        }


class Store:
    """
    The memory of one sandbox; safe to read from other threads while requests come in.

    :param keep: how many requests, messages, uploads, campaigns and validations are remembered. Counters and the
        keys that detect duplicates are not bounded by it (about 70 MB for a million messages).
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything; numbering starts at 1 again."""
        with self._lock:
            self._requests: deque[RequestRecord] = deque(maxlen=self._keep)
            self._messages: deque[dict[str, Any]] = deque(maxlen=self._keep)
            self._refused: deque[dict[str, Any]] = deque(maxlen=self._keep)
            self._uploads: deque[dict[str, Any]] = deque(maxlen=self._keep)
            self._campaigns: deque[dict[str, Any]] = deque(maxlen=self._keep)
            self._validations: deque[dict[str, Any]] = deque(maxlen=self._keep)
            self._counts: Counter[str] = Counter()
            self._media: dict[str, str] = {}
            self._asked: dict[str, dict[str, Any]] = {}
            self._throttled: set[str] = set()
            self._fingerprints: set[int] = set()

    def open_request(self, **seen: Any) -> RequestRecord:
        """Record that a request came in, and return its record."""
        with self._lock:
            self._counts["requests"] += 1
            record = RequestRecord(self._counts["requests"], {**seen, "time": time.time()})
            self._requests.append(record)
            return record

    def accept(self, entry: Entry, request: int) -> dict[str, Any]:
        """Record an accepted message and return it; its ``object_id`` may be filled in later."""
        with self._lock:
            self._counts["accepted"] += 1
            number = self._counts["accepted"]
            fingerprint = _fingerprint(entry)
            if fingerprint in self._fingerprints:
                self._counts["duplicates"] += 1
            self._fingerprints.add(fingerprint)
            if entry.recipient in self._asked:
                self._asked[entry.recipient]["messaged"] = True
            message = {
                "number": number,
                "recipient": entry.recipient,
                "template": entry.template,
                "language": entry.language,
                "components": entry.components,
                "schedule": entry.schedule,
                "object_data": entry.object_data,
                "id": message_id(number),
                "object_id": None,
                "received_at": iso_utc(),
                "request": request,
            }
            self._messages.append(message)
            return message

    def refuse(self, entry: Entry, failed: str | dict[str, Any], request: int) -> None:
        """
        Record a message that was refused.

        :param failed: why, as the answer says it.
        """
        with self._lock:
            self._counts["refused"] += 1
            self._refused.append(
                {
                    "recipient": entry.recipient,
                    "template": entry.template,
                    "language": entry.language,
                    "components": entry.components,
                    "failed": failed,
                    "received_at": iso_utc(),
                    "request": request,
                }
            )

    def first_attempt(self, recipient: str) -> bool:
        """Say, once per recipient, that this is the first attempt."""
        with self._lock:
            first = recipient not in self._throttled
            self._throttled.add(recipient)
            return first

    def add_upload(self, *, filename: str, kind: str, content_type: str, size: int, sha256: str) -> str:
        """Record an uploaded file and return its media ID, a string of digits."""
        with self._lock:
            self._counts["uploads"] += 1
            media_id = str(257_250_616_863_000 + self._counts["uploads"])
            self._media[media_id] = kind
            self._uploads.append(
                {
                    "id": media_id,
                    "filename": filename,
                    "kind": kind,
                    "content_type": content_type,
                    "size": size,
                    "sha256": sha256,
                    "received_at": iso_utc(),
                }
            )
            return media_id

    def media_kind(self, media_id: str) -> str | None:
        """Return the kind of an uploaded file, ``None`` if the ID is unknown."""
        with self._lock:
            return self._media.get(media_id)

    def add_campaign(
        self, *, fields: dict[str, str], filename: str, sha256: str, recipients: list[str], request: int
    ) -> None:
        """Record a campaign that was accepted; its recipients are not among the messages."""
        with self._lock:
            self._campaigns.append(
                {
                    "fields": fields,
                    "filename": filename,
                    "sha256": sha256,
                    "recipients": recipients,
                    "received_at": iso_utc(),
                    "request": request,
                }
            )

    def add_validation(self, number: str, valid: bool, request: int) -> None:
        """Record that a number was checked."""
        with self._lock:
            self._counts["validations"] += 1
            asked = self._asked.setdefault(number, {"number": number, "asked": 0, "messaged": False})
            asked["asked"] += 1
            self._validations.append({"number": number, "valid": valid, "received_at": iso_utc(), "request": request})

    def counts(self) -> dict[str, int]:
        """Return the counters, of everything since the start or the last reset."""
        names = ("accepted", "refused", "requests", "uploads", "validations", "duplicates")
        with self._lock:
            return {name: self._counts[name] for name in names}

    def messages(self, limit: int | None = None, recipient: str | None = None) -> list[dict[str, Any]]:
        """
        Return copies of the accepted messages, oldest first.

        :param limit: only the newest so many.
        :param recipient: only messages to this number; anything but digits is ignored.
        """
        with self._lock:
            chosen: Iterable[dict[str, Any]] = self._messages
            if recipient is not None:
                wanted = "".join(filter(str.isdigit, recipient))
                chosen = (message for message in self._messages if message["recipient"] == wanted)
            return copy.deepcopy(_newest(chosen, limit))

    def by_id(self, ids: set[str]) -> dict[str, dict[str, Any]]:
        """Return copies of those of the accepted messages that have one of the IDs, by it."""
        with self._lock:
            return {message["id"]: copy.deepcopy(message) for message in self._messages if message["id"] in ids}

    def refused(self) -> list[dict[str, Any]]:
        """Return copies of the messages that were refused, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._refused))

    def uploads(self) -> list[dict[str, Any]]:
        """Return copies of the records of the uploaded files, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._uploads))

    def campaigns(self) -> list[dict[str, Any]]:
        """Return copies of the records of the campaigns, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._campaigns))

    def campaign_count(self) -> int:
        """Return how many campaigns are remembered."""
        with self._lock:
            return len(self._campaigns)

    def validations(self) -> list[dict[str, Any]]:
        """Return copies of the records of the checked numbers, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._validations))

    def requests(self) -> list[dict[str, Any]]:
        """Return the API requests as plain data, oldest first."""
        with self._lock:
            return [record.as_dict() for record in self._requests]

    def validation_warnings(self) -> list[dict[str, Any]]:
        """Return the checked numbers that would endanger a real account, with the reason."""
        with self._lock:
            warnings = []
            for asked in self._asked.values():
                reasons = []
                if asked["asked"] > 1:
                    reasons.append(f"checked {asked['asked']} times")
                if not asked["messaged"]:
                    reasons.append("checked but not messaged afterwards")
                if reasons:
                    warnings.append({**asked, "warning": "; ".join(reasons)})
            return warnings


def message_id(number: int) -> str:
    """Return the opaque ID of message ``number``; the three styles seen at the vendor take turns."""
    if number % 3 == 1:
        return str(690_000_000_000 + number * 17)
    if number % 3 == 2:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"cirrus-sandbox-{number}"))
    digest = hashlib.sha256(f"cirrus-sandbox-{number}".encode()).digest()
    return "wamid." + base64.b64encode(digest[:22]).decode()


def _newest(messages: Iterable[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    return list(messages if limit is None else deque(messages, maxlen=limit))


def _fingerprint(entry: Entry) -> int:
    text = json.dumps([entry.recipient, entry.template, entry.components], sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
