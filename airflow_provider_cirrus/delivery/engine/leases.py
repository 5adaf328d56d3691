"""A run's part of a rate that it shares with others: asked for again and again, in a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Protocol

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.progress import Troubles
from airflow_provider_cirrus.delivery.shared_rate.book import PERIOD, VALID

log = logging.getLogger(__name__)

# Seconds after which somebody asks again who wanted something and got nothing, and how often in a row: what others
# leave to a newcomer is free in a moment, and where there are too many tasks all of them wait for longer anyway.
_SOON, _SOON_MOST = 0.2, 10
# Messages of an audience that nobody has counted.
_MANY = 1_000
# Seconds that a server which said nothing of how long is left alone.
_PAUSE = 1.0
# Seconds that the end of a run waits for a question that is under way.
_LAST_WAIT = 3.0


class SharedRate(Protocol):
    """Where a rate is shared out."""

    def renew(self, demand: int, retry_after: float | None) -> int:
        """
        Return how many messages a second may leave for the next :data:`~..shared_rate.book.VALID` seconds.

        :param demand: how many could
        :param retry_after: seconds for which the server wants nothing, where it has asked for less since the last time
        :raises CirrusError: nobody knows
        """

    def give_back(self) -> None:
        """Take note that nothing more is sent."""


class Leases:
    """
    Asks for a run's part of the rate.

    :param shared: where
    :param machine: of the run
    :param bring: brings the machine an event
    :param total: messages of the audience, where known
    """

    def __init__(
        self,
        shared: SharedRate,
        machine: Machine,
        bring: Callable[[Callable[[float, float], Any]], Any],
        total: int | None,
    ) -> None:
        self._shared = shared
        self._machine = machine
        self._bring = bring
        # Before anything is read: many tasks of one message each must not keep the rate from each other.
        self._first: int | None = _MANY if total is None else total
        self._throttled = 0
        self._in_vain = 0
        self._troubles = Troubles(log)
        self._closing = Event()
        self._thread = Thread(target=self._run, name="cirrus-rate", daemon=True)

    def begin(self) -> None:
        """
        Ask for the first time, before anything leaves.

        :raises CirrusError: it cannot be known
        """
        self._ask()
        self._thread.start()

    def close(self, waits: bool) -> None:
        """
        Ask no more, and give back what is left.

        :param waits: whether there is time for a question that is under way
        """
        self._closing.set()
        if self._thread.ident is None or not waits:
            return
        self._thread.join(_LAST_WAIT)
        if self._thread.is_alive():
            return
        try:
            self._shared.give_back()
        except CirrusError as error:
            # It is free in two seconds anyway.
            log.debug("The rate was not given back: %s", error)

    def _run(self) -> None:
        while not self._closing.wait(_SOON if 0 < self._in_vain <= _SOON_MOST else PERIOD):
            try:
                self._ask()
            except CirrusError as error:
                if not error.retryable:
                    self._break(error)
                    return
                what = f"What others send of the stream is not known, and nothing leaves meanwhile. {error}"
                self._troubles.say("rate", what, time.monotonic())
            except BaseException as error:  # noqa: BLE001  (the reading thread raises it: here nobody would see it)
                self._break(error)
                return

    def _ask(self) -> None:
        # From before the question: whoever keeps the book counts from after it.
        asked = time.monotonic()
        first, self._first = self._first, None
        demand = self._bring(lambda now, wall: self._machine.appetite(now)) if first is None else first
        throttled, not_before = self._bring(lambda now, wall: self._machine.ask(demand))
        retry_after = None if throttled == self._throttled else max(not_before - asked, _PAUSE)
        granted = self._shared.renew(demand, retry_after)
        self._throttled = throttled
        self._in_vain = self._in_vain + 1 if demand and not granted else 0
        self._bring(lambda now, wall: self._machine.grant(granted, asked + VALID, now, wall))

    def _break(self, error: BaseException) -> None:
        self._bring(lambda now, wall: self._machine.break_off(error, now, wall))
