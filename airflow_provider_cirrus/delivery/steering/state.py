"""What people want of a send, in Airflow's task state store (3.3 and later): whoever may edit the task may say it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_cirrus.delivery.ledger.state_calls import asked
from airflow_provider_cirrus.delivery.steering.wish import Wish

#: Keys of the task state store; the page in Airflow's UI knows them, too.
WISH, PROGRESS = "cirrus:wish", "cirrus:progress"


class StateSteering:
    """
    Wishes and progress in the store of a running task.

    :param store: ``context["task_state_store"]``, or what has its ``get``, ``set`` and ``delete``
    :param retention: how long a value is kept: for ever, as a paused send may wait long
    """

    def __init__(self, store: Any, retention: timedelta) -> None:
        self._store = store
        self._retention = retention

    def read(self) -> Wish | None:
        """Return what is wanted; see :meth:`~.wish.Steering.read`."""
        value = asked(lambda: self._store.get(WISH))
        return Wish.of(value) if value else None

    def write(self, wish: Wish | None) -> None:
        """Say what is wanted; see :meth:`~.wish.Steering.write`."""
        if wish is None:
            asked(lambda: self._store.delete(WISH))
        else:
            asked(lambda: self._store.set(WISH, wish.to_value(), retention=self._retention))

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Say how far the run has come; see :meth:`~.wish.Steering.tell`."""
        asked(lambda: self._store.set(PROGRESS, dict(progress), retention=self._retention))
