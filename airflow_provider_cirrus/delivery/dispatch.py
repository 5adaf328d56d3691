"""Sending an audience: batches, pace, what was sent before, and when to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

from airflow_provider_cirrus.api.errors import Ambiguous, CirrusError
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.api.wire import MAX_BATCH
from airflow_provider_cirrus.delivery.ledger import Ledger, key_of

log = logging.getLogger(__name__)

# A server that failed this many requests in a row is down; more would only grow the number of unknowns.
_PATIENCE = 3
# Seconds between two lines of progress in the log.
_PROGRESS_EVERY = 10.0


@dataclass
class Delivery:
    """
    What became of an audience.

    :ivar results: one per message, in the order of the audience
    :ivar error: the last error of a whole request, for its hint and its ``retry_after``
    :ivar seconds: how long it took
    """

    results: list[Result]
    error: CirrusError | None = None
    seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """The number of messages by outcome, all outcomes named; they add up to the audience."""
        found = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        for result in self.results:
            found[result.outcome.value] += 1
        return found


@dataclass
class Dispatcher:
    """
    Sends messages in batches, never faster than the account's limit, each one at most once.

    :param send: sends 1 to 20 messages, such as :meth:`~airflow_provider_cirrus.api.client.CirrusClient.send`
    :param stream_id: part of a message's key
    :param ledger: what was sent before, and where to record what is; None: nothing is remembered
    :param messages_per_second: the limit
    :param stop: once set, no further batch leaves
    :param clock: seconds that only grow
    """

    send: Callable[[Sequence[Message]], SendResult]
    stream_id: str
    ledger: Ledger | None = None
    messages_per_second: float = 80
    stop: Event = field(default_factory=Event)
    clock: Callable[[], float] = time.monotonic

    def run(self, messages: Sequence[Message]) -> Delivery:
        """
        Send what was not sent before, and say what became of every message.

        :raises Exception: the ledger's own, as nothing may be sent that could not be recorded
        """
        begun = self.clock()
        keys = [key_of(message, self.stream_id) for message in messages]
        results = self._settled(messages, keys)
        error: CirrusError | None = None
        failures, next_start, told = 0, begun, begun
        to_send = [place for place in range(len(messages)) if place not in results]
        # A request above the account's limit for one second would be refused for ever.
        size = max(1, min(MAX_BATCH, int(self.messages_per_second)))
        for number, batch in enumerate(batches(to_send, messages, size)):
            if self.stop.wait(max(0.0, next_start - self.clock())) or self.stop.is_set():
                break
            sent = self._send(number, batch, messages, keys)
            # From the answer on, as Cirrus counts from when it took them, which was at some time before.
            next_start = self.clock() + len(batch) / self.messages_per_second
            results.update(zip(batch, sent.results, strict=True))
            error = sent.error or error
            # An error here means that Cirrus did not judge the messages one by one.
            failures = failures + 1 if sent.error else 0
            unsent = sent.error is not None and sent.results[0].outcome is Outcome.UNSENT
            if sent.stop or unsent or failures >= _PATIENCE:
                break
            if self.clock() - told >= _PROGRESS_EVERY:
                told = self.clock()
                log.info("Sent %d of %d messages.", len(results), len(messages))
        for place, message in enumerate(messages):
            if place not in results:
                results[place] = Result(
                    recipient=message.to, outcome=Outcome.UNSENT, reason="the run stopped before its turn"
                )
        return Delivery([results[place] for place in range(len(messages))], error, self.clock() - begun)

    def _settled(self, messages: Sequence[Message], keys: Sequence[str]) -> dict[int, Result]:
        """Return the results that stand before anything is sent: those of earlier tries, and duplicates."""
        known: Mapping[str, Result] = self.ledger.load() if self.ledger else {}
        settled: dict[int, Result] = {}
        seen: set[str] = set()
        for place, (message, key) in enumerate(zip(messages, keys, strict=True)):
            if key in seen:
                settled[place] = Result(
                    recipient=message.to, outcome=Outcome.DUPLICATE, reason="the same message stands earlier"
                )
            elif key in known and known[key].outcome is not Outcome.UNSENT:
                settled[place] = known[key].model_copy(update={"recipient": message.to})
            seen.add(key)
        if earlier := sum(result.outcome is not Outcome.DUPLICATE for result in settled.values()):
            log.info("%d of %d messages were settled by an earlier try and are left alone.", earlier, len(messages))
        return settled

    def _send(self, number: int, batch: Sequence[int], messages: Sequence[Message], keys: Sequence[str]) -> SendResult:
        batch_keys = [keys[place] for place in batch]
        if self.ledger:
            self.ledger.intend(number, batch_keys)
        sent = self.send([messages[place] for place in batch])
        if self.ledger:
            self.ledger.record(number, batch_keys, sent.results)
        if isinstance(sent.error, Ambiguous):
            log.warning("%d messages may or may not have been sent. %s", len(batch), sent.error)
        return sent


def batches(places: Sequence[int], messages: Sequence[Message], size: int = MAX_BATCH) -> Iterator[list[int]]:
    """
    Yield the places of the messages in batches of up to ``size``, no account twice in one.

    Cirrus answers by number: two messages to one number in one request could not be told apart.
    """
    waiting = list(places)
    while waiting:
        batch: list[int] = []
        left: list[int] = []
        accounts: set[str] = set()
        for at, place in enumerate(waiting):
            if len(batch) == size:
                left += waiting[at:]
                break
            account = account_of(messages[place].to)
            (left if account in accounts else batch).append(place)
            accounts.add(account)
        yield batch
        waiting = left
