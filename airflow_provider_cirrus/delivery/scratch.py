"""What is known of each key during a run, on disk: memory must not grow with the audience."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger import Entry

_CHUNK = 1000
# Pages kept in memory, in KiB.
_CACHE = 8192


class Scratch:
    """
    The keys of a run and what earlier tries left of them; gone when it is closed.

    Used by one thread. Losing it loses nothing: the ledger is what is durable.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cirrus-")
        self._rows = sqlite3.connect(Path(self._folder.name) / "keys", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE}", "locking_mode=EXCLUSIVE"):
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.execute(
            "CREATE TABLE known (key BLOB PRIMARY KEY, seen INT, outcome TEXT, message_id TEXT, object_id TEXT, "
            "code INT, reason TEXT, attempt INT, time REAL) WITHOUT ROWID"
        )
        # One transaction for all: nothing here needs to survive.
        self._rows.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._rows.close()
        self._folder.cleanup()

    def load(self, entries: Iterable[tuple[bytes, Entry]]) -> int:
        """Take over what a ledger remembers, the last of a key overruling the others; return the number of keys."""
        entries = iter(entries)
        while chunk := list(islice(entries, _CHUNK)):
            self._rows.executemany(
                "INSERT OR REPLACE INTO known VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, e.outcome.value, e.message_id, e.object_id, e.code, e.reason, e.attempt, e.time)
                    for key, e in chunk
                ],
            )
        (count,) = self._rows.execute("SELECT count(*) FROM known").fetchone()
        return int(count)

    def see(self, key: bytes) -> Entry | bool:
        """
        Take note of a message of the audience.

        :return: True where it is new; False where it stood in the audience before; else what an earlier try left
        """
        row = self._rows.execute(
            "SELECT seen, outcome, message_id, object_id, code, reason, attempt, time FROM known WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            self._rows.execute("INSERT INTO known (key, seen) VALUES (?, 1)", (key,))
            return True
        if row[0]:
            return False
        self._rows.execute("UPDATE known SET seen = 1 WHERE key = ?", (key,))
        _, outcome, *rest = row
        return Entry(Outcome(outcome), *rest)
