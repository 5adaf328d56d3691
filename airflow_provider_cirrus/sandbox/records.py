"""The messages that a sandbox has seen, accepted and refused: found by key, by id and by number."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import uuid
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.sandbox.answers import iso_utc
from airflow_provider_cirrus.sandbox.tally import Tally

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.send_body import Entry
    from airflow_provider_cirrus.templates.definitions import Definition

# Bytes of a record without its parameters.
_SIZE = 1_000


@dataclass(frozen=True)
class Origin:
    """
    With what a message came.

    :ivar request: the number of the request
    :ivar tags: such as ``dag:shop_news``
    """

    request: int
    tags: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class MessageRecord:
    """
    One message that came in.

    :ivar key: by which it is found here: ``"12"`` where it was accepted, ``"r3"`` where it was refused
    :ivar number: from 1, among the accepted or the refused
    :ivar outcome: ``accepted`` or ``refused``
    :ivar recipient: digits, with country code
    :ivar components_json: as they stood in the request; text, since what is parsed takes many times the memory
    :ivar object_data_json: the same; None: it is to open no conversation
    :ivar schedule: Unix seconds; None: now
    :ivar failed: why it was refused, as the answer says it
    :ivar received_at: ISO 8601 in UTC
    :ivar id: as the answer has it; None where it was refused
    :ivar object_id: the conversation that it opened, or went on with
    :ivar is_read: whether somebody has looked at it
    :ivar words: what a search looks for in its parameters and names; None: nobody has searched yet
    :ivar seen: what its recipient sees, and the definition that says so; None: nobody has asked yet
    """

    key: str
    number: int
    outcome: str
    recipient: str
    template: str
    language: str
    components_json: str
    object_data_json: str | None
    schedule: int | None
    failed: str | dict[str, Any] | None
    received_at: str
    origin: Origin
    id: str | None = None
    object_id: int | None = None
    is_read: bool = False
    words: str | None = None
    seen: tuple[Definition, str] | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it was accepted."""
        return self.outcome == "accepted"

    @property
    def components(self) -> list[dict[str, Any]]:
        """The components, the caller's own."""
        found: list[dict[str, Any]] = json.loads(self.components_json)
        return found

    @property
    def object_data(self) -> dict[str, Any] | None:
        """What the conversation was to be, the caller's own."""
        return None if self.object_data_json is None else json.loads(self.object_data_json)

    @property
    def request(self) -> int:
        """The number of the request that it came with."""
        return self.origin.request

    @property
    def tags(self) -> list[str]:
        """What it shares with others, such as ``template:order_update`` and ``dag:shop_news``."""
        return [f"template:{self.template}", *self.origin.tags]

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return _SIZE + len(self.components_json) + len(self.object_data_json or "")

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, which is then the caller's."""
        return {
            "key": self.key,
            "number": self.number,
            "outcome": self.outcome,
            "recipient": self.recipient,
            "template": self.template,
            "language": self.language,
            "components": self.components,
            "schedule": self.schedule,
            "object_data": self.object_data,
            "id": self.id,
            "object_id": self.object_id,
            "failed": copy.deepcopy(self.failed),
            "received_at": self.received_at,
            "request": self.request,
            "tags": self.tags,
            "read": self.is_read,
        }


def record_for(entry: Entry, outcome: str, number: int, origin: Origin, **more: Any) -> MessageRecord:
    """
    Return the record of a message that has come in now.

    :param number: from 1, among the accepted or the refused
    :param more: its ``id``, or why it ``failed``
    """
    object_data = entry.object_data
    return MessageRecord(
        key=str(number) if outcome == "accepted" else f"r{number}",
        number=number,
        outcome=outcome,
        recipient=entry.recipient,
        template=entry.template,
        language=entry.language,
        components_json=json.dumps(entry.components, ensure_ascii=False),
        object_data_json=None if object_data is None else json.dumps(object_data, ensure_ascii=False),
        schedule=entry.schedule,
        received_at=iso_utc(),
        origin=origin,
        **{"failed": None, **more},
    )


