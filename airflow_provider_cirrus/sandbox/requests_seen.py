"""The requests that a sandbox has seen: as many as are kept, and of their bodies what there is room for."""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from typing import Any


class RequestRecord:
    """One request to the API, filled in while it is served."""

    def __init__(self, number: int, seen: dict[str, Any]) -> None:
        self.number = number
        self.seen = seen
        self.body: bytes | None = None
        self.status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data; a body that is not JSON, or not kept any more, is ``None``."""
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


class RequestsSeen:
    """
    Requests in the order in which they came in; the oldest go first. Not safe for threads: the store locks.

    :param keep: most requests
    :param keep_bytes: most bytes of their bodies
    """

    def __init__(self, keep: int, keep_bytes: int) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._records: deque[RequestRecord] = deque()
        self._with_body: OrderedDict[int, RequestRecord] = OrderedDict()

    def open(self, number: int, seen: dict[str, Any]) -> RequestRecord:
        """Record that a request came in, now."""
        record = RequestRecord(number, {**seen, "time": time.time()})
        self._records.append(record)
        if len(self._records) > self._keep:
            self._forget_body(self._records.popleft())
        return record

    def keep_body(self, record: RequestRecord, body: bytes) -> None:
        """Keep the body of a request, in the place of the oldest ones where it is too much."""
        record.body = body
        self._with_body[record.number] = record
        self._bytes += len(body)
        while self._bytes > self._keep_bytes and len(self._with_body) > 1:
            self._forget_body(next(iter(self._with_body.values())))

    def drop_before(self, moment: float) -> None:
        """Drop what came in before a moment, in Unix seconds."""
        while self._records and self._records[0].seen["time"] < moment:
            self._forget_body(self._records.popleft())

    def all(self) -> list[RequestRecord]:
        """Return them, oldest first."""
        return list(self._records)

    def find(self, number: int) -> RequestRecord | None:
        """Return a request by its number; None where it is not kept."""
        # They are numbered without a gap.
        place = number - self._records[0].number if self._records else -1
        return self._records[place] if 0 <= place < len(self._records) else None

    def about(self, number: str) -> list[RequestRecord]:
        """Return those that name a phone number, in digits."""
        # As JSON has it, right or wrong.
        written = (f'"{number}"'.encode(), f'"+{number}"'.encode())
        return [
            one
            for one in self._records
            if str(one.seen["path"]).endswith(f"/{number}")
            or (one.body is not None and any(text in one.body for text in written))
        ]

    def _forget_body(self, record: RequestRecord) -> None:
        if self._with_body.pop(record.number, None) is not None and record.body is not None:
            self._bytes -= len(record.body)
            record.body = None
