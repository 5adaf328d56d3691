"""The place up to which customers' answers were taken: none is skipped and none repeated, across restarts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_cirrus.api.conversations import replies_in, status_name, time_of, unix_time
from airflow_provider_cirrus.api.results import ChildMessage, Conversation


class ReplyCheckpoint:
    """
    Tells which messages of customers are new, conversation by conversation.

    All times compared are Cirrus's own but the first ``since``. What was taken is remembered by conversation,
    and forgotten once it is older than ``since``, which follows the newest answer at a distance.

    :param since: Unix seconds; answers from before are not new
    """

    #: Seconds that ``since`` stays behind the newest answer: an answer may show in the listing that much later
    #: than another that came after it.
    OVERLAP = 600

    def __init__(self, since: float) -> None:
        self.since = since
        # By conversation: the time of the newest message that was taken, and the messages of that time.
        self._taken: dict[str, tuple[float, list[str]]] = {}
        # By conversation: what the listing said when it was read last. Not kept across restarts.
        self._listed: dict[str, int] = {}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> ReplyCheckpoint:
        """Return the place that :meth:`as_dict` wrote down."""
        made = cls(kept["since"])
        made._taken = {object_id: (moment, list(ids)) for object_id, (moment, ids) in kept["taken"].items()}
        return made

    def as_dict(self) -> dict[str, Any]:
        """Return the place as plain JSON-able values, no larger than the answers of the last minutes."""
        return {"since": self.since, "taken": {key: [moment, list(ids)] for key, (moment, ids) in self._taken.items()}}

    def changed(self, listed: Iterable[Conversation]) -> list[str]:
        """
        Return the ids of the conversations that have to be read: those that the listing shows otherwise than before.

        Whether the listing shows an answer at all is not documented; we rely on ``updatedTime`` to move on.
        """
        marks = {conversation.object_id: conversation for conversation in listed}
        self._listed = {object_id: mark for object_id, mark in self._listed.items() if object_id in marks}
        return [object_id for object_id, conversation in marks.items() if self._is_news(conversation)]

    def take(self, listed: Conversation, conversation: Conversation) -> list[dict[str, Any]]:
        """
        Return the new answers of a conversation, oldest first, and count them as taken.

        :param listed: the conversation as it was listed
        :param conversation: the same, read later with its messages
        :return: ``{"object_id", "message", "message_id", "time", "status", "status_id"}`` for each
        :raises UnreadableAnswer: a message has no time that can be read
        """
        object_id = conversation.object_id
        timed = sorted(((time_of(child), place, child) for place, child in enumerate(replies_in(conversation))))
        new = [(moment, child) for moment, _, child in timed if self._is_new(object_id, moment, child)]
        for moment, child in new:
            newest, ids = self._taken.get(object_id, (0.0, []))
            self._taken[object_id] = (moment, [*ids, _mark(child)] if moment == newest else [_mark(child)])
        self._listed[object_id] = _fingerprint(listed)
        return [
            {
                "object_id": object_id,
                "message": child.message,
                "message_id": child.id,
                "time": child.created_time,
                "status": status_name(conversation.status_id),
                "status_id": conversation.status_id,
            }
            for _, child in new
        ]

    def skip(self, listed: Conversation) -> None:
        """Take note that a conversation is gone."""
        self._listed[listed.object_id] = _fingerprint(listed)

    def advance(self) -> None:
        """Move on, after all that was listed has been read."""
        newest = max((moment for moment, _ in self._taken.values()), default=0.0)
        self.since = max(self.since, newest - self.OVERLAP)
        self._taken = {key: taken for key, taken in self._taken.items() if taken[0] >= self.since}

    def _is_news(self, conversation: Conversation) -> bool:
        known = self._listed.get(conversation.object_id)
        if known is not None:
            return known != _fingerprint(conversation)
        updated = unix_time(conversation.updated_time)
        return updated is None or updated >= self.since

    def _is_new(self, object_id: str, moment: float, child: ChildMessage) -> bool:
        if moment < self.since:
            return False
        newest, ids = self._taken.get(object_id, (0.0, []))
        return moment > newest or (moment == newest and _mark(child) not in ids)


def _mark(child: ChildMessage) -> str:
    return child.id or child.message or ""


def _fingerprint(conversation: Conversation) -> int:
    return hash(conversation.model_dump_json())
