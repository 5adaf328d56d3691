"""The window in which one notice is sent, and none for what else happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import NotConnected

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.alert_dedupe import AlertDedupe
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult


# Seconds in which what ended at the deadline is still written down.
_GRACE = 0.5


class AlertWindow:
    """The window of one notice, in whatever remembers it; without a memory it is always open."""

    def __init__(self, notices: AlertDedupe | None = None, key: str = "", seconds: float = 0.0) -> None:
        self._notices = notices
        self._key = key
        self._seconds = seconds
        self._claimed: float | None = None

    def claim(self) -> bool:
        """Return whether the notice may be sent; from then on no other may."""
        if self._notices is None:
            return True
        self._claimed = self._notices.claim(self._key, self._seconds)
        return self._claimed is not None

    def release(self) -> None:
        """Open the window again: nothing was sent."""
        if self._notices is not None and self._claimed is not None:
            self._notices.release(self._key, self._claimed)

    def close(self) -> None:
        """Let go of what remembers it."""
        if self._notices is not None:
            self._notices.close()


def deliver_in_window(
    messages: Sequence[Message], client: CirrusClient, window: AlertWindow, deadline: float
) -> DeliveryResult | None:
    """
    Send the messages, where the window is open; return what became of them.

    :param client: whose requests end at the deadline
    :param deadline: moment of ``time.monotonic()`` after which nothing more is tried
    """
    from airflow_provider_cirrus.delivery.deliver import deliver

    if time.monotonic() >= deadline:
        # What came before took all of the time; the next notice may have better luck.
        raise NotConnected("The notice is not sent: its timeout was over before it could leave.")
    if not window.claim():
        return None
    stop = Event()
    # What is on its way ends by itself at the deadline, and says why; only then there is nothing more to try.
    patience = Timer(max(deadline - time.monotonic(), 0) + _GRACE, stop.set)
    patience.daemon = True
    patience.start()
    try:
        result = deliver(enumerate(messages), client, total=len(messages), stop=stop)
    finally:
        patience.cancel()
    if result.counts["rejected"] + result.counts["unsent"] == result.total:
        window.release()
    return result


def memory_of(connection: Any) -> AlertDedupe:
    """Return what remembers windows: the database of a connection, or files where there is none."""
    from airflow_provider_cirrus.delivery.alert_dedupe import FileAlertDedupe, SqlAlertDedupe
    from airflow_provider_cirrus.delivery.sql.store import engine_for
    from airflow_provider_cirrus.hooks.connection import database_url

    return FileAlertDedupe() if connection is None else SqlAlertDedupe(engine_for(database_url(connection)))
