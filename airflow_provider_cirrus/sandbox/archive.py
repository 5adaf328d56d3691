"""What a sandbox remembers when it has ended: a SQLite file, written behind what is served."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

# Seconds between two writes: what a sandbox that is killed loses of the newest.
_PERIOD = 0.5
# Tell our files from others, and from those of another version.
_APPLICATION, _FORMAT = 0x43495252, 1

_TABLES = (
    "CREATE TABLE items (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (kind, key))",
    "CREATE TABLE media (id TEXT PRIMARY KEY, content BLOB NOT NULL)",
)
# A value that is put again keeps its place.
_PUT = (
    "INSERT INTO items (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
)
_DROP = "DELETE FROM items WHERE kind = ? AND key = ?"
_PUT_MEDIA = "INSERT OR REPLACE INTO media (id, content) VALUES (?, ?)"
_DROP_MEDIA = "DELETE FROM media WHERE id = ?"


class ArchiveError(OSError):
    """The file cannot be used; says why, and what to do."""


class Archive:
    """
    Keeps JSON values by kind and key, in the order in which they were first put, and the content of media.

    What is put is written by a thread, at the latest when it is closed.

    :param path: of the file; made where there is none
    :raises ArchiveError: another sandbox uses it, or it holds something else
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Value by kind and key, content by id; None: it is to go.
        self._items: dict[tuple[str, str], str | None] = {}
        self._media: dict[str, bytes | None] = {}
        self._clears = False
        self._stopping = threading.Event()
        #: Why the last write failed; None: it did not.
        self.problem: str | None = None
        self._connection = _open(path)
        self._writer = threading.Thread(target=self._write_behind, name="cirrus-sandbox-data", daemon=True)
        self._writer.start()

    def load(self, kind: str) -> dict[str, Any]:
        """Return the values of a kind by key, in their order."""
        rows = self._connection.execute("SELECT key, value FROM items WHERE kind = ? ORDER BY rowid", (kind,))
        return {key: json.loads(value) for key, value in rows}

    def load_bytes(self) -> dict[str, bytes]:
        """Return the content of media by id, in their order."""
        return dict(self._connection.execute("SELECT id, content FROM media ORDER BY rowid"))

    def put(self, kind: str, key: str, value: Any) -> None:
        """Keep a value, as it is now."""
        text = json.dumps(value)
        with self._lock:
            self._items[kind, key] = text

    def drop(self, kind: str, key: str) -> None:
        """Forget a value."""
        with self._lock:
            self._items[kind, key] = None

    def put_bytes(self, media_id: str, content: bytes) -> None:
        """Keep the content of media."""
        with self._lock:
            self._media[media_id] = content

    def drop_bytes(self, media_id: str) -> None:
        """Forget the content of media."""
        with self._lock:
            self._media[media_id] = None

    def drop_all(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items, self._media, self._clears = {}, {}, True

    def close(self) -> None:
        """
        Write what is left, and let the file go.

        :raises ArchiveError: it could not be written
        """
        self._stopping.set()
        self._writer.join()
        self._write()
        self._connection.close()
        if self.problem is not None:
            raise ArchiveError(f"{self._path} lacks what came in last: {self.problem}")

    def _write_behind(self) -> None:
        while not self._stopping.wait(_PERIOD):
            self._write()

    def _write(self) -> None:
        with self._lock:
            items, media, clears = self._items, self._media, self._clears
            self._items, self._media, self._clears = {}, {}, False
        if not (items or media or clears):
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                self._change(items, media, clears)
        except sqlite3.Error as exc:
            self.problem = str(exc)
            with self._lock:
                # Tried again with the next; what has changed since stands.
                if not self._clears:
                    self._items = {**items, **self._items}
                    self._media = {**media, **self._media}
                    self._clears = clears
        else:
            self.problem = None

    def _change(self, items: dict[tuple[str, str], str | None], media: dict[str, bytes | None], clears: bool) -> None:
        run = self._connection
        if clears:
            run.execute("DELETE FROM items")
            run.execute("DELETE FROM media")
        run.executemany(_DROP, [key for key, value in items.items() if value is None])
        run.executemany(_PUT, [(*key, value) for key, value in items.items() if value is not None])
        run.executemany(_DROP_MEDIA, [(key,) for key, content in media.items() if content is None])
        run.executemany(_PUT_MEDIA, [(key, content) for key, content in media.items() if content is not None])


def _open(path: str) -> sqlite3.Connection:
    if not Path(path).parent.is_dir():
        raise ArchiveError(f"{path} is in no folder that exists")
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # For as long as it is open: two sandboxes would each number their messages from the same number on.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A machine that loses its power may take the newest with it; it is a tool for trying things out.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN EXCLUSIVE")
        _prepare(connection, path)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as exc:
        connection.close()
        hint = "another sandbox uses it" if "locked" in str(exc) else str(exc)
        raise ArchiveError(f"{path} cannot be used: {hint}") from exc
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise ArchiveError(f"{path} holds something else: {exc}; name another file") from exc
    except ArchiveError:
        connection.close()
        raise
    # Messages hold names and numbers.
    Path(path).chmod(0o600)
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    (application,), (version,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    elif application != _APPLICATION:
        raise ArchiveError(f"{path} holds the tables of something else; name another file")
    elif version != _FORMAT:
        raise ArchiveError(f"{path} is of format {version}, not {_FORMAT}: of another version; name another file")
