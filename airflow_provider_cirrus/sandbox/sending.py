"""The send call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.answers import Answer, bad_request
from airflow_provider_cirrus.sandbox.components import media_of
from airflow_provider_cirrus.sandbox.records import Origin
from airflow_provider_cirrus.sandbox.send_body import Entry, read_entries
from airflow_provider_cirrus.sandbox.strict_json import BodyError
from airflow_provider_cirrus.sandbox.suffixes import suffix_of
from airflow_provider_cirrus.sandbox.tags import tags_of

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.conversations import Conversations
    from airflow_provider_cirrus.sandbox.faults import FaultBook
    from airflow_provider_cirrus.sandbox.rate import RateLimit
    from airflow_provider_cirrus.sandbox.settings import Settings
    from airflow_provider_cirrus.sandbox.store import Store


class Sender:
    """Serves the send call."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        faults: FaultBook,
        rate: RateLimit,
        conversations: Conversations,
    ) -> None:
        self._settings = settings
        self._store = store
        self._faults = faults
        self._rate = rate
        self._conversations = conversations

    def send(self, raw: bytes, content_type: str, request: int, baggage: str = "") -> Answer:
        """
        Check and accept the messages of one request.

        :param raw: the body as received.
        :param request: the number of the request.
        :param baggage: what the request is part of, as its header says
        """
        try:
            entries = read_entries(raw, content_type)
        except BodyError as exc:
            return bad_request(str(exc))
        if not self._rate.admit(len(entries)):
            return Answer(
                429,
                description=f"More than {self._settings.messages_per_second} messages within one second",
                page=True,
                headers={"Retry-After": "1"},
            )
        answered: list[dict[str, Any]] = []
        refused = 0
        tags = (f"stream:{self._settings.stream_id}", *tags_of(baggage))
        origin = Origin(request, tags)
        for entry in entries:
            failed = self._refusal(entry)
            suffix = suffix_of(entry.recipient)
            if failed is not None:
                refused += 1
                self._store.tell(self._store.refuse(entry, failed, origin))
                answered.append({"recipient": entry.recipient, "status": 400, "failed": failed})
                continue
            answer = self._accept(entry, origin) if suffix.accepted else {}
            if not suffix.hidden:
                answered.append(answer)
        status = 200 if not refused else 400 if refused == len(entries) else 206
        description = {200: "OK", 206: "Some recipients failed", 400: "All recipients failed"}[status]
        # Nothing promises the order of the answer, so the sandbox does not keep it either.
        return Answer(status, answered[::-1], description)

    def _refusal(self, entry: Entry) -> str | dict[str, Any] | None:
        failed = self._faults.refusal(entry.recipient)
        if failed is not None:
            return failed
        suffix = suffix_of(entry.recipient)
        if suffix.failed is not None and (not suffix.first_only or self._store.first_attempt(entry.recipient)):
            return suffix.failed
        media = media_of(entry.components)
        if media is not None and not self._settings.accept_any_media:
            kind, media_id = media
            uploaded = self._store.media_kind(media_id)
            if uploaded is None:
                return f"131053: Media upload error: no media {media_id} was uploaded for this number"
            if uploaded != kind:
                return f"131053: Media upload error: media {media_id} is of kind {uploaded}, not {kind}"
        return None

    def _accept(self, entry: Entry, origin: Origin) -> dict[str, Any]:
        record = self._store.accept(entry, origin)
        answer: dict[str, Any] = {"recipient": entry.recipient, "id": record.id, "status": 200}
        if entry.object_data is not None:
            answer["object_id"] = object_id = self._conversations.open(entry, str(record.id))
            self._store.opened(record, object_id)
        self._store.tell(record)
        return answer


def recipients_in(raw: bytes) -> set[str]:
    """Return the numbers that a body mentions, whether or not it obeys the rules."""
    return {match.decode() for match in re.findall(rb'"to"\s*:\s*"\+?(\d+)"', raw)}
