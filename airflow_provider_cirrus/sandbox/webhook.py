"""Tells an address of what comes in, as it comes in."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

import httpx

# Events that wait for the address: those beyond are dropped, and counted.
_WAITING = 1_000
# Seconds for one of them.
_TIMEOUT = 5.0
_JSON = {"Content-Type": "application/json"}
_STOP: tuple[str, dict[str, Any]] = ("", {})


class Webhook:
    """
    Posts events to an address, one after another, from a thread: ``{"event": "accepted", "message": {...}}``.

    What the address does not take is not posted again: it is counted, and the reason kept.

    :param url: begins with ``http://`` or ``https://``
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self.posted = 0
        self.failed = 0
        #: Why the last event that failed did; None: none has.
        self.problem: str | None = None

    def tell(self, event: str, message: dict[str, Any]) -> None:
        """
        Have an event posted; waits for nothing.

        :param event: ``accepted``, ``refused`` or ``answered``
        """
        try:
            self._events.put_nowait((event, message))
        except queue.Full:
            self._fail(f"more than {_WAITING} events wait for {self._url}")

    def start(self) -> None:
        """Begin to post."""
        self._thread = threading.Thread(target=self._post_all, name="cirrus-sandbox-webhook", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Post what waits, for a few seconds."""
        try:
            self._events.put(_STOP, timeout=_TIMEOUT)
        except queue.Full:
            self._fail(f"{self._url} was too slow for {_WAITING} events that waited at the end")
        if self._thread is not None:
            self._thread.join(_TIMEOUT)

    def _post_all(self) -> None:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            while (told := self._events.get()) is not _STOP:
                event, message = told
                # In ASCII: half a character, which a refusal may hold, has no UTF-8.
                content = json.dumps({"event": event, "message": message})
                try:
                    client.post(self._url, content=content, headers=_JSON).raise_for_status()
                except httpx.HTTPError as exc:
                    self._fail(f"{type(exc).__name__}: {exc}")
                else:
                    self.posted += 1

    def _fail(self, problem: str) -> None:
        self.failed += 1
        self.problem = problem
