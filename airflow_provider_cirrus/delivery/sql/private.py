"""Files of SQLite that hold people: their owner alone may read them."""

from __future__ import annotations

import contextlib
from typing import Any

from airflow_provider_cirrus.delivery.storage import create_private


def make_private(dialect: object, record: object, arguments: Any, options: object) -> None:
    """Make the file of a database, where there is none; SQLAlchemy calls this before it connects."""
    path = arguments[0]
    if path and path != ":memory:" and not path.startswith("file:"):
        # Who cannot make it is told by SQLite itself; one that is there stays as it is.
        with contextlib.suppress(OSError):
            create_private(path).close()
