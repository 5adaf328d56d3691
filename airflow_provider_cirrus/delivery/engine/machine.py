"""
The whole life of a message, from a row of the audience to its outcome, as one state machine. One room, however
long: whoever follows a message reads it from top to bottom in one file.

Nothing here knows a thread, a clock, HTTP or a ledger: whoever drives the machine tells it what happened (an *event*:
rows were read, a write is durable, a request leaves, an answer came, time passed) and does what it asks for in return
(an *effect*: write, send, tell, wake me). So every order of events can be tried, and a test says what time it is. The
states, and what leads from one to the next, are in docs/delivery.md; in this file they stand in the order in which a
message meets them.

Two clocks are handed over with each event: ``now`` are seconds on a clock that only grows, ``wall`` are Unix seconds,
which schedules and quiet hours go by.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.codes import meaning_of
from airflow_provider_cirrus.api.errors import CirrusError, Disposition
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.results import Outcome, SendResult
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.api.wire import MAX_BATCH
from airflow_provider_cirrus.delivery.engine.pair_limit import PairLimit
from airflow_provider_cirrus.delivery.engine.parts import Batch, Commit, Effects, Item, Options, Outcomes
from airflow_provider_cirrus.delivery.engine.progress import Troubles
from airflow_provider_cirrus.delivery.engine.rate_limit import Frequency, RateLimit
from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.rules.claims import Overspent

log = logging.getLogger(__name__)

# Requests in a row that failed as a whole, after which more would only add to the unknown. So many may be on their
# way before the first answer, too: a server that takes requests and answers none costs as much.
_FAILURES = 3
# Seconds between the requests that leave before the first answer has come.
_FIRST_STEPS = 0.3
# Messages in a row that were refused as a request of their own: the template is wrong, not the recipient.
_LONE_REFUSALS = 3 * MAX_BATCH
# Seconds after which a run gives up: without any connection, and with nothing but 429.
_PATIENCE_CONNECTING = 10.0
_PATIENCE_THROTTLED = 120.0
# Seconds that a server's Retry-After is waited for here; beyond that Airflow's own retry waits better.
_LONGEST_WAIT = 60.0
# Requests a second from which on more than the usual most may be in flight, and for how many it is one more.
_FAST, _FASTER = 200, 40
# Most seconds that a write waits for more where requests leave as fast.
_WORTH_WAITING = 0.02
# How often a message that was certainly not sent is tried again in one run.
_TRIES = 5
# Messages read ahead of those that are being sent.
_READ_AHEAD = 1_000
# Messages to people who have had their burst that wait in memory; what is beyond waits for the next try.
_MOST_PAUSED = 1_000
# Seconds that a ledger which is out may be back in, and the pauses in which that is tried.
_LEDGER_PATIENCE = 30.0
_LEDGER_PAUSES = (0.05, 2.0)
# Seconds by which an intent precedes its departure, at least and at most; in between, what a write takes.
_LEAD = (0.02, 0.5)

_WAIT = 'Clear the task when there is room again, or let it wait for that: on_exceeded="defer".'
_NOT_ITS_TURN = "the run stopped before its turn"
_MAYBE_SENT = "an earlier try may have sent it; this one did not"


class Machine:
    """
    One run: from rows to outcomes. Every event is a method; after each, :meth:`effects` says what is to be done.

    :param options: what the run goes by
    :param now: seconds on a clock that only grows
    """

    def __init__(self, options: Options, now: float) -> None:
        self._options = options
        self._limit = RateLimit(options.messages_per_second, now, now + options.start_after)
        self._pairs = PairLimit()
        self._size = _size_of_requests(options.batch, options.messages_per_second)
        self._effects = Effects()
        # Read and not yet in a batch: in the order of the audience; those that their batch had no room for; those
        # that are to be tried again, by when; and how many of these are people who have had their burst.
        self._ready: deque[Item] = deque()
        self._aside: deque[Item] = deque()
        self._again: list[tuple[float, int, Item]] = []
        self._order = count()
        self._paused_pairs: dict[int, None] = {}
        # What waits to be written, what is being written, and since when that fails.
        self._intended: list[Batch] = []
        self._outcomes: Outcomes = []
        self._writing: Commit | None = None
        self._asked_to_write = self._is_writing = False
        self._write_began = now
        #: Seconds that a write takes, lately.
        self.write_took = 0.0
        self._ledger_failing: float | None = None
        self._ledger_pause = _LEDGER_PAUSES[0]
        self._write_not_before = now
        # Whose intent is durable; handed to a sender; left, and not answered.
        self._armed: deque[Batch] = deque()
        self._handed: dict[int, Batch] = {}
        self._in_flight: dict[int, Batch] = {}
        # Slow start: one request, then as many as good answers have earned.
        self._window = 1
        self._has_answer = False
        self._first_departure: float | None = None
        self._departures = Frequency(now)
        self._failures = 0
        self._lone_refusals = 0
        self._is_failing = False
        # Since when no connection comes about, and since when there is nothing but 429.
        self._unreached_since: float | None = None
        self._throttled_since: float | None = None
        # (template, language) of which no message can succeed, and why.
        self._blocked: dict[tuple[str, str], str] = {}
        self._is_exhausted = self._has_schedules = False
        self._is_over = False
        self._is_paused = False
        self._may_write = True
        #: What broke the run off: nothing leaves after it.
        self.broken: BaseException | None = None
        #: The last error of a whole request.
        self.error: CirrusError | None = None
        #: Why the run stopped by itself, and what to do about it; empty where it did not.
        self.stopped = self.remedy = ""
        #: Whether what came back, or a person, speaks against going on, so that a retry would stop at once; and whether
        #: the first messages have fared well, and the others wait for a person.
        self.is_called_off = self.awaits_approval = False
        self._canary = False
        self._troubles = Troubles(log)
        #: How many of the unsent wait for the end of quiet hours or for another day's budget, and until when at least.
        self.deferred = 0
        self.resume_at: float | None = None
        self._overspent: Overspent | None = None

    # ---- what a driver asks

    def effects(self) -> Effects:
        """Return what is to be done since this was last asked."""
        found, self._effects = self._effects, Effects()
        return found

    @property
    def wants_rows(self) -> bool:
        """Whether more of the audience may be read: memory must not grow with it."""
        return self._is_over or len(self._ready) < _READ_AHEAD

    @property
    def is_overspent(self) -> bool:
        """Whether the day's budget is spent."""
        return self._overspent is not None

    @property
    def is_done(self) -> bool:
        """Whether every message that was read has its outcome, and everything is written."""
        return self.is_idle and self._is_exhausted and not (self._ready or self._aside or self._again or self._armed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight, and everything is written that can be."""
        writing = self._may_write and (self._intended or self._outcomes or self._writing)
        return not (self._in_flight or self._handed or writing)

    @property
    def in_flight(self) -> int:
        """Messages that have left and were not answered."""
        return sum(len(batch.items) for batch in self._in_flight.values())

    @property
    def undecided(self) -> int:
        """Messages whose intent is written, or being written, and whose outcome is not known: a kill leaves these."""
        writing = [] if self._writing is None else self._writing.batches
        here = (*self._armed, *self._in_flight.values(), *writing)
        return sum(len(batch.items) for batch in here)

    def rate(self, now: float) -> float:
        """Return the messages a second that are allowed now."""
        return self._limit.rate(now)

    def appetite(self, now: float) -> int:
        """Return how many messages a second this run could use, if the limit were high."""
        if not self._can_send():
            return 0
        due = sum(moment <= now + 1 for moment, _, _ in self._again)
        writing = [] if self._writing is None else self._writing.batches
        parts = (self._intended, writing, self._armed, self._handed.values())
        known = len(self._ready) + len(self._aside) + due + sum(len(batch.items) for part in parts for batch in part)
        if not self._is_exhausted:
            # There is room for what is read next.
            known += self._options.batch
        # Were it less than what left within the last second, the last few messages would wait until that is over.
        return max(known, self._limit.recent(now))

    def wake_at(self, now: float) -> float | None:
        """Return when :meth:`tick` has something to do if nothing else happens before; None: never."""
        moments: list[float] = []
        if self._ledger_failing is not None and self._may_write and not (self._asked_to_write or self._is_writing):
            moments.append(self._write_not_before)
        if self._can_send():
            if self._armed and self._has_sender(now):
                moments.append(now + self._limit.wait(len(self._armed[0].items), now))
            if self._has_slot(now):
                if self._ready or self._aside:
                    moments.append(now + self._lead_wait(now))
                elif self._again:
                    moments.append(max(self._again[0][0], now + self._lead_wait(now)))
            elif (self._ready or self._aside or self._again) and (step := self._next_step(now)) is not None:
                moments.append(step)
        return min(moments, default=None)

    # ---- events: the audience

    def begin(self, is_approved: bool, now: float, wall: float) -> None:
        """
        Take note that it is known what earlier tries left: it may speak against sending any more.

        :param is_approved: whether somebody has said by now that the run may go on after its first messages
        """
        self._canary = bool(self._options.watch and self._options.watch.canary_left)
        if not self._canary and self._options.asks_after_canary and not is_approved:
            self._await_approval()
        self._look_at_outcomes()
        self._go_on(now, wall)

    def rows(self, items: Sequence[Item], now: float, wall: float) -> None:
        """Take what was read: what there is nothing to do about is told, the others wait for their turn."""
        tell, ready = self._effects.tell, self._ready
        may_go = self._asks_nothing and not (self._is_over or self._options.dry_run)
        for item in items:
            earlier = item.earlier
            if earlier is not None:
                item.maybe = earlier.outcome is Outcome.UNKNOWN
            elif item.taken is None and item.ruled is None and may_go and item.to_send.schedule is None:
                # Nearly all of them.
                ready.append(item)
                continue
            if item.message is not None and item.message.schedule is not None:
                self._has_schedules = True
            if final := self._without_sending(item, wall):
                tell.append(self._told(item, final))
            elif held := self._not_now(item, wall):
                tell.append(held)
            elif self._options.dry_run:
                tell.append(self._would_send(item, wall))
            else:
                self._ready.append(item)
        self._go_on(now, wall)

    def _would_send(self, item: Item, wall: float) -> MessageOutcome:
        settled = self._settled(item, Outcome.UNSENT, "a dry run", wall)
        if self._options.preview is not None:
            settled.preview = self._options.preview(item.to_send)
        return settled

    def end_of_audience(self, now: float, wall: float) -> None:
        """Take note that no row comes any more."""
        self._is_exhausted = True
        self._go_on(now, wall)

    def _without_sending(self, item: Item, wall: float) -> Entry | None:
        """Return the outcome of a message that there is nothing to do about; None where there is."""
        earlier = item.earlier
        if earlier is not None and not self._is_to_repeat(earlier):
            # Before all rules: what an earlier try sent is settled, however late it is by now.
            return earlier
        if item.taken is not None:
            return item.taken
        return None if item.ruled is None else self._not_sent(*item.ruled, item.maybe, wall)

    def _is_to_repeat(self, earlier: Entry) -> bool:
        if earlier.outcome is Outcome.UNKNOWN:
            return self._options.repeat_unknown
        return earlier.outcome is Outcome.UNSENT

    @property
    def _asks_nothing(self) -> bool:
        """Whether of a message without a schedule nothing is asked before it leaves."""
        return self._options.timing is None and not self._blocked and self._overspent is None

    def _held_back(self, item: Item, wall: float) -> MessageOutcome | None:
        """Return the outcome of a message that may not leave at this moment; it may be given another schedule."""
        if self._is_over:
            return self._settled(item, Outcome.UNSENT, _NOT_ITS_TURN, wall)
        message = item.to_send
        if self._blocked and (why := self._blocked.get((message.template.name, message.template.language))):
            return self._settled(item, Outcome.UNSENT, why, wall)
        schedule = message.schedule
        if schedule is not None and schedule <= wall:
            return self._settled(item, Outcome.REJECTED, "its schedule is past", wall)
        if self._options.timing is None or (schedule is None and item.awake[0] <= wall < item.awake[1]):
            return None
        timing = self._options.timing(message, wall)
        if timing.outcome is None:
            item.message, item.awake = timing.message, (wall, timing.holds_until)
            return None
        if timing.outcome is Outcome.UNSENT:
            return self._put_off(item, timing.reason, timing.until, wall)
        return self._settled(item, timing.outcome, timing.reason, wall)

    def _not_now(self, item: Item, wall: float) -> MessageOutcome | None:
        """Return the same of a message that has no place in the day's budget yet."""
        if self._overspent is not None and not self._is_over:
            return self._put_off(item, self._overspent.reason, self._overspent.until, wall)
        return self._held_back(item, wall)

    def _put_off(self, item: Item, reason: str, until: float | None, wall: float) -> MessageOutcome:
        """Return the outcome of a message that may leave later."""
        if until is not None and not item.maybe:
            self.deferred += 1
            self.resume_at = until if self.resume_at is None else min(self.resume_at, until)
        return self._settled(item, Outcome.UNSENT, reason, wall)

    # ---- from waiting to intended

    def _make_batches(self, now: float, wall: float) -> None:
        """Make batches of what departs next, and only of that: what is cut off after its intent stays unknown."""
        while self._can_send() and self._has_slot(now) and self._lead_wait(now) <= 0:
            items = self._next_items(now, wall, min(self._size, self._canary_room()))
            if not items:
                return
            self._intended.append(Batch(items))

    def _can_send(self) -> bool:
        return not (self._is_over or self._is_paused or self._ledger_failing is not None)

    @property
    def _slots(self) -> int:
        writing = 0 if self._writing is None else len(self._writing.batches)
        return len(self._intended) + writing + len(self._armed) + len(self._in_flight) + len(self._handed)

    def _has_slot(self, now: float) -> bool:
        # Beside what may be in flight, what leaves while an intent is written: nothing where answers are slow or the
        # limit is low, a few batches where thousands of messages leave in a second.
        meanwhile = int(self._departures.rate(now) * 2.5 * self.write_took + 0.5)
        if self._canary and not self._canary_room():
            return False
        return self._slots < self._open_window(now) + min(meanwhile, self._options.concurrency)

    def _canary_room(self) -> int:
        """Return how many messages more may be on their way before it is known how the first ones fare."""
        if not self._canary:
            return self._size
        watch = self._options.watch
        assert watch is not None
        writing = [] if self._writing is None else self._writing.batches
        parts = (self._intended, writing, self._armed, self._handed.values(), self._in_flight.values())
        return max(0, watch.canary_left - sum(len(batch.items) for part in parts for batch in part))

    def _open_window(self, now: float) -> int:
        """Return how many requests may be in flight now."""
        window = self._window
        if self._takes_first_steps and self._first_departure is not None:
            window = min(_FAILURES, 1 + int((now - self._first_departure) / _FIRST_STEPS + 1e-6))
        most = self._options.concurrency
        if window < most:
            return window
        # Where hundreds of requests leave in a second, their threads wait for each other as long as for the server.
        more = int((self._departures.rate(now) - _FAST) / _FASTER)
        return min(most + max(more, 0), max_in_flight(most))

    def _next_step(self, now: float) -> float | None:
        """Return when the window opens further by itself; None: only an answer opens it."""
        if not self._takes_first_steps or self._first_departure is None:
            return None
        window = self._open_window(now)
        if window >= min(_FAILURES, self._options.concurrency):
            return None
        return self._first_departure + window * _FIRST_STEPS

    @property
    def _takes_first_steps(self) -> bool:
        return not self._has_answer and not self._is_failing

    def _lead_wait(self, now: float) -> float:
        """Return the seconds until the next batch's intent has to be written for it to leave in its turn."""
        writing = [] if self._writing is None else self._writing.batches
        ahead = sum(len(batch.items) for part in (self._intended, writing, self._armed) for batch in part)
        lead = min(max(_LEAD[0], 1.5 * self.write_took), _LEAD[1])
        return self._limit.forecast(self._size, ahead, now) - lead

    def _next_items(self, now: float, wall: float, most: int) -> list[Item]:
        """
        Take the messages of a request, those first that are tried again.

        No account stands in a request twice: Cirrus answers by number, and could not tell them apart.
        """
        items: list[Item] = []
        accounts: set[str] = set()
        later: list[Item] = []
        while len(items) < most and len(later) < most:
            item = self._next_item(now)
            if item is None:
                break
            if item.account in accounts:
                later.append(item)
            elif pause := self._pairs.wait(item.account, now):
                self._wait_for_pair(item, now + pause, wall)
            elif (self._blocked or self._overspent) and (held := self._not_now(item, wall)):
                # Of the others it is asked when they depart; of these there may be a million.
                self._effects.tell.append(held)
            else:
                accounts.add(item.account)
                items.append(item)
        self._aside.extendleft(reversed(later))
        return items

    def _next_item(self, now: float) -> Item | None:
        if self._again and self._again[0][0] <= now:
            _, order, item = heapq.heappop(self._again)
            self._paused_pairs.pop(order, None)
            return item
        if self._aside:
            return self._aside.popleft()
        return self._ready.popleft() if self._ready else None

    def _wait_for_pair(self, item: Item, moment: float, wall: float) -> None:
        if len(self._paused_pairs) >= _MOST_PAUSED:
            why = "more messages to this number than WhatsApp takes for now"
            self._effects.tell.append(self._settled(item, Outcome.UNSENT, why, wall))
            return
        order = next(self._order)
        self._paused_pairs[order] = None
        heapq.heappush(self._again, (moment, order, item))

    # ---- events: the ledger

    def worth_waiting(self, now: float) -> float:
        """Return the seconds for which the next write should wait at least for more to come."""
        # It takes as long for many as for few, and where thousands leave in a second, senders have enough to do.
        return min(0.5 * self.write_took, _WORTH_WAITING) if self._departures.rate(now) > _FAST else 0.0

    def next_write(self, now: float) -> Commit | None:
        """Return what is to be written now; None: nothing. One write at a time: then call one of the next two."""
        self._asked_to_write = False
        if not self._may_write:
            return None
        if self._writing is None and (self._intended or self._outcomes):
            self._writing = Commit(self._intended, self._outcomes)
            self._intended, self._outcomes = [], []
        self._write_began = now
        self._is_writing = self._writing is not None
        return self._writing

    def committed(self, conflicts: Mapping[bytes, Entry], now: float, wall: float) -> None:
        """
        Take note that a write is durable.

        :param conflicts: of the intents' keys, those that must not be sent, with what they come to
        """
        written, self._writing = self._writing, None
        self._is_writing = False
        assert written is not None
        self.write_took += 0.2 * (now - self._write_began - self.write_took)
        self._ledger_failing, self._ledger_pause = None, _LEDGER_PAUSES[0]
        if (over := written.overspent) is not None:
            self._overspent = over
        for batch in written.batches:
            if conflicts:
                for item in batch.items:
                    if (entry := conflicts.get(item.key)) is None:
                        continue
                    if over is not None and entry.outcome is Outcome.UNSENT:
                        self._effects.tell.append(self._put_off(item, over.reason, over.until, wall))
                    else:
                        self._effects.tell.append(self._told(item, entry))
                batch.items = [item for item in batch.items if item.key not in conflicts]
            if batch.items:
                self._armed.append(batch)
        if self._overspent is not None and self._overspent.until is None:
            # Those who have their place go; nobody else does, and no retry would change that.
            self.is_called_off = True
            self.stopped, self.remedy = f"the day's budget is spent ({self._overspent.reason}).", _WAIT
        self._go_on(now, wall)

    def write_failed(self, error: BaseException, passes: bool, now: float, wall: float) -> None:
        """
        Take note that a write may not have happened.

        While it is tried again nothing leaves: whether a newer try has taken over is not known either.

        :param passes: whether the same write may succeed in a moment
        """
        self._is_writing = False
        if self._ledger_failing is None:
            self._ledger_failing = now
        if not passes or now - self._ledger_failing > _LEDGER_PATIENCE:
            self._may_write = False
            self.break_off(error, now, wall)
            return
        self._troubles.say("ledger", f"The ledger does not answer; nothing is sent until it does. {error}", now)
        self._write_not_before = now + self._ledger_pause
        self._ledger_pause = min(2 * self._ledger_pause, _LEDGER_PAUSES[1])
        self._go_on(now, wall)

    def write_refused(self, error: BaseException, now: float, wall: float) -> None:
        """Take note that a write's outcomes are durable, and that no further message may be recorded, so none sent."""
        written, self._writing = self._writing, None
        assert written is not None
        self._is_writing = False
        for batch in written.batches:
            self._effects.tell += [self._settled(item, Outcome.UNSENT, _NOT_ITS_TURN, wall) for item in batch.items]
        self.break_off(error, now, wall)

    # ---- from intended to sent: events of the senders

    def _hand_over(self, now: float) -> None:
        """Hand batches to senders whose intent is durable, each as soon as the limit lets it leave."""
        while self._armed and self._can_send() and self._has_sender(now):
            self._fit(self._armed[0])
            if self._limit.wait(len(self._armed[0].items), now) > 0:
                return
            batch = self._armed.popleft()
            batch.permit = self._limit.reserve(len(batch.items), now)
            self._handed[id(batch)] = batch
            self._effects.send.append(batch)

    def _fit(self, batch: Batch) -> None:
        """Divide the first batch where less may leave in a second by now than when it was made."""
        if len(batch.items) > self._size:
            self._armed.insert(1, Batch(batch.items[self._size :]))
            batch.items = batch.items[: self._size]

    def _has_sender(self, now: float) -> bool:
        return len(self._in_flight) + len(self._handed) < self._open_window(now)

    def depart(self, batch: Batch, now: float, wall: float) -> list[Message]:
        """
        Let a batch leave at this moment; return what is to be sent, which may be less than it was, or nothing.

        Asked by a sender at the last moment: since the batch was handed over the run may have been stopped, a schedule
        have passed or a quiet hour begun.
        """
        del self._handed[id(batch)]
        permit = batch.permit
        assert permit is not None
        if self._is_over:
            self._recall(batch, wall)
        elif not self._can_send() or not self._limit.rate(now):
            # Its intent stays, and so does its turn.
            self._limit.leave(permit, 0, now)
            self._armed.appendleft(batch)
            return []
        else:
            self._check_at_departure(batch, wall)
        self._limit.leave(permit, len(batch.items), now)
        if batch.items:
            self._in_flight[id(batch)] = batch
            self._departures.count(now)
            if self._first_departure is None:
                self._first_departure = now
        self._go_on(now, wall)
        return [item.to_send for item in batch.items]

    def left(self, batch: Batch, now: float) -> None:
        """Take note that a request is on the wire by now: it may have waited for its connection until then."""
        if batch.permit is not None and batch.items:
            self._limit.leave(batch.permit, len(batch.items), now)

    def _check_at_departure(self, batch: Batch, wall: float) -> None:
        if self._asks_nothing and not self._has_schedules:
            return
        leaving: list[Item] = []
        for item in batch.items:
            if held := self._held_back(item, wall):
                self._record([(item, held.entry)])
                self._effects.tell.append(held)
            else:
                leaving.append(item)
        batch.items = leaving

    def _recall(self, batch: Batch, wall: float) -> None:
        """Record that messages whose intent is durable do not leave after all."""
        entry = self._entry(Outcome.UNSENT, _NOT_ITS_TURN, wall)
        self._settle_items([(item, self._forward(item, entry)) for item in batch.items])
        batch.items = []

    # ---- from sent to its outcome: events of the senders

    def answered(self, batch: Batch, sent: SendResult, now: float, wall: float) -> None:
        """Take the answer to a request, or what its absence means."""
        if self._in_flight.pop(id(batch), None) is None:
            # It was given up on.
            return
        self._learn(batch, sent, now)
        if sent.split and len(batch.items) > 1 and not self._is_over:
            self._halve(batch)
        else:
            self._take(batch, sent, now, wall)
        self._go_on(now, wall)

    def _halve(self, batch: Batch) -> None:
        """Send a refused request again in halves, until whoever is wrong stands alone; the intents stay as they are."""
        middle = len(batch.items) // 2
        self._armed.extendleft([Batch(batch.items[middle:]), Batch(batch.items[:middle])])

    def _take(self, batch: Batch, sent: SendResult, now: float, wall: float) -> None:
        final: list[tuple[Item, Entry]] = []
        again: list[tuple[Item, Entry]] = []
        attempt = self._options.attempt
        for item, result in zip(batch.items, sent.results, strict=True):
            entry = Entry.of(result, attempt, wall)
            if entry.outcome is not Outcome.UNSENT:
                final.append((item, entry))
            elif item.tries < _TRIES and not self._is_over:
                item.tries += 1
                pause = self._options.pause * 2 ** (item.tries - 1)
                heapq.heappush(self._again, (now + pause, next(self._order), item))
                again.append((item, self._forward(item, entry)))
            else:
                final.append((item, self._forward(item, entry)))
        # What is tried again is recorded, too: it is not under way while it waits.
        self._record(again)
        self._settle_items(final)
        if (watch := self._options.watch) is not None:
            for _, entry in final:
                if entry.outcome is not Outcome.UNSENT:
                    watch.add(entry)
            self._look_at_outcomes()

    def _look_at_outcomes(self) -> None:
        """End the run where what came back speaks against going on; let the others leave where the first fare well."""
        watch = self._options.watch
        if watch is None or self._is_over:
            return
        if found := watch.why_not_on():
            self.is_called_off = not (self._options.repeat_unknown and watch.stops_for_unknown)
            self._end(*found)
        elif self._canary and not watch.canary_left:
            self._canary = False
            if self._options.asks_after_canary:
                self._await_approval()
            else:
                log.info("The first messages have their outcomes, and nothing speaks against the others: they follow.")

    def _await_approval(self) -> None:
        self._is_paused = self.awaits_approval = True
        log.info("The first messages have their outcomes, and nothing speaks against the others: resume the send.")

    def _forward(self, item: Item, entry: Entry) -> Entry:
        """Return what may be recorded: a message that an earlier try may have sent is never certainly unsent again."""
        if item.maybe and entry.outcome is Outcome.UNSENT:
            return entry._replace(outcome=Outcome.UNKNOWN, reason=_MAYBE_SENT)
        return entry

    def _learn(self, batch: Batch, sent: SendResult, now: float) -> None:
        """Learn from an answer how to go on, and whether to."""
        error = sent.error
        if error is None:
            self._has_answer = True
            self._window = min(self._window + 1, self._options.concurrency)
            self._failures, self._lone_refusals = 0, 0
            self._is_failing, self._unreached_since, self._throttled_since = False, None, None
            self._block(sent)
            if sent.stop:
                self._end(*_why_account_stops(sent))
            return
        self.error = error
        self._is_failing = True
        give_up = sent.stop
        if isinstance(error, errors.Throttled):
            self._unreached_since = None
            self._throttled_since = now if self._throttled_since is None else self._throttled_since
            self._limit.slow_down(error.retry_after, now)
            self._troubles.say(
                type(error).__name__, f"{error.message} Going on at {self._limit.rate(now):.0f} messages a second.", now
            )
            is_too_long = (error.retry_after or 0) > _LONGEST_WAIT
            give_up = give_up or is_too_long or now - self._throttled_since > _PATIENCE_THROTTLED
        else:
            what = f"{in_numbers(len(sent.results), 'message')} {'is' if len(sent.results) == 1 else 'are'}"
            self._troubles.say(type(error).__name__, f"{what} {sent.results[0].outcome}. {error}", now)
            if isinstance(error, errors.BadRequest):
                # The server works; what is wrong is in the request, and it is being looked for.
                self._has_answer = True
                self._is_failing, self._unreached_since = False, None
                self._lone_refusals += len(batch.items) == 1
                give_up = give_up or self._lone_refusals >= _LONE_REFUSALS
            elif error.not_sent:
                self._unreached_since = now if self._unreached_since is None else self._unreached_since
                give_up = give_up or now - self._unreached_since > _PATIENCE_CONNECTING
                self._window = 1
            else:
                # It was reached, whatever became of the request.
                self._unreached_since = None
                self._failures += 1
                self._window = 1
                give_up = give_up or self._failures >= _FAILURES
        if give_up:
            self._end(error.message, error.hint)

    def _block(self, sent: SendResult) -> None:
        for pair in sent.blocked:
            if pair not in self._blocked:
                name, language = pair
                log.warning("No further message of template %r in %r is sent: it was refused.", name, language)
                self._blocked[pair] = f"template {name!r} in {language!r} was refused for another message of this run"

    # ---- outcomes

    def _entry(self, outcome: Outcome, reason: str, wall: float) -> Entry:
        return Entry(outcome, reason=reason, attempt=self._options.attempt, time=wall)

    def _not_sent(self, outcome: Outcome, reason: str, maybe: bool, wall: float) -> Entry:
        """Return the outcome of a message that this try did not send; what may have been sent stays unknown."""
        return self._entry(Outcome.UNKNOWN, _MAYBE_SENT, wall) if maybe else self._entry(outcome, reason, wall)

    def _settled(self, item: Item, outcome: Outcome, reason: str, wall: float) -> MessageOutcome:
        return self._told(item, self._not_sent(outcome, reason, item.maybe, wall))

    def _told(self, item: Item, entry: Entry) -> MessageOutcome:
        return MessageOutcome(item.index, item.key, item.recipient, entry, item.consent)

    def _record(self, entries: Sequence[tuple[Item, Entry]]) -> None:
        self._outcomes += entries

    def _settle_items(self, entries: Sequence[tuple[Item, Entry]]) -> None:
        self._record(entries)
        self._effects.tell += [self._told(item, entry) for item, entry in entries]

    # ---- events: time, and what ends or holds up a run

    def tick(self, now: float, wall: float) -> None:
        """Take note that time has passed."""
        self._go_on(now, wall)

    def stop(self, now: float, wall: float) -> None:
        """End the run: nothing more leaves, and what is in flight is recorded when it is answered."""
        self._end()
        self._go_on(now, wall)

    def pause(self) -> None:
        """Let nothing leave until :meth:`resume`; what is in flight is recorded."""
        self._is_paused = True

    def resume(self, now: float, wall: float) -> None:
        """Go on after :meth:`pause`."""
        self._is_paused = self.awaits_approval = False
        self._go_on(now, wall)

    def slow_down(self, per_second: float, now: float, wall: float) -> None:
        """Take another limit, in messages a second."""
        self._limit.limit_to(per_second, now)
        self._size = _size_of_requests(self._options.batch, per_second)
        self._go_on(now, wall)

    def ask(self, demand: int) -> tuple[int, float]:
        """
        Take note that so many messages a second are being asked for: no more leave until there is an answer.

        :return: how often the server has asked for less so far, and until when it wants nothing
        """
        self._limit.want(demand)
        return self._limit.throttled, self._limit.not_before

    def grant(self, per_second: int, until: float, now: float, wall: float) -> None:
        """Take a part of a rate that is shared with others, on the clock of ``now``; nothing leaves after its end."""
        self._limit.grant(per_second, until)
        if per_second:
            self._size = _size_of_requests(self._options.batch, min(per_second, self._limit.full))
        self._go_on(now, wall)

    def call_off(self, why: str, remedy: str, now: float, wall: float) -> None:
        """End the run as somebody wants: the rest stays unsent, and a retry would find the same."""
        if not self._is_over:
            self.is_called_off = True
        self._end(why, remedy)
        self._go_on(now, wall)

    def break_off(self, error: BaseException, now: float, wall: float) -> None:
        """End the run by an error that is none of its messages': what became of them cannot be told, or recorded."""
        if self.broken is None:
            self.broken = error
        self._end()
        self._go_on(now, wall)

    def abandon(self, wall: float) -> None:
        """Wait no longer for what is in flight: whether it was sent is not known. The last event of a run."""
        self._troubles.sum_up()
        for batch in self._in_flight.values():
            entry = self._entry(Outcome.UNKNOWN, "the task ended before an answer came", wall)
            self._effects.tell += [self._told(item, entry) for item in batch.items]
        self._in_flight.clear()
        self._may_write = False

    def _end(self, stopped: str = "", remedy: str = "") -> None:
        if stopped and not self._is_over:
            self.stopped, self.remedy = stopped, remedy
        self._is_over = True

    def _go_on(self, now: float, wall: float) -> None:
        """Do what can be done now, whatever has just happened."""
        if self._is_over:
            self._account_for_the_rest(wall)
        else:
            self._hand_over(now)
            self._make_batches(now, wall)
        if self._may_write and not (self._asked_to_write or self._is_writing) and self._has_to_write(now):
            self._asked_to_write = self._effects.write = True

    def _has_to_write(self, now: float) -> bool:
        if self._writing is not None:
            return now >= self._write_not_before
        return bool(self._intended or self._outcomes)

    def _account_for_the_rest(self, wall: float) -> None:
        """Call unsent what the run ended before."""
        rest = [*self._ready, *self._aside, *(item for _, _, item in sorted(self._again, key=lambda one: one[:2]))]
        for batch in self._intended:
            # Not written yet, so there is nothing to take back.
            rest += batch.items
        self._intended.clear()
        self._ready.clear()
        self._aside.clear()
        self._again.clear()
        self._paused_pairs.clear()
        self._effects.tell += [self._settled(item, Outcome.UNSENT, _NOT_ITS_TURN, wall) for item in rest]
        while self._armed:
            self._recall(self._armed.popleft(), wall)
        if not self._may_write and self._writing is not None:
            # Whether their intent was written is not known; that they did not leave is.
            for batch in self._writing.batches:
                self._effects.tell += [self._settled(item, Outcome.UNSENT, _NOT_ITS_TURN, wall) for item in batch.items]
            self._writing = None


def _why_account_stops(sent: SendResult) -> tuple[str, str]:
    """Return why nothing more can be sent, after a message was refused for the whole account; and the remedy."""
    refused = next(one for one in sent.results if errors.disposition(one.code) is Disposition.STOP)
    if (meaning := meaning_of(refused.code)) is None:
        return f"Cirrus refuses all messages of the account: {mask_all(refused.reason or '')}", ""
    return f"Cirrus refuses all messages of the account ({refused.code}): {meaning.says}.", meaning.remedy


def max_in_flight(concurrency: int) -> int:
    """Return how many requests there are at most at the same time, however fast they leave."""
    return concurrency + concurrency // 2


def _size_of_requests(most: int, per_second: float) -> int:
    """Return how many messages a request has: more than a second's would be refused, and what is over goes unused."""
    requests = max(1, math.ceil(per_second / most))
    return max(1, min(most, int(per_second / requests)))
