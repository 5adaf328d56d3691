"""
Sending an audience: batches in flight, pace, what was sent before, what to try again, and when to stop.

The state machine is in docs/delivery.md. One thread reads the audience and makes batches; others send them, up to
``concurrency`` at a time. Each batch waits for its turn under the rate limit, then for its intent to be durable, and
leaves. One thread writes to the ledger, and one tells what became of messages.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Event
from typing import TypeVar

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import Outcome, SendResult
from airflow_provider_cirrus.api.wire import MAX_BATCH, failed_send
from airflow_provider_cirrus.delivery.audience import Refused
from airflow_provider_cirrus.delivery.background import Background, Crew
from airflow_provider_cirrus.delivery.commits import GroupCommit, as_held
from airflow_provider_cirrus.delivery.ledger.base import Entry, Ledger, key_of, person_of
from airflow_provider_cirrus.delivery.limiter import Departure, RateLimit
from airflow_provider_cirrus.delivery.numbers import NOTHING_KNOWN, Proof
from airflow_provider_cirrus.delivery.pacing import PairLimit
from airflow_provider_cirrus.delivery.policy import NO_RULES, Policy, Timing
from airflow_provider_cirrus.delivery.progress import Progress
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.tally import Delivery, Settled

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# A server that failed this many requests in a row is down; more would only grow the number of unknowns.
_FAILURES = 3
# Seconds without a good answer after which a run gives up where nothing was sent meanwhile.
_PATIENCE_CONNECTING = 10.0
_PATIENCE_THROTTLED = 120.0
# Seconds that a server's Retry-After is waited for here; beyond that Airflow's own retry waits better.
_LONGEST_WAIT = 60.0
# How often a message that was certainly not sent is tried again in one run.
_TRIES = 5
# Seconds after which a wait looks whether it is still wanted.
_LOOK = 0.2
# Seconds that what is in flight gets when the run is stopped.
_LAST_WAIT = 15.0
# Messages that are looked up at once, and seconds after which a slow audience's are looked up with what has come.
_CHUNK = 100
_CHUNK_SECONDS = 0.2
# Seconds that an outcome waits for others, to be counted and reported with them.
_COMPANY = 0.02
_CAME_TOO_LATE = errors.NotConnected("the run stopped before its turn")


@dataclass(slots=True)
class _Item:
    """A message on its way: its place in the audience, its key, whose it is, and how often it was tried."""

    index: int
    message: Message
    key: bytes
    account: str
    proof: Proof
    tries: int = 0


@dataclass
class Dispatcher:
    """
    Sends an audience: never faster than the account's limit, and each message at most once.

    :param send: sends 1 to 20 messages, such as :meth:`~airflow_provider_cirrus.api.client.CirrusClient.send`;
        called from several threads
    :param stream_id: part of a message's key
    :param ledger: what was sent before, and where to record what is; None: nothing is remembered
    :param messages_per_second: the limit
    :param attempt: the try of the task, kept with each outcome
    :param repeat_unknown: send again what may have been sent (``delivery="at_least_once"``)
    :param stop: once set, no further batch leaves
    :param concurrency: most requests in flight
    :param listener: told of every outcome as it comes, from one thread; such as a report
    :param pause: seconds before a message that was not sent is tried again; doubles each time
    :param policy: the rules: who may be messaged, when, and how often
    :param dry_run: send nothing: what would be sent is ``unsent``
    """

    send: Callable[[Sequence[Message]], SendResult]
    stream_id: str
    ledger: Ledger | None = None
    messages_per_second: float = 80
    attempt: int = 1
    repeat_unknown: bool = False
    stop: Event = field(default_factory=Event)
    concurrency: int = 16
    listener: Callable[[Sequence[Settled]], None] | None = None
    pause: float = 1.0
    policy: Policy = NO_RULES
    dry_run: bool = False

    def run(self, audience: Iterable[tuple[int, Message | Refused]], total: int | None = None) -> Delivery:
        """
        Send what was not sent before, and say what became of every message.

        :param audience: places and messages, read as a stream
        :param total: how many there are, where that is known
        :raises Exception: the ledger's or the listener's own, as nothing may be sent that could not be recorded
        """
        return _Run(self, total).through(audience)


class _Run:
    """One run of a dispatcher. ``_changed`` guards all that more than one thread touches."""

    def __init__(self, dispatcher: Dispatcher, total: int | None) -> None:
        self._given = dispatcher
        self._policy = dispatcher.policy
        self._commits = GroupCommit(dispatcher.ledger, dispatcher.attempt, self._policy.recorded)
        self._limit = RateLimit(dispatcher.messages_per_second)
        self._pairs = PairLimit()
        self._delivery = Delivery()
        self._progress = Progress(total)
        self._changed = Condition()
        # Batches that wait for the ledger or for their answer. More of them than there are requests, else all would
        # wait for the same write and then for the same answers.
        self._in_flight = 0
        self._most_in_flight = 4 * dispatcher.concurrency
        # Those of them that may leave, and wait for a free thread: few, as whatever of them is cut off stays unknown.
        self._ready = 0
        self._most_ready = dispatcher.concurrency
        # In the order in which their intents became durable: one at a time means in the order of the audience.
        self._senders = Crew("cirrus-send", dispatcher.concurrency)
        # Messages to try again, by when; and those whose account already stands in the batch being made.
        self._again: list[tuple[float, int, _Item]] = []
        self._aside: deque[_Item] = deque()
        self._order = count()
        self._failures = 0
        self._last_good = time.monotonic()
        self._broken: BaseException | None = None
        self._teller: Background[Sequence[Settled]] = Background(
            "cirrus-tell", self._tell_all, self._nobody_is_told, company=_COMPANY
        )
        # Set by an answer after which nothing more may leave, and by whatever breaks the run.
        self._over = Event()
        # A request above the account's limit for one second would be refused for ever.
        self._size = max(1, min(MAX_BATCH, int(dispatcher.messages_per_second)))

    def through(self, audience: Iterable[tuple[int, Message | Refused]]) -> Delivery:
        """Send the audience."""
        begun = time.monotonic()
        scratch = TempIndex()
        items = self._to_send(audience, scratch)
        try:
            self._load(scratch)
            self._send_all(items)
            self._wait_for_flight(None)
            self._account_for_the_rest(items)
        finally:
            # Also when the task is timed out or terminated: what is in flight is waited for, and recorded.
            self._over.set()
            self._wait_for_flight(_LAST_WAIT)
            scratch.close()
            self._commits.close()
            self._senders.close()
            self._teller.close()
        if broken := self._broken or self._commits.error or self._teller.error:
            raise broken
        self._delivery.seconds = time.monotonic() - begun
        return self._delivery

    # ---- the reading thread

    def _load(self, scratch: TempIndex) -> None:
        if self._given.ledger is not None and (known := scratch.load(self._given.ledger.load())):
            log.info("Earlier tries left the outcomes of %d messages; what they settled is left alone.", known)

    def _to_send(self, audience: Iterable[tuple[int, Message | Refused]], scratch: TempIndex) -> Iterator[_Item]:
        """Yield the messages that are to be sent; tell of the others."""
        for chunk in _chunks(audience):
            settled: list[Settled] = []
            items: list[_Item] = []
            messages: list[tuple[int, Message]] = []
            for index, found in chunk:
                if isinstance(found, Refused):
                    entry = self._entry(Outcome.REJECTED, found.reason)
                    settled.append(Settled(index, b"", found.recipient, entry))
                else:
                    messages.append((index, found))
            keys = [key_of(message, self._given.stream_id) for _, message in messages]
            # Of those, too, that were sent before: their proof stands in the report of every try.
            looks = self._policy.look([message for _, message in messages])
            for (index, message), key, earlier, look in zip(messages, keys, scratch.see(keys), looks, strict=True):
                proof = NOTHING_KNOWN if isinstance(look, str) else look
                ruled = self._settled_before(message, earlier) or self._by_the_rules(message, look)
                if isinstance(ruled, Entry):
                    settled.append(Settled(index, key, message.to, ruled, proof))
                else:
                    items.append(_Item(index, ruled, key, account_of(message.to), proof))
            # Before the first of them is sent: whoever stops taking items loses nothing that is settled.
            self._tell(settled)
            yield from self._under_the_cap(items)

    def _settled_before(self, message: Message, earlier: Entry | bool) -> Entry | None:
        """Return the outcome of a message that there is nothing to do about; None where there is."""
        if earlier is False:
            return self._entry(Outcome.DUPLICATE, "the same message stands earlier")
        if isinstance(earlier, Entry) and not self._is_to_repeat(earlier):
            return earlier
        if message.schedule is not None and message.schedule <= time.time():
            # Only now: what an earlier try sent in time is settled, however late it is by now.
            return self._entry(Outcome.REJECTED, "its schedule is past")
        return None

    def _by_the_rules(self, message: Message, look: Proof | str) -> Message | Entry:
        """Return the message as it may leave, or the outcome of one that may not."""
        if isinstance(look, str):
            return self._entry(Outcome.SUPPRESSED, look)
        if self._policy.has_quiet_hours:
            timing = self._policy.timing(message)
            if timing.outcome is not None:
                return self._put_off(timing)
            message = timing.message
        return self._entry(Outcome.UNSENT, "a dry run") if self._given.dry_run else message

    def _put_off(self, timing: Timing) -> Entry:
        assert timing.outcome is not None
        if timing.until is not None:
            with self._changed:
                self._delivery.defer(timing.until)
        return self._entry(timing.outcome, timing.reason)

    def _is_to_repeat(self, earlier: Entry) -> bool:
        if earlier.outcome is Outcome.UNKNOWN:
            return self._given.repeat_unknown
        return earlier.outcome is Outcome.UNSENT

    def _send_all(self, items: Iterator[_Item]) -> None:
        exhausted = False
        while not self._is_over():
            batch, exhausted = self._next_batch(items, exhausted)
            if batch:
                self._wait_for_room()
                # Gives way: a thread that computes keeps all others from their sockets for 5 ms at a time.
                time.sleep(0)
                departure = self._limit.acquire(len(batch), self._is_over)
                if departure is None:
                    self._leave_unsent(batch)
                else:
                    self._depart(self._still_by_the_rules(batch), departure)
            elif exhausted and not self._wait_for_more():
                return

    def _wait_for_room(self) -> None:
        with self._changed:
            # With a time-out, as a stop from outside notifies nobody.
            while self._is_full() and not self._is_over():
                self._changed.wait(_LOOK)

    def _is_full(self) -> bool:
        return self._in_flight >= self._most_in_flight or self._ready >= self._most_ready

    def _depart(self, batch: list[_Item], departure: Departure) -> None:
        """Send a batch as soon as its intent is durable."""

        def then(held: Mapping[bytes, Entry] | None) -> None:
            if held is None:
                self._landed(self._commits.error)
            else:
                with self._changed:
                    self._ready += 1
                self._senders.call(self._send, batch, departure, held)

        if batch:
            self._senders.grow()
            with self._changed:
                self._in_flight += 1
            try:
                self._commits.intend([item.key for item in batch], then, self._persons(batch))
            except BaseException as error:
                self._landed(error)
                raise

    def _next_batch(self, items: Iterator[_Item], exhausted: bool) -> tuple[list[_Item], bool]:
        """
        Make a batch, of those first that are tried again.

        No account stands in a batch twice: Cirrus answers by number, and could not tell them apart.
        """
        batch: list[_Item] = []
        accounts: set[str] = set()
        later: list[_Item] = []
        while len(batch) < self._size and len(later) < self._size:
            item = self._due() or (self._aside.popleft() if self._aside else None)
            if item is None and not exhausted:
                item = next(items, None)
                exhausted = item is None
            if item is None:
                break
            if item.account in accounts:
                later.append(item)
            elif pause := self._pairs.wait(item.account):
                self._try_again(item, pause)
            else:
                accounts.add(item.account)
                batch.append(item)
        self._aside.extendleft(reversed(later))
        return batch, exhausted

    def _due(self) -> _Item | None:
        if not self._again:
            # Asked for every message; what is put there a moment later is due later, too.
            return None
        with self._changed:
            if self._again and self._again[0][0] <= time.monotonic():
                return heapq.heappop(self._again)[2]
        return None

    def _wait_for_more(self) -> bool:
        """Wait until a message is to be tried again; False where none will be."""
        with self._changed:
            while not self._is_over():
                pause = self._again[0][0] - time.monotonic() if self._again else None
                if pause is not None and pause <= 0:
                    return True
                if pause is None and not self._in_flight:
                    return False
                self._changed.wait(_LOOK if pause is None else min(pause, _LOOK))
        return False

    def _wait_for_flight(self, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight == 0, seconds)

    def _account_for_the_rest(self, items: Iterator[_Item]) -> None:
        """Call unsent what the run ended before; a task that is being killed has no time to read on."""
        with self._changed:
            waiting = [item for _, _, item in self._again]
            self._again.clear()
        self._leave_unsent([*waiting, *self._aside])
        if self._broken is None and not self._given.stop.is_set():
            for item in items:
                self._leave_unsent([item])

    def _is_over(self) -> bool:
        return self._over.is_set() or self._given.stop.is_set()

    # ---- the sending threads

    def _send(self, batch: list[_Item], departure: Departure, held: Mapping[bytes, Entry]) -> None:
        error = None
        with self._changed:
            self._ready -= 1
            self._changed.notify_all()
        try:
            if batch := self._not_held(batch, held):
                self._settle(batch, self._exchange(batch, departure))
        except BaseException as raised:  # noqa: BLE001  (the reading thread raises it: here nobody would see it)
            error = raised
        self._landed(error)

    def _exchange(self, batch: list[_Item], departure: Departure) -> SendResult:
        messages = [item.message for item in batch]
        if self._is_over():
            # The ledger has their intent: that they were not sent after all must stand there, too.
            return failed_send(messages, _CAME_TOO_LATE)
        self._limit.leaves(departure)
        sent = self._given.send(messages)
        self._note(sent)
        return sent

    def _landed(self, error: BaseException | None) -> None:
        if error is not None:
            self._broken = self._broken or error
            self._over.set()
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def _still_by_the_rules(self, batch: list[_Item]) -> list[_Item]:
        """Return those that may leave now: they have waited, and quiet hours may have begun meanwhile."""
        if not self._policy.has_quiet_hours:
            return batch
        held: dict[bytes, Entry] = {}
        for item in batch:
            timing = self._policy.timing(item.message)
            if timing.outcome is None:
                item.message = timing.message
            else:
                held[item.key] = self._put_off(timing)
        self._policy.release(held.keys())
        return self._without(batch, held)

    def _under_the_cap(self, items: list[_Item]) -> list[_Item]:
        """Return those that have a place under the frequency cap; it is theirs from now on."""
        refused = self._policy.claim((item.message.to, item.key) for item in items)
        return self._without(items, {key: self._entry(Outcome.SUPPRESSED, why) for key, why in refused.items()})

    def _not_held(self, batch: list[_Item], held: Mapping[bytes, Entry]) -> list[_Item]:
        """Return those that are ours to send."""
        self._policy.release(held.keys())
        return self._without(batch, {key: as_held(entry) for key, entry in held.items()})

    def _persons(self, batch: list[_Item]) -> Mapping[bytes, bytes]:
        if self._given.ledger is None or not self._given.ledger.keeps_persons:
            return {}
        return {item.key: person_of(item.message.to) for item in batch}

    def _without(self, batch: list[_Item], held: Mapping[bytes, Entry]) -> list[_Item]:
        """Tell of those that are held back; return the others."""
        if not held:
            return batch
        self._tell(
            [
                Settled(item.index, item.key, item.message.to, held[item.key], item.proof)
                for item in batch
                if item.key in held
            ]
        )
        return [item for item in batch if item.key not in held]

    def _note(self, sent: SendResult) -> None:
        """Learn from an answer how to go on, and whether to."""
        error, now = sent.error, time.monotonic()
        with self._changed:
            self._delivery.error = error or self._delivery.error
            if error is None:
                self._failures, self._last_good = 0, now
            elif not (error.had_no_effect and error.passing):
                self._failures += 1
            silence, failures = now - self._last_good, self._failures
        if error is None:
            give_up = False
        elif isinstance(error, errors.Throttled):
            self._limit.slow_down(error.retry_after)
            log.warning("%s Going on at %.0f messages a second.", error.message, self._limit.rate)
            give_up = (error.retry_after or 0) > _LONGEST_WAIT or silence > _PATIENCE_THROTTLED
        else:
            log.warning("%d messages are %s. %s", len(sent.results), sent.results[0].outcome, error)
            give_up = failures >= _FAILURES or (error.had_no_effect and silence > _PATIENCE_CONNECTING)
        if sent.stop or give_up:
            self._over.set()

    def _settle(self, batch: list[_Item], sent: SendResult) -> None:
        """Record what came back; tell what is final, and queue what was certainly not sent."""
        entries = self._commits.settle([item.key for item in batch], sent.results)
        final: list[Settled] = []
        for item, entry in zip(batch, entries, strict=True):
            if entry.outcome is Outcome.UNSENT and item.tries < _TRIES and not self._is_over():
                item.tries += 1
                self._try_again(item, self._given.pause * 2 ** (item.tries - 1))
            else:
                final.append(Settled(item.index, item.key, item.message.to, entry, item.proof))
        self._tell(final)

    # ---- both

    def _try_again(self, item: _Item, pause: float) -> None:
        with self._changed:
            heapq.heappush(self._again, (time.monotonic() + pause, next(self._order), item))
            self._changed.notify_all()

    def _leave_unsent(self, items: Sequence[_Item]) -> None:
        # Not in the ledger: it has no intent of theirs, or knows them as unsent.
        entry = self._entry(Outcome.UNSENT, _CAME_TOO_LATE.message)
        self._policy.release([item.key for item in items])
        self._tell([Settled(item.index, item.key, item.message.to, entry, item.proof) for item in items])

    def _entry(self, outcome: Outcome, reason: str) -> Entry:
        return Entry(outcome, reason=reason, attempt=self._given.attempt, time=time.time())

    def _tell(self, settled: Sequence[Settled]) -> None:
        """Have outcomes counted and passed to the listener, by a thread that does nothing else."""
        if settled:
            self._teller.put(settled)

    def _tell_all(self, gathered: Sequence[Sequence[Settled]]) -> None:
        settled = [one for part in gathered for one in part]
        for one in settled:
            self._delivery.add(one)
        self._progress.tell(self._delivery.counts)
        if self._given.listener is not None:
            self._given.listener(settled)

    def _nobody_is_told(self, gathered: Sequence[Sequence[Settled]]) -> None:
        # What cannot be reported is not sent; the ledger goes on to record what is in flight.
        self._over.set()


def _chunks(audience: Iterable[_T]) -> Iterator[list[_T]]:
    chunk: list[_T] = []
    due = 0.0
    for one in audience:
        if not chunk:
            due = time.monotonic() + _CHUNK_SECONDS
        chunk.append(one)
        if len(chunk) == _CHUNK or time.monotonic() >= due:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
