"""The window in which one notice is sent, and none for what else happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput, NotConnected

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.alert_dedupe import AlertDedupe, Claim
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult


# Seconds in which what ended at the deadline is still written down.
_GRACE = 0.5


def check_window(window: Any, recovery_of: str | None, needing: Mapping[str, Any]) -> None:
    """
    Check what a notifier is told of its window.

    :param needing: arguments that have no effect without one
    :raises InvalidInput: they do not go together, or it is no time
    """
    if recovery_of is not None and window is not None:
        raise InvalidInput("dedupe_window", "does not go with recovery_of, which is told once anyway.")
    if window is None and recovery_of is None:
        for name, value in needing.items():
            if value is not None:
                raise InvalidInput(name, "has no effect without dedupe_window.", hint="Give both.")
    if window is not None and not (isinstance(window, timedelta) and window > timedelta(0)):
        raise InvalidInput(
            "dedupe_window", f"{window!r} is no time above 0.", hint="Give one such as timedelta(minutes=10)."
        )


class AlertWindow:
    """The window of one notice, in whatever remembers it; without a memory it is always open."""

    def __init__(self, notices: AlertDedupe | None = None, key: str = "", seconds: float = 0.0) -> None:
        self._notices = notices
        self._key = key
        self._seconds = seconds
        self._claim: Claim | None = None

    def claim(self) -> int | None:
        """
        Claim the window; from then on no other may.

        :return: how many notices were held back since the last one; None: this one is
        """
        if self._notices is None:
            return 0
        self._claim = self._notices.claim(self._key, self._seconds)
        return None if self._claim is None else self._claim.held_back

    def release(self) -> None:
        """Open the window again: nothing was sent."""
        if self._notices is not None and self._claim is not None:
            self._notices.release(self._key, self._claim)

    def close(self) -> None:
        """Let go of what remembers it."""
        if self._notices is not None:
            self._notices.close()


class RecoveryWindow(AlertWindow):
    """The window of another notice, which is ended: open where that notice was sent."""

    def claim(self) -> int | None:
        """
        End the window of the other notice.

        :return: how many were held back since; None: none was sent
        """
        assert self._notices is not None
        self._claim = self._notices.end(self._key)
        return None if self._claim is None else self._claim.held_back

    def release(self) -> None:
        """Let the other notice stand: nobody was told that it is over."""
        assert self._notices is not None
        if self._claim is not None:
            self._notices.restore(self._key, self._claim)


def deliver_in_window(
    messages: Sequence[Message],
    client: CirrusClient,
    window: AlertWindow,
    deadline: float,
    counting: Callable[[int], Sequence[Message]],
) -> DeliveryResult | None:
    """
    Send the messages, where the window is open; return what became of them.

    :param client: whose requests end at the deadline
    :param deadline: moment of ``time.monotonic()`` after which nothing more is tried
    :param counting: the same messages where some were held back before them, by how many
    """
    from airflow_provider_cirrus.delivery.deliver import ThisTry, deliver

    if time.monotonic() >= deadline:
        # What came before took all of the time; the next notice may have better luck.
        raise NotConnected("The notice is not sent: its timeout was over before it could leave.")
    held_back = window.claim()
    if held_back is None:
        return None
    try:
        messages = counting(held_back) if held_back else messages
    except BaseException:
        window.release()
        raise
    stop = Event()
    # What is on its way ends by itself at the deadline, and says why; only then there is nothing more to try.
    patience = Timer(max(deadline - time.monotonic(), 0) + _GRACE, stop.set)
    patience.daemon = True
    patience.start()
    try:
        result = deliver(enumerate(messages), client, total=len(messages), this_try=ThisTry(stop=stop))
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


def dag_id_of(context: Context) -> str:
    """Return the id of a context's DAG, or nothing where it has none."""
    if (dag := context.get("dag")) is not None:
        return str(dag.dag_id)
    # A deadline alert has the run only, as plain JSON.
    run = context.get("dag_run")
    return str(run["dag_id"]) if isinstance(run, Mapping) else ""
