"""What people want of a run while it goes on, brought to its machine; and how far it has come, brought to them."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.progress import Troubles
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.steering.wish import Steering, Wish

log = logging.getLogger(__name__)

# Seconds between two looks at what is wanted; people expect an answer within five.
_LOOK = 2.0
# Seconds between two words on how far it has come.
_TELL = 5.0
# Seconds that a look which hangs may hold up the end of a run.
_LAST_WAIT = 3.0
# Of how far it has come: moments of its history, reasons and countries.
_MOMENTS, _REASONS, _COUNTRIES = 120, 8, 12
_GO_ON = "To go on, resume it (airflow cirrus resume), then clear the task: what was sent stays settled."

#: Brings the machine an event.
Bring = Callable[[Callable[[float, float], Any]], Any]


@dataclass(frozen=True)
class Oversight:
    """
    Who may stop or pause a run: what comes back, and people.

    :ivar watch: says when what comes back speaks against going on; of one run only. None: never
    :ivar asks_after_canary: pause once the first messages have fared well
    :ivar steering: what people want of the run meanwhile; None: nobody can say
    :ivar share: this task's part of a limit that people set for all
    :ivar pause_defer_after: seconds after which a paused run ends
    """

    watch: Watch | None = None
    asks_after_canary: bool = False
    steering: Steering | None = None
    share: float = 1.0
    pause_defer_after: float = math.inf


NOBODY_LOOKS = Oversight()


class Telling:
    """
    How far a run has come, in a few kilobytes for people.

    :param delivery: what became of the audience so far
    :param total: messages of the audience, where known
    :param full_rate: messages a second that the task may send
    :param attempt: the try of the task
    """

    def __init__(self, delivery: DeliveryResult, total: int | None, full_rate: float, attempt: int) -> None:
        self._delivery = delivery
        self._total = total
        self._full_rate = full_rate
        self._attempt = attempt
        self._begun = time.monotonic()
        self._countries: Counter[str] = Counter()
        self._reasons: list[dict[str, Any]] = []
        self._reasons_at = 0.0
        self._history: list[list[float]] = []
        self._lock = Lock()

    def note(self, settled: Sequence[MessageOutcome]) -> None:
        """Take note of outcomes, by the thread that counts them: no other may look at the reasons meanwhile."""
        # Late, as only those pay that can be watched.
        from airflow_provider_cirrus.api.country import country_of

        with self._lock:
            for one in settled:
                if one.entry.outcome is Outcome.ACCEPTED:
                    self._countries[country_of(one.recipient)] += 1
        if time.monotonic() - self._reasons_at > 1.0:
            self._look_at_reasons()

    def end(self) -> None:
        """Take note that nothing is counted any more."""
        self._look_at_reasons()

    def _look_at_reasons(self) -> None:
        self._reasons_at = time.monotonic()
        found = list(self._delivery.reasons)[:_REASONS]
        self._reasons = [
            {"outcome": str(one.outcome), "code": one.code, "reason": one.text, "count": one.count} for one in found
        ]

    def now(self, state: str, limit: float, wish: Wish | None) -> dict[str, Any]:
        """
        Return how far it has come, as JSON has it.

        :param state: ``running``, ``paused`` or ``ended``
        :param limit: messages a second that are allowed now
        """
        counts = dict(self._delivery.counts)
        seconds = time.monotonic() - self._begun
        self._history.append([round(seconds, 1), *counts.values()])
        if len(self._history) > _MOMENTS:
            # Every other one goes, so it stays even.
            self._history = [*self._history[:-1:2], self._history[-1]]
        with self._lock:
            countries = self._countries.most_common(_COUNTRIES)
        return {
            "v": 1,
            "state": state,
            "wish": None if wish is None else wish.to_value(),
            "total": self._total,
            "counts": counts,
            "seconds": round(seconds, 1),
            "at": round(time.time(), 1),
            "attempt": self._attempt,
            "messages_per_second": self._full_rate,
            "limit": round(limit, 2),
            "reasons": self._reasons,
            "countries": dict(countries),
            "history": self._history,
        }


class Helm:
    """
    Obeys what is wanted of a run, in a thread of its own.

    :param steering: where it is read
    :param machine: of the run
    :param bring: brings the machine an event
    :param telling: how far it has come
    :param full_rate: messages a second that this task may send
    :param oversight: of the run
    """

    def __init__(
        self,
        steering: Steering,
        machine: Machine,
        bring: Bring,
        telling: Telling,
        full_rate: float,
        oversight: Oversight,
    ) -> None:
        self._steering = steering
        self._machine = machine
        self._bring = bring
        self.telling = telling
        self._full_rate = full_rate
        self._share = oversight.share
        self._patience = oversight.pause_defer_after
        self._wish: Wish | None = None
        self._paused_since: float | None = None
        self._told = time.monotonic()
        self._troubles = Troubles(log)
        self._closing = Event()
        self._thread = Thread(target=self._run, name="cirrus-helm", daemon=True)
        #: Whether the run was ended as nobody resumed it.
        self.has_left = False

    def begin(self) -> bool:
        """
        Obey what is wanted before anything leaves; return whether anything is.

        :raises CirrusError: it cannot be known
        """
        wish = self._steering.read()
        self._obey(wish)
        self._thread.start()
        return wish is not None

    def close(self, waits: bool) -> None:
        """
        Look no more.

        :param waits: whether there is time for a look that is under way
        """
        self._closing.set()
        if waits and self._thread.ident is not None:
            self._thread.join(_LAST_WAIT)

    def tell(self, state: str) -> None:
        """Say how far the run has come; that it cannot be said holds up nobody."""
        self._told = time.monotonic()
        try:
            self._steering.tell(self.telling.now(state, self._machine.rate(time.monotonic()), self._wish))
        except CirrusError as error:
            self._troubles.say("progress", f"How far the send has come cannot be shown. {error}", time.monotonic())

    def _run(self) -> None:
        while not self._closing.wait(_LOOK):
            try:
                self._look()
                if time.monotonic() - self._told >= _TELL:
                    self.tell("running" if self._paused_since is None else "paused")
            except CirrusError as error:
                self._troubles.say("steering", f"What is wanted of the send cannot be read. {error}", time.monotonic())
            except BaseException as error:  # noqa: BLE001  (the reading thread raises it: here nobody would see it)
                self._bring(lambda now, wall, error=error: self._machine.break_off(error, now, wall))  # type: ignore[misc]
                return

    def _look(self) -> None:
        wish = self._steering.read()
        if self._machine.awaits_approval and (wish is None or wish.state == "running") and wish == self._wish:
            wish = Wish("paused", None if wish is None else wish.messages_per_second, "the canary", time.time())
            self._steering.write(wish)
        if wish != self._wish:
            self._obey(wish)
        paused = self._paused_since
        if paused is not None and time.monotonic() - paused >= self._patience and not self.has_left:
            self.has_left = True
            log.info("The send is paused for %.0f s: it ends here, and goes on when it is resumed.", self._patience)
            self._bring(self._machine.stop)

    def _obey(self, wish: Wish | None) -> None:
        before, self._wish = self._wish or Wish(), wish
        wanted = wish or Wish()
        if wish is not None:
            log.info("The send is to be %s.", wish.in_words())
        if wanted.messages_per_second != before.messages_per_second:
            asked = wanted.messages_per_second
            rate = self._full_rate if asked is None else min(self._full_rate, asked * self._share)
            self._bring(lambda now, wall: self._machine.slow_down(rate, now, wall))
        if wanted.state == "stopped":
            who = f" by {wanted.by}" if wanted.by else ""
            self._bring(lambda now, wall: self._machine.call_off(f"the send was stopped{who}.", _GO_ON, now, wall))
        elif wanted.state == "paused":
            if self._paused_since is None:
                self._paused_since = time.monotonic()
            self._bring(lambda now, wall: self._machine.pause())
        elif before.state != "running" or self._machine.awaits_approval:
            self._paused_since = None
            self._bring(self._machine.resume)
        if wanted.state != before.state:
            self.tell("paused" if wanted.state == "paused" else "running")
