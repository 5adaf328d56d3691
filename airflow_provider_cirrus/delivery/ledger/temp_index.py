"""What is known of each key during a run, on disk: memory must not grow with the audience."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, repeat

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.sql.temporary import temporary_database

_CHUNK = 5_000
# The enumeration's own look-up by value costs as much as reading the row.
_OUTCOME = {outcome.value: outcome for outcome in Outcome}
_COLUMNS = "key, place, outcome, message_id, object_id, code, reason, attempt, time"
# Pages kept in memory, in KiB.
_CACHE = 6144


class TempIndex:
    """
    The keys of a run and what earlier tries left of them; gone when it is closed, or with the process.

    Used by one thread. Losing it loses nothing: the ledger is what is durable.
    """

    def __init__(self) -> None:
        self._rows = temporary_database(_CACHE)
        self._rows.execute(
            "CREATE TABLE known (key BLOB PRIMARY KEY, place INT, outcome TEXT, message_id TEXT, object_id TEXT, "
            "code INT, reason TEXT, attempt INT, time REAL) WITHOUT ROWID"
        )
        # A bit for each that an earlier try left: to write into the rows would take longer than to read them.
        self._seen = bytearray()
        # One transaction for all: nothing here needs to survive.
        self._rows.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._rows.close()

    def load(self, entries: Iterable[tuple[bytes, Entry]]) -> int:
        """Take over what a ledger remembers, the last of a key overruling the others; return the number of keys."""
        entries = iter(entries)
        # Of one key mostly an intent and, a little later, its outcome: a dict leaves one of them.
        while chunk := dict(islice(entries, _CHUNK)):
            first = 8 * len(self._seen)
            self._rows.executemany(
                "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, place, e.outcome.value, e.message_id, e.object_id, e.code, e.reason, e.attempt, e.time)
                    for place, (key, e) in enumerate(chunk.items(), first)
                ],
            )
            self._seen += bytes(len(chunk) // 8 + 1)
        (count,) = self._rows.execute("SELECT count(*) FROM known").fetchone()
        return int(count)

    def interrupted(self) -> int:
        """Return how many messages earlier tries were about to send when they were cut off."""
        unknown = Outcome.UNKNOWN.value
        (count,) = self._rows.execute(
            "SELECT count(*) FROM known WHERE outcome = ? AND time = 0", (unknown,)
        ).fetchone()
        return int(count)

    def check_and_mark(self, keys: Sequence[bytes], claims: Sequence[bool] | None = None) -> list[Entry | bool]:
        """
        Take note of messages of the audience.

        :param keys: up to 500
        :param claims: for each, whether note is taken of it; where not, it is only looked up, and whoever comes later
            with the same key is new. None: of all
        :return: for each, True where it is new; False where it stood in the audience before; else what an earlier
            try left
        """
        marks = ", ".join("?" * len(keys))
        query = f"SELECT {_COLUMNS} FROM known WHERE key IN ({marks})"  # noqa: S608  (only question marks)
        known = {row[0]: row[1:] for row in self._rows.execute(query, keys)}
        found: list[Entry | bool] = []
        new: dict[bytes, None] = {}
        for key, is_claimed in zip(keys, claims or repeat(True, len(keys)), strict=True):
            row = known.get(key)
            if row is not None:
                place, outcome, *rest = row
                found.append(self._see(place, is_claimed) and Entry(_OUTCOME[outcome], *rest))
            else:
                found.append(key not in new)
                if is_claimed:
                    new[key] = None
        if new:
            # In one statement, as after each of them the interpreter is somebody else's for a while.
            self._rows.execute(f"INSERT INTO known (key) VALUES {', '.join(['(?)'] * len(new))}", [*new])  # noqa: S608
        return found

    def _see(self, place: int | None, is_claimed: bool) -> bool:
        """Return whether what an earlier try left is seen for the first time; take note of it where it is claimed."""
        if place is None:
            return False
        byte, bit = divmod(place, 8)
        is_new = not self._seen[byte] >> bit & 1
        if is_claimed:
            self._seen[byte] |= 1 << bit
        return is_new
