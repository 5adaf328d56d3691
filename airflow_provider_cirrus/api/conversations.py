"""
What a conversation says, and how to look at conversations again and again: no I/O, shared by all who wait.

A wait may end by a status or by an answer of the customer; both are read here, in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput, UnreadableAnswer
from airflow_provider_cirrus.api.results import ChildMessage, Conversation
from airflow_provider_cirrus.api.schedule import to_unix

#: Status names as the console shows them, by number.
STATUSES = {
    1: "Open",
    2: "Resolved",
    3: "Forward",
    4: "Irrelevant",
    5: "Deleted",
    6: "Forward Reply",
    7: "Draft",
    8: "In Process",
    9: "Scheduled",
    10: "Follow Up",
    11: "Automated",
    13: "Sent",
    14: "Archive",
    15: "Pending",
}

#: Most conversations in one answer.
MOST_LISTED = 100

_BY_NAME = {name.replace(" ", "").lower(): number for number, name in STATUSES.items()}


def status_id(value: Any, field: str = "status") -> int:
    """
    Return the number of a status.

    :param value: its name in any case, with or without spaces, or its number; an unknown number is kept
    :param field: how errors name the value
    :raises InvalidInput: no status
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdecimal() and int(text) > 0:
            return int(text)
        if number := _BY_NAME.get("".join(c for c in text.lower() if c not in " _-")):
            return number
    raise InvalidInput(field, f"{value!r} is no status.", hint=f"Known are {', '.join(STATUSES.values())}.")


def status_name(number: int | None) -> str | None:
    """Return the name of a status, or its number as text where it has none."""
    return None if number is None else STATUSES.get(number, str(number))


@dataclass(frozen=True)
class WaitCondition:
    """
    What a wait is for: one of some statuses, or an answer of the customer, whichever comes first.

    :param statuses: their numbers
    :param reply: whether an answer ends the wait
    :param since: Unix seconds; what the customer wrote before does not count. None: all of it counts
    :param own: ids of messages that we sent, whatever Cirrus says of who wrote them
    """

    statuses: tuple[int, ...] = ()
    reply: bool = False
    since: int | None = None
    own: tuple[str, ...] = ()

    @classmethod
    def build(
        cls, status: Any = None, reply: bool = False, since: Any = None, own: Iterable[str] = ()
    ) -> WaitCondition:
        """
        Return what is awaited, from what users write.

        :param status: a name, a number, or a list of them
        :param since: aware datetime, ISO 8601 text with a zone, or Unix seconds
        :raises InvalidInput: nothing is awaited, or a value cannot be read
        """
        given = list(status) if isinstance(status, list | tuple | set) else [] if status in (None, "") else [status]
        if not given and not reply:
            raise InvalidInput("status", "is missing.", hint="Give a status to wait for, or reply=True, or both.")
        return cls(
            tuple(status_id(value) for value in given),
            reply,
            None if since in (None, "") else to_unix(since, "since"),
            tuple(own),
        )

    def find(self, conversation: Conversation) -> dict[str, Any] | None:
        """
        Return what was seen where the wait is over, as plain JSON-able values, or None.

        :return: ``{"object_id", "reached": "reply" | "status", "status", "status_id", "message", "time"}``; the
            last two are the newest message of the customer and when it came, or None
        :raises UnreadableAnswer: a message that may matter has no time that can be read
        """
        written = self._replies(conversation)
        if self.reply and written:
            reached = "reply"
        elif conversation.status_id in self.statuses:
            reached = "status"
        else:
            return None
        newest = written[-1] if written else None
        return {
            "object_id": conversation.object_id,
            "reached": reached,
            "status": status_name(conversation.status_id),
            "status_id": conversation.status_id,
            "message": newest.message if newest else None,
            "time": newest.created_time if newest else None,
        }

    def _replies(self, conversation: Conversation) -> list[ChildMessage]:
        """Return the customer's messages that count, oldest first: their order is not documented."""
        written = [child for child in replies_in(conversation) if child.id not in self.own]
        if self.since is None and len(written) < 2:
            return written
        timed = sorted(((time_of(child), place, child) for place, child in enumerate(written)), key=lambda t: t[:2])
        return [child for moment, _, child in timed if self.since is None or moment >= self.since]


def replies_in(conversation: Conversation) -> list[ChildMessage]:
    """Return what the customer wrote, as far as Cirrus says who wrote what."""
    return [child for child in conversation.childs if child.from_customer]


def time_of(child: ChildMessage) -> float:
    """
    Return when a message came, in Unix seconds.

    :raises UnreadableAnswer: Cirrus does not say
    """
    moment = unix_time(child.created_time)
    if moment is None:
        raise UnreadableAnswer(
            "Cirrus gives a message of the conversation a time that cannot be read "
            f"({len(child.created_time or '')} characters).",
            hint="Look at the conversation in the console.",
        )
    return moment


