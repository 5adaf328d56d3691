"""SQLite for the time of a run: memory must not grow with the audience, nor with a list."""

from __future__ import annotations

import sqlite3


def temporary_database(cache: int) -> sqlite3.Connection:
    """
    Return a database that is gone when it is closed, or with the process, however that ends.

    :param cache: KiB of it that are kept in memory
    """
    # Without a name: a file that has none on the disk.
    database = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{cache}", "locking_mode=EXCLUSIVE"):
        database.execute(f"PRAGMA {pragma}")
    return database
