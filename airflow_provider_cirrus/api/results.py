"""
What comes back: one result per message, and the answers to the other calls.

The outcomes are those of docs/delivery.md. Cirrus cannot tell whether a message reached a telephone or was
read: ``accepted`` is the most that is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_provider_cirrus.api.errors import CirrusError


class Sent(StrEnum):
    """Whether a message with an outcome left, as far as can be known."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


class Outcome(StrEnum):
    """
    What became of one message; every message ends in exactly one of these.

    All that tell outcomes apart go by what stands beside each here.

    :ivar letter: by which ledgers store it; never given anew
    :ivar sent: whether it was sent
    :ivar is_answered: whether Cirrus itself has said so: then nothing that is known later overrules it
    :ivar fails: whether it counts against ``max_failed``
    :ivar told_by: what its messages are counted by in a result's last line: ``rule``, ``code`` or nothing
    """

    letter: str
    sent: Sent
    is_answered: bool
    fails: bool
    told_by: str

    def __new__(
        cls,
        value: str,
        letter: str = "",
        sent: Sent = Sent.NO,
        is_answered: bool = False,
        fails: bool = False,
        told_by: str = "",
    ) -> Self:
        """Make an outcome of its name and what is known of it."""
        made = str.__new__(cls, value)
        made._value_ = value
        made.letter, made.sent, made.is_answered, made.fails = letter, sent, is_answered, fails
        made.told_by = told_by
        return made

    #: Cirrus took it and gave an id
    ACCEPTED = "accepted", "a", Sent.YES, True
    #: refused for good, with the reason
    REJECTED = "rejected", "r", Sent.NO, True, True, "code"
    #: a rule of ours held it back
    SUPPRESSED = "suppressed", "s", Sent.NO, False, False, "rule"
    #: the same message stands in the audience twice; sent once
    DUPLICATE = "duplicate", "d", Sent.NO
    #: it may or may not have been sent; never repeated by itself
    UNKNOWN = "unknown", "u", Sent.MAYBE, False, True
    #: certainly not sent; a later try may
    UNSENT = "unsent", "n", Sent.NO


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _text_or_none(value: Any) -> Any:
    """Return a text; of what is none, nothing: it must not hide what stands beside it."""
    value = _as_text(value)
    return value if isinstance(value, str) else None


def _moment(value: Any) -> Any:
    """Return a time as it is documented, as text; a number counts as Unix time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # What is in milliseconds would be tens of thousands of years away.
        seconds = value / 1000 if abs(value) >= _MILLISECONDS else value
        try:
            return datetime.fromtimestamp(seconds, UTC).isoformat()
        except (OverflowError, ValueError, OSError):
            return None
    return value if isinstance(value, str) else None


def _status(value: Any) -> Any:
    """Return a status by its number; one that is given by its name, or that is none, counts as not known."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object_or_none(value: Any) -> Any:
    return value if isinstance(value, Mapping) else None


_MILLISECONDS = 100_000_000_000
Text = Annotated[str | None, BeforeValidator(_text_or_none)]
Moment = Annotated[str | None, BeforeValidator(_moment)]


#: Ids are opaque; they are seen as numbers, UUIDs and base64-like texts.
Opaque = Annotated[str, BeforeValidator(_as_text)]


class Answer(BaseModel):
    """Base of all that comes in: what is not known here is kept, not refused."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class Envelope(Answer):
    """The envelope around every documented answer."""

    status: Opaque = ""
    description: str | None = None
    response_time: str | None = None
    data: Any = None


class Result(NamedTuple):
    """The outcome of one message, in the words of the report."""

    recipient: str  #: digits with country code
    outcome: Outcome
    message_id: str | None = None  #: Cirrus's id, opaque
    object_id: str | None = None  #: the conversation that it opened
    code: int | None = None  #: Meta's error code, where one was given
    reason: str | None = None  #: why it is not accepted

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON-able values."""
        return {**self._asdict(), "outcome": self.outcome.value}


@dataclass(frozen=True)
class SendResult:
    """
    What one send request came to.

    :ivar results: one per message, in the order of the messages
    :ivar error: why the request as a whole did not succeed; None where Cirrus judged each message by itself
    :ivar stop: True where no further message could succeed either: the account or the token
    :ivar split: True where the request was refused for one of several messages, and not for which; all are unsent,
        and to be sent again in halves
    :ivar blocked: template and language of which no further message could succeed
    """

    results: tuple[Result, ...]
    error: CirrusError | None = None
    stop: bool = False
    split: bool = False
    blocked: frozenset[tuple[str, str]] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """The number of messages by outcome, without the outcomes that nobody had."""
        return dict(Counter(result.outcome.value for result in self.results))


class Upload(Answer):
    """A file that Cirrus took; the id belongs to the sending number and lives 30 days (Meta)."""

    # Half an id would be another one.
    id: Opaque = Field(min_length=1, max_length=256)
    filename: str | None = None


class ContactCheck(Answer):
    """
    Whether a number is on WhatsApp, as far as Cirrus says.

    ``valid`` is None where it did not decide (an older deployment's ``processing`` or ``failed``).
    """

    valid: bool | None
    status: str | None = None
    wa_id: Opaque | None = None


class ChildMessage(Answer):
    """One message of a conversation."""

    id: Text = None
    message: Text = None
    created_time: Moment = Field(default=None, alias="createdTime")
    user: Annotated[dict[str, Any] | None, BeforeValidator(_object_or_none)] = None

    @property
    def from_customer(self) -> bool:
        """Whether the customer wrote it: not where Cirrus does not say who did."""
        return self.user is not None and not self.user.get("isManager", False)


class Conversation(Answer):
    """A conversation (in Cirrus: object). ``status_id``: see :class:`~.models.ObjectData`."""

    object_id: Opaque = Field(alias="objectId")
    stream_id: Text = Field(default=None, alias="streamid")
    status_id: Annotated[int | None, BeforeValidator(_status)] = Field(default=None, alias="statusId")
    message: Text = None
    created_time: Moment = Field(default=None, alias="createdTime")
    updated_time: Moment = Field(default=None, alias="updatedTime")
    assigned_manager_id: Text = Field(default=None, alias="assignedManagerId")
    user: Annotated[dict[str, Any] | None, BeforeValidator(_object_or_none)] = None
    childs: list[ChildMessage] = Field(default_factory=list)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Conversation:
        """
        Return a conversation; its messages are documented under ``user`` and shown beside it: both are read.

        What is of another kind than documented counts as not there; only without an id it is no conversation.

        :raises ValidationError: it has none
        """
        user = data.get("user")
        places = (data.get("childs"), user.get("childs") if isinstance(user, Mapping) else None)
        children: dict[Any, Mapping[str, Any]] = {}
        for place in places:
            for index, child in enumerate(place if isinstance(place, list) else ()):
                if isinstance(child, Mapping):
                    # By id, as both places may show the same message; without one, as it stands there.
                    name = str(child["id"]) if child.get("id") else (index, str(sorted(child.items(), key=str)))
                    children.setdefault(name, child)
        return cls.model_validate({**data, "childs": list(children.values())})