def unix_time(text: str | None) -> float | None:
    """Return a time of Cirrus in Unix seconds, or None; one without a zone is UTC, as all that is documented."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def conversation_id(value: Any, field: str = "object_id") -> tuple[str, tuple[str, ...]]:
    """
    Return a conversation's id, and the ids of our messages in it as far as they are known.

    :param value: the id as text or int, an outcome of a send, or the result of a send of one message
    :param field: how errors name the value
    :raises InvalidInput: none of these, or a send that opened no conversation
    """
    hint = "Give the id as text or int, or the output of a send of one message."
    if isinstance(value, Mapping) and "outcomes" in value:
        outcomes = value["outcomes"]
        if not isinstance(outcomes, list) or len(outcomes) != 1:
            raise InvalidInput(
                field,
                f"is the result of a send of {value.get('total', 'several')} messages.",
                hint="Give one outcome's object_id; expand() the sensor over several.",
            )
        value = outcomes[0]
    if isinstance(value, Mapping):
        if not value.get("object_id"):
            raise InvalidInput(
                field,
                f"is of a send that opened no conversation (outcome {value.get('outcome')!r}).",
                hint="Give the send object_data, and look at its outcome before.",
            )
        own = value.get("message_id")
        return str(value["object_id"]), (str(own),) if own else ()
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value), ()
    if not isinstance(value, str):
        raise InvalidInput(field, f"is of type {type(value).__name__}.", hint=hint)
    text = value.strip()
    # A missing XCom renders to the word None.
    if not text or text == "None" or any(c.isspace() or c in "{}[]/" for c in text) or text in (".", ".."):
        raise InvalidInput(field, f"is no id of a conversation ({len(text)} characters).", hint=hint)
    return text, ()


class PollBackoff:
    """
    When to look again: after the usual interval, and more slowly while Cirrus is busy or away.

    :param interval: seconds between two looks
    """

    #: Most seconds between two looks because of failures alone.
    LONGEST = 600.0
    #: Most seconds that a server's Retry-After is obeyed: beyond, it is more likely a slip than a wish.
    LONGEST_ASKED = 3600.0

    def __init__(self, interval: float) -> None:
        self.interval = interval
        #: Seconds until the next look.
        self.wait = interval
        self._failures = 0

    def succeeded(self) -> None:
        """Take note of a look that was answered."""
        self._failures = 0
        self.wait = self.interval

    def failed(self, error: BaseException) -> None:
        """Take note of a look that failed in passing."""
        self._failures += 1
        grown = max(self.interval, 1.0) * 2.0 ** min(self._failures, 16)
        self.wait = max(self.interval, min(grown, self.LONGEST))
        asked = error.retry_after if isinstance(error, CirrusError) else None
        if asked is not None:
            self.wait = max(self.interval, min(asked, self.LONGEST_ASKED))


class Pager:
    """
    The walk over a span of time of which one answer lists no more than 100 conversations.

    Whether the span is over the time of creation or of change, whether its ends belong to it, and which 100
    come are not documented. So spans overlap, a full answer is kept and its span asked for again in halves,
    and a conversation that comes twice counts once, as it came last.

    :param start: Unix seconds
    :param end: Unix seconds
    :param cuts: Unix seconds at which to divide the span beforehand: :attr:`cuts` of an earlier walk, which spares the
        questions whose answers would be full
    """

    def __init__(self, start: int, end: int, cuts: Iterable[int] = ()) -> None:
        ends = [start - 1, *sorted(cut for cut in set(cuts) if start < cut < end), end + 1]
        # One second more at either end: were both shut out, what is of the cut itself would be in no span.
        self._open = [(left - bool(index), right) for index, (left, right) in enumerate(pairwise(ends))]
        self._conversations: dict[str, Conversation] = {}
        self._leaves: list[tuple[int, int, int]] = []
        #: Seconds that hold more conversations than can be listed.
        self.crowded: set[int] = set()
        #: Entries that are no conversations which can be read.
        self.unreadable = 0

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the spans to ask for; each answer goes to :meth:`take` before the next is asked for."""
        while self._open:
            self._asked = self._open.pop()
            yield self._asked

    def take(self, conversations: Iterable[Conversation], unreadable: int = 0) -> None:
        """
        Take the answer for the span that was yielded last.

        :param unreadable: how many of its entries are none that can be read
        """
        listed = list(conversations)
        self.unreadable += unreadable
        self._conversations.update((conversation.object_id, conversation) for conversation in listed)
        if len(listed) + unreadable < MOST_LISTED:
            self._leaves.append((*self._asked, len(listed)))
            return
        start, end = self._asked
        if end - start > 2:
            middle = (start + end) // 2
            # One second more than a half: were both ends shut out, the middle would be in neither.
            self._open += [(middle, end), (start, middle + 1)]
        elif end > start:
            self._open += [(second, second) for second in range(start, end + 1)]
        else:
            self.crowded.add(start)

    @property
    def conversations(self) -> list[Conversation]:
        """The conversations, each once."""
        return list(self._conversations.values())

    @property
    def cuts(self) -> list[int]:
        """Where to divide the same span next time, so that nearly every answer is well filled and none is full."""
        found: list[int] = []
        count = 0
        for start, _, listed in sorted(self._leaves):
            if found and count + listed > MOST_LISTED * 2 // 3:
                found.append(start + 1)
                count = 0
            elif not found:
                found.append(start + 1)
            count += listed
        return found[1:]

    @property
    def complaint(self) -> str:
        """What cannot be listed, for a person; empty where nothing is missing."""
        complaints = []
        if self.crowded:
            complaints.append(
                f"{len(self.crowded)} seconds hold {MOST_LISTED} conversations or more, and Cirrus lists no more of "
                "them: some may be missing."
            )
        if self.unreadable:
            complaints.append(f"{self.unreadable} entries of the listing are no conversations that can be read.")
        return " ".join(complaints)
