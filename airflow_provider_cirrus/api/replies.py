"""The place up to which customers' answers were taken: none is skipped and none repeated, across restarts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_cirrus.api.conversations import PollBackoff, replies_in, status_name, time_of, unix_time
from airflow_provider_cirrus.api.results import ChildMessage, Conversation


class ReplyCheckpoint:
    """
    Tells which messages of customers are new, conversation by conversation.

    All times compared are Cirrus's own. What was taken is remembered message by message, whatever the order in which
    messages become visible, and forgotten once it is older than ``since``, which follows the newest answer at a
    distance. A conversation that cannot be read stays behind, and holds up no other.

    :param since: Unix seconds; answers from before are not new
    :param interval: seconds between two looks
    """

    #: Seconds that ``since`` stays behind the newest answer: an answer may show in the listing that much later
    #: than another that came after it.
    OVERLAP = 600

    def __init__(self, since: float, interval: float = 60.0) -> None:
        self.since = since
        self._interval = interval
        # By conversation: the messages that were taken, each with its time.
        self._taken: dict[str, dict[str, float]] = {}
        # By conversation: what an earlier version took, of which it kept only the newest time.
        self._floor: dict[str, float] = {}
        # By conversation that could not be read: `since`, as it was then.
        self._behind: dict[str, float] = {}
        # By conversation: what the listing said when it was read last. Not kept across restarts.
        self._listed: dict[str, int] = {}
        # By conversation that could not be read: when to look again. Not kept either.
        self._postponed: dict[str, tuple[PollBackoff, float]] = {}

    @classmethod
    def from_dict(cls, kept: dict[str, Any], interval: float = 60.0) -> ReplyCheckpoint:
        """Return the place that :meth:`as_dict` wrote down."""
        made = cls(kept["since"], interval)
        for object_id, taken in kept["taken"].items():
            if isinstance(taken, dict):
                made._taken[object_id] = dict(taken)
            else:
                moment, ids = taken
                made._floor[object_id] = moment
                made._taken[object_id] = dict.fromkeys(ids, moment)
        made._behind = dict(kept.get("behind", {}))
        return made

    def as_dict(self) -> dict[str, Any]:
        """Return the place as plain JSON-able values, no larger than the answers of the last minutes."""
        kept: dict[str, Any] = {"since": self.since, "taken": {key: dict(taken) for key, taken in self._taken.items()}}
        return {**kept, "behind": dict(self._behind)} if self._behind else kept

    def begin(self, since: float) -> None:
        """
        Say by the clock of Cirrus from when on answers are new; nothing was taken yet.

        :param since: Unix seconds
        """
        self.since = since

    def changed(self, listed: Iterable[Conversation], now: float) -> list[str]:
        """
        Return the ids of the conversations that have to be read: those that the listing shows otherwise than before.

        Whether the listing shows an answer at all is not documented; we rely on ``updatedTime`` to move on.

        :param now: of any clock, in seconds; for those that could not be read
        """
        marks = {conversation.object_id: conversation for conversation in listed}
        for kept in (self._listed, self._behind, self._postponed):
            for gone in [object_id for object_id in kept if object_id not in marks]:
                del kept[gone]
        return [
            object_id
            for object_id, conversation in marks.items()
            if self._postponed.get(object_id, (None, now))[1] <= now and self._is_news(conversation)
        ]

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
        taken, mark = self._taken.get(object_id, {}), _marker()
        new = [
            (moment, name, child)
            for moment, _, child in timed
            if (name := mark(child, moment)) not in taken and self._is_late_enough(object_id, moment)
        ]
        if new:
            self._taken[object_id] = {**taken, **{name: moment for moment, name, _ in new}}
        self._listed[object_id] = _fingerprint(listed)
        self._behind.pop(object_id, None)
        self._postponed.pop(object_id, None)
        return [
            {
                "object_id": object_id,
                "message": child.message,
                "message_id": child.id,
                "time": child.created_time,
                "status": status_name(conversation.status_id),
                "status_id": conversation.status_id,
            }
            for _, _, child in new
        ]

    def skip(self, listed: Conversation) -> None:
        """Take note that a conversation is gone."""
        self._listed[listed.object_id] = _fingerprint(listed)

    def postpone(self, object_id: str, error: BaseException, now: float) -> float:
        """
        Take note that a conversation cannot be read; return the seconds after which it is looked at again.

        What it holds from now on is new whenever it can be read.
        """
        backoff, _ = self._postponed.get(object_id, (PollBackoff(self._interval), now))
        backoff.failed(error)
        self._postponed[object_id] = (backoff, now + backoff.wait)
        self._behind.setdefault(object_id, self.since)
        return backoff.wait

    def advance(self) -> None:
        """Move on, after all that was listed has been looked at."""
        newest = max((moment for taken in self._taken.values() for moment in taken.values()), default=0.0)
        self.since = max(self.since, newest - self.OVERLAP)
        for object_id, taken in list(self._taken.items()):
            since = self._behind.get(object_id, self.since)
            if kept := {name: moment for name, moment in taken.items() if moment >= since}:
                self._taken[object_id] = kept
            else:
                del self._taken[object_id]
        self._floor = {object_id: moment for object_id, moment in self._floor.items() if moment >= self.since}

    def _is_news(self, conversation: Conversation) -> bool:
        object_id = conversation.object_id
        known = self._listed.get(object_id)
        if known is not None:
            return known != _fingerprint(conversation)
        updated = unix_time(conversation.updated_time)
        return updated is None or updated >= self._behind.get(object_id, self.since)

    def _is_late_enough(self, object_id: str, moment: float) -> bool:
        return moment >= max(self._behind.get(object_id, self.since), self._floor.get(object_id, 0.0))


def _marker() -> Callable[[ChildMessage, float], str]:
    """Return what names the messages of a conversation: by id, or else by time, text, and how many are alike."""
    alike: Counter[str] = Counter()

    def mark(child: ChildMessage, moment: float) -> str:
        if child.id:
            return child.id
        # Of what somebody wrote, only a hash is kept.
        text = hashlib.blake2b((child.message or "").encode("utf-8", "replace"), digest_size=8).hexdigest()
        name = f"{moment:.3f} {text}"
        alike[name] += 1
        return f"{name} {alike[name]}"

    return mark


def _fingerprint(conversation: Conversation) -> int:
    return hash(conversation.model_dump_json())