def record_of(data: dict[str, Any]) -> MessageRecord:
    """Return the record that plain data was made of."""
    object_data = data["object_data"]
    return MessageRecord(
        key=data["key"],
        number=data["number"],
        outcome=data["outcome"],
        recipient=data["recipient"],
        template=data["template"],
        language=data["language"],
        components_json=json.dumps(data["components"], ensure_ascii=False),
        object_data_json=None if object_data is None else json.dumps(object_data, ensure_ascii=False),
        schedule=data["schedule"],
        failed=data["failed"],
        received_at=data["received_at"],
        origin=Origin(data["request"], tuple(data["tags"][1:])),
        id=data["id"],
        object_id=data["object_id"],
        is_read=data["read"],
    )


class Records:
    """
    Messages in the order in which they came in; the oldest go first. Not safe for threads: the store locks.

    :param keep: most messages
    :param keep_bytes: most bytes of all of them, about
    """

    def __init__(self, keep: int, keep_bytes: int) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self.tally = Tally()
        self._by_key: OrderedDict[str, MessageRecord] = OrderedDict()
        self._by_id: dict[str, MessageRecord] = {}
        # In the order of the newest message of each, the newest last.
        self._by_recipient: OrderedDict[str, deque[MessageRecord]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[MessageRecord]:
        """Yield them, oldest first."""
        return iter(self._by_key.values())

    def add(self, record: MessageRecord) -> list[MessageRecord]:
        """Add a message; return those that had to go for it."""
        self._by_key[record.key] = record
        self._bytes += record.size
        self.tally.add(record)
        if record.id is not None:
            self._by_id[record.id] = record
        self._by_recipient.setdefault(record.recipient, deque()).append(record)
        self._by_recipient.move_to_end(record.recipient)
        gone = []
        while len(self._by_key) > self._keep or (self._bytes > self._keep_bytes and len(self._by_key) > 1):
            gone.append(self._drop_oldest())
        return gone

    def drop_before(self, moment: str) -> list[MessageRecord]:
        """Drop what came in before a moment, in ISO 8601 as records have it; return what went."""
        gone = []
        while self._by_key and next(iter(self)).received_at < moment:
            gone.append(self._drop_oldest())
        return gone

    def remove(self, keys: Collection[str]) -> list[MessageRecord]:
        """Remove messages by their keys; return those that were there."""
        gone = [self._by_key.pop(key) for key in keys if key in self._by_key]
        for record in gone:
            self._uncount(record)
        for recipient in {record.recipient for record in gone}:
            left = deque(one for one in self._by_recipient[recipient] if one.key in self._by_key)
            if left:
                self._by_recipient[recipient] = left
            else:
                del self._by_recipient[recipient]
        return gone

    def mark(self, record: MessageRecord, is_read: bool) -> None:
        """Remember that somebody has looked at a message, or has not."""
        self.tally.remove(record)
        record.is_read = is_read
        self.tally.add(record)

    def find(self, key: str) -> MessageRecord | None:
        """Return a message by its key or by the id that Cirrus gave it; None where it is not kept."""
        return self._by_key.get(key) or self._by_id.get(key)

    def to(self, recipient: str) -> list[MessageRecord]:
        """Return what went to a number, in digits, oldest first."""
        return list(self._by_recipient.get(recipient, ()))

    def recipients(self) -> Iterable[str]:
        """Return who is among the recipients, who got something last first."""
        return reversed(self._by_recipient)

    def _drop_oldest(self) -> MessageRecord:
        _, record = self._by_key.popitem(last=False)
        self._uncount(record)
        same = self._by_recipient[record.recipient]
        same.popleft()
        if not same:
            del self._by_recipient[record.recipient]
        return record

    def _uncount(self, record: MessageRecord) -> None:
        self._bytes -= record.size
        self.tally.remove(record)
        if record.id is not None:
            del self._by_id[record.id]


def message_id(number: int) -> str:
    """Return the opaque ID of message ``number``; the three styles seen at the vendor take turns."""
    if number % 3 == 1:
        return str(690_000_000_000 + number * 17)
    if number % 3 == 2:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"cirrus-sandbox-{number}"))
    digest = hashlib.sha256(f"cirrus-sandbox-{number}".encode()).digest()
    return "wamid." + base64.b64encode(digest[:22]).decode()


def digits_of(number: str) -> str:
    """Return the digits of a number as somebody wrote it."""
    return "".join(filter(str.isdigit, number))


def fingerprint(recipient: str, template: str, components: list[Any]) -> int:
    """Return what tells a message from all that are not the same again, in eight bytes."""
    text = json.dumps([recipient, template, components], sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
