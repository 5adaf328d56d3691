"""
Driving the machine: threads, clocks, HTTP, ledger and report around it.

One thread reads the audience, one writes to the ledger, one tells what became of messages, one looks at the clock, and
several send. Each brings the machine an event, under one lock, and does what comes of it; none calls another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Condition, Event, Lock, Thread
from typing import TypeVar

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, SendResult
from airflow_provider_cirrus.api.transport import told_when_on_its_way
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.engine.helm import NOBODY_LOOKS, Helm, Oversight, Telling
from airflow_provider_cirrus.delivery.engine.leases import Leases, SharedRate
from airflow_provider_cirrus.delivery.engine.machine import Machine, max_in_flight
from airflow_provider_cirrus.delivery.engine.parts import Batch, Effects, Options
from airflow_provider_cirrus.delivery.engine.progress import Progress
from airflow_provider_cirrus.delivery.engine.reader import Reader
from airflow_provider_cirrus.delivery.engine.recorder import Recorder
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.engine.threads import BatchWorker, ThreadPool
from airflow_provider_cirrus.delivery.ledger import Ledger, LedgerFull
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules.policy import NO_RULES, Policy

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Seconds after which a wait looks whether the run was stopped from outside, which notifies nobody.
_LOOK = 0.2
# Seconds between two looks at the clock, at least.
_TICK = 0.0005
# Seconds that what is in flight gets when the run is stopped: Airflow kills a task 5 s after it told it to end.
_LAST_WAIT = 3.0
# Messages that are looked up at once, and seconds after which a slow audience's are looked up with what has come.
_CHUNK = 100
_CHUNK_SECONDS = 0.2
# Messages after which the reading thread gives way.
_BREATH = 100
# Messages a second from which on nobody looks at the moment at which each request leaves.
_UNWATCHED = 5_000
# Seconds that an outcome waits for others, to be counted and reported with them.
_LINGER_REPORTING = 0.02
# Seconds that a write waits for more: it takes as long for one as for all that come a moment later.
_LINGER_WRITING = 0.002


@dataclass
class Dispatcher:
    """
    Sends an audience: never faster than the account's limit, and each message at most once.

    :param send: sends 1 to 20 messages, such as :meth:`~airflow_provider_cirrus.api.client.CirrusClient.send`;
        called from several threads
    :param stream_id: part of a message's key
    :param ledger: what was sent before, and where to record what is; None: nothing is remembered
    :param messages_per_second: the limit; a fraction for a shard's part of it
    :param attempt: the try of the task, kept with each outcome
    :param repeat_unknown: send again what may have been sent (``mode="at_least_once"``)
    :param stop: once set, no further batch leaves
    :param concurrency: most requests in flight; half as many again where hundreds leave in a second
    :param listener: told of every outcome as it comes, from one thread; such as a report
    :param pause: seconds before a message that was not sent is tried again; doubles each time
    :param policy: the rules: who may be messaged, when, and how often
    :param dry_run: send nothing: what would be sent is ``unsent``
    :param preview: of a dry run: what the recipient of a message would see
    :param start_after: seconds before the first message leaves, so that many shards do not begin with one each
    :param oversight: who may stop or pause it
    :param shared_rate: where the stream's rate is shared out among all that send through it; None: nobody else does
    """

    send: Callable[[Sequence[Message]], SendResult]
    stream_id: str
    ledger: Ledger | None = None
    messages_per_second: float = 80
    attempt: int = 1
    repeat_unknown: bool = False
    stop: Event = field(default_factory=Event)
    concurrency: int = 16
    listener: Callable[[Sequence[MessageOutcome]], None] | None = None
    pause: float = 1.0
    policy: Policy = NO_RULES
    dry_run: bool = False
    start_after: float = 0.0
    preview: Callable[[Message], str] | None = None
    oversight: Oversight = NOBODY_LOOKS
    shared_rate: SharedRate | None = None

    def run(self, audience: Iterable[tuple[int, Message | RejectedRow]], total: int | None = None) -> DeliveryResult:
        """
        Send what was not sent before, and say what became of every message.

        :param audience: places and messages, read as a stream
        :param total: how many there are, where that is known
        :raises Exception: the ledger's or the listener's own, as nothing may be sent that could not be recorded
        """
        return _Run(self, total).through(audience)


class _Run:
    """One run of a dispatcher. ``_changed`` guards the machine; nobody waits for anything else while holding it."""

    def __init__(self, dispatcher: Dispatcher, total: int | None) -> None:
        self._dispatcher = dispatcher
        options = Options(
            messages_per_second=dispatcher.messages_per_second,
            attempt=dispatcher.attempt,
            repeat_unknown=dispatcher.repeat_unknown,
            concurrency=dispatcher.concurrency,
            pause=dispatcher.pause,
            timing=dispatcher.policy.timing if dispatcher.policy.has_quiet_hours else None,
            dry_run=dispatcher.dry_run,
            start_after=dispatcher.start_after,
            preview=dispatcher.preview,
            watch=dispatcher.oversight.watch,
            asks_after_canary=dispatcher.oversight.asks_after_canary,
        )
        self._machine = Machine(options, time.monotonic())
        self._recorder = Recorder(dispatcher.ledger, dispatcher.policy)
        self._delivery = DeliveryResult()
        self._progress = Progress(total)
        self._changed = Condition()
        # What the reading thread waits for; to be woken by every event would take as long as most of them.
        self._awaited: Callable[[], bool] = _nothing
        self._senders = ThreadPool("cirrus-send", max_in_flight(dispatcher.concurrency))
        self._reporter: BatchWorker[MessageOutcome] = BatchWorker(
            "cirrus-report", self._report_all, linger=_LINGER_REPORTING
        )
        self._writer = ThreadPool("cirrus-ledger", 1)
        self._may_tick = Event()
        self._tick_at: float | None = None
        self._wrote_at = 0.0
        self._tidying = Lock()
        self._has_ended = False
        self._leases = None
        if dispatcher.shared_rate is not None:
            self._leases = Leases(dispatcher.shared_rate, self._machine, self._event, total)
        self._helm: Helm | None = None
        if (steering := dispatcher.oversight.steering) is not None:
            self._helm = Helm(
                steering,
                self._machine,
                self._event,
                Telling(self._delivery, total, dispatcher.messages_per_second, dispatcher.attempt),
                dispatcher.messages_per_second,
                dispatcher.oversight,
            )

    def through(self, audience: Iterable[tuple[int, Message | RejectedRow]]) -> DeliveryResult:
        """Send the audience."""
        begun = time.monotonic()
        ticker = Thread(target=self._tick, name="cirrus-clock", daemon=True)
        with closing(TempIndex()) as index:
            dispatcher = self._dispatcher
            reader = Reader(
                index, dispatcher.stream_id, dispatcher.ledger, dispatcher.policy, dispatcher.oversight.watch
            )
            try:
                reader.load()
                if self._leases is not None:
                    self._leases.begin()
                is_approved = self._helm is not None and self._helm.begin()
                self._event(lambda now, wall: self._machine.begin(is_approved, now, wall))
                self._writer.grow()
                ticker.start()
                self._read(audience, reader)
                self._wait(lambda: self._machine.is_done, None)
            finally:
                # Also when the task is timed out or terminated: what is in flight is waited for, and recorded.
                self._wind_up()
        self._reporter.close()
        if self._helm is not None and not self._dispatcher.stop.is_set():
            self._helm.telling.end()
            self._helm.tell("ended")
        machine = self._machine
        if broken := machine.broken or self._reporter.error:
            raise broken
        self._delivery.error, self._delivery.seconds = machine.error, time.monotonic() - begun
        self._delivery.deferred, self._delivery.resume_at = machine.deferred, machine.resume_at
        if machine.is_overspent:
            self._delivery.waits_for = "room in the daily budget"
        if not machine.is_called_off or self._delivery.counts[Outcome.UNSENT]:
            # A circuit breaker that found nothing to hold back has stopped nothing.
            self._delivery.stopped, self._delivery.remedy = machine.stopped, machine.remedy
            self._delivery.is_called_off = machine.is_called_off
        self._delivery.is_paused = self._helm is not None and self._helm.has_left
        return self._delivery

    # ---- the reading thread

    def _read(self, audience: Iterable[tuple[int, Message | RejectedRow]], reader: Reader) -> None:
        for chunk in _chunks(audience):
            items = reader.items(chunk)
            time.sleep(0)
            self._event(lambda now, wall, items=items: self._machine.rows(items, now, wall))  # type: ignore[misc]
            # A report that is slow holds up the reading, and nobody else.
            self._reporter.wait_for_room()
            self._wait(lambda: self._machine.wants_rows, None)
            if self._machine.broken is not None or self._dispatcher.stop.is_set():
                # A task that is being killed has no time to read on.
                return
        self._event(self._machine.end_of_audience)

    def _wait(self, until: Callable[[], bool], seconds: float | None) -> None:
        """Wait for the machine to come to something; no longer than a stop from outside allows."""
        end = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            self._awaited = until
            while not until() and not (seconds is None and self._is_cut_short()):
                left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
                if left <= 0:
                    break
                self._changed.wait(left)
            self._awaited = _nothing

    def _is_cut_short(self) -> bool:
        return self._machine.broken is not None or self._dispatcher.stop.is_set()

    def _wind_up(self) -> None:
        if self._helm is not None:
            self._helm.close(waits=not self._dispatcher.stop.is_set())
        self._event(self._machine.stop)
        self._wait(lambda: self._machine.is_idle, _LAST_WAIT)
        if self._leases is not None:
            self._leases.close(waits=not self._dispatcher.stop.is_set())
        with self._changed:
            self._machine.abandon(time.time())
            self._do(self._machine.effects())
            self._has_ended = True
        # Bounded, as a call of the ledger may hang.
        if self._tidying.acquire(timeout=_LAST_WAIT):
            self._tidying.release()
        self._may_tick.set()
        self._senders.close()
        self._writer.close()

    # ---- events and effects

    def _event(self, happened: Callable[[float, float], _T]) -> _T:
        """Bring the machine an event, before it a stop from outside, and do what comes of it."""
        with self._changed:
            now, wall = time.monotonic(), time.time()
            if self._dispatcher.stop.is_set():
                self._machine.stop(now, wall)
            found = happened(now, wall)
            if not self._has_ended:
                self._do(self._machine.effects())
            return found

    def _do(self, effects: Effects) -> None:
        if effects.tell:
            self._reporter.add(effects.tell)
        for batch in effects.send:
            self._senders.grow()
            self._senders.call(self._send, batch)
        if effects.write:
            self._writer.call(self._write)
        now = time.monotonic()
        wake = self._machine.wake_at(now)
        if wake is not None and (self._tick_at is None or wake < self._tick_at):
            self._tick_at = max(wake, now + _TICK)
            self._may_tick.set()
        if self._awaited() or self._is_cut_short():
            self._changed.notify_all()

    # ---- the clock

    def _tick(self) -> None:
        """Bring the machine the time whenever it asked for that, and now and then."""
        while not self._has_ended:
            at = self._tick_at
            pause = _LOOK if at is None else min(_LOOK, at - time.monotonic())
            if pause > 0 and self._may_tick.wait(pause):
                self._may_tick.clear()
                continue
            with self._changed:
                self._tick_at = None
            self._event(self._machine.tick)

    # ---- the writing thread

    def _write(self) -> None:
        with self._changed:
            pause = self._machine.worth_waiting(time.monotonic())
        if time.monotonic() - self._wrote_at > _LINGER_WRITING or self._machine.write_took < 2 * _LINGER_WRITING:
            # Else enough has come while the last one was written.
            pause = max(pause, _LINGER_WRITING)
        if pause:
            time.sleep(pause)
        commit = self._event(lambda now, wall: self._machine.next_write(now))
        if commit is None:
            return
        try:
            conflicts = self._recorder.write(commit)
        except LedgerFull as error:
            self._event(lambda now, wall, error=error: self._machine.write_refused(error, now, wall))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001  (the reading thread raises it: here nobody would see it)
            passes = isinstance(error, CirrusError) and error.retryable
            self._event(lambda now, wall, error=error: self._machine.write_failed(error, passes, now, wall))  # type: ignore[misc]
        else:
            self._wrote_at = time.monotonic()
            self._event(lambda now, wall: self._machine.committed(conflicts, now, wall))
            self._tidy()

    def _tidy(self) -> None:
        try:
            is_left = True
            while is_left and not self._writer.has_work:
                with self._tidying:
                    # Not once the run has ended: what follows it has the ledger's connection to itself.
                    is_left = not self._has_ended and self._recorder.tidy()
        except BaseException as error:  # noqa: BLE001  (as above)
            if isinstance(error, CirrusError) and error.retryable:
                # Whatever is left lying about harms nobody; the next write says whether the ledger is there.
                log.debug("The ledger was not tidied up: %s", error)
                return
            self._event(lambda now, wall, error=error: self._machine.break_off(error, now, wall))  # type: ignore[misc]

    # ---- the sending threads

    def _send(self, batch: Batch) -> None:
        messages = self._event(lambda now, wall: self._machine.depart(batch, now, wall))
        if not messages:
            return
        try:
            if self._dispatcher.messages_per_second > _UNWATCHED:
                sent = self._dispatcher.send(messages)
            else:
                with told_when_on_its_way(lambda: self._left(batch)):
                    sent = self._dispatcher.send(messages)
        except BaseException as error:  # noqa: BLE001  (the reading thread raises it: here nobody would see it)
            # No error of Cirrus's, which are part of the result. Whether it was sent is not known.
            self._event(lambda now, wall, error=error: self._machine.break_off(error, now, wall))  # type: ignore[misc]
            return
        self._event(lambda now, wall: self._machine.answered(batch, sent, now, wall))

    def _left(self, batch: Batch) -> None:
        with self._changed:
            self._machine.left(batch, time.monotonic())

    # ---- the telling thread

    def _report_all(self, settled: Sequence[MessageOutcome]) -> None:
        for one in settled:
            self._delivery.add(one)
        self._progress.tell(self._delivery.counts)
        if self._helm is not None:
            self._helm.telling.note(settled)
        if self._dispatcher.listener is not None:
            try:
                self._dispatcher.listener(settled)
            except BaseException as error:
                # What cannot be reported is not sent; the ledger goes on to record what is in flight.
                self._event(lambda now, wall, error=error: self._machine.break_off(error, now, wall))  # type: ignore[misc]
                raise


def _nothing() -> bool:
    return False


def _chunks(audience: Iterable[_T]) -> Iterator[list[_T]]:
    chunk: list[_T] = []
    due = 0.0
    for one in audience:
        if not chunk:
            due = time.monotonic() + _CHUNK_SECONDS
        chunk.append(one)
        if len(chunk) % _BREATH == 0:
            # Gives way: a thread that computes keeps all others from their sockets for 5 ms at a time.
            time.sleep(0)
        if len(chunk) == _CHUNK or time.monotonic() >= due:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
