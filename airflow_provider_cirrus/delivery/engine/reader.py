"""From the audience's messages to items of which everything is known: what earlier tries left, what the rules say."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.engine.parts import Item
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.ledger.base import Ledger, key_of
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.rules.policy import Policy

log = logging.getLogger(__name__)

_DUPLICATE = (Outcome.DUPLICATE, "the same message stands earlier")


class Reader:
    """
    Looks messages up, a few hundred at a time. Used by one thread.

    :param index: of the run's keys
    :param stream_id: part of a message's key
    :param ledger: what was sent before, here and by other tasks
    :param policy: who may be messaged at all
    :param watch: is shown what earlier tries left
    """

    def __init__(
        self, index: TempIndex, stream_id: str, ledger: Ledger | None, policy: Policy, watch: Watch | None = None
    ) -> None:
        self._index = index
        self._stream_id = stream_id
        self._ledger = ledger
        self._policy = policy
        self._watch = watch

    def load(self) -> None:
        """
        Read what earlier tries left.

        :raises LedgerError: it cannot be read
        """
        if self._ledger is None:
            return
        entries = self._ledger.load()
        if known := self._index.load(entries if self._watch is None else self._watch.remember(entries)):
            if self._watch is not None:
                self._watch.interrupted(self._index.interrupted())
            log.info("Earlier tries left the outcomes of %d messages; what they settled is left alone.", known)

    def items(self, rows: Sequence[tuple[int, Message | RejectedRow]], wall: float | None = None) -> list[Item]:
        """
        Return items of which everything is known.

        :param rows: up to 500 places and messages of the audience
        :param wall: Unix seconds; None: now
        :raises CirrusError: it cannot be known whether somebody may be messaged
        """
        items: list[Item] = []
        messages: list[Message] = []
        of_messages: list[Item] = []
        for index, one in rows:
            if isinstance(one, RejectedRow):
                items.append(Item(index, one.recipient, ruled=(Outcome.REJECTED, one.reason)))
            else:
                item = Item(index, one.to, one, key_of(one, self._stream_id), account_of(one.to))
                items.append(item)
                of_messages.append(item)
                messages.append(one)
        if messages:
            self._look_up(of_messages, messages, time.time() if wall is None else wall)
        return items

    def _look_up(self, items: Sequence[Item], messages: Sequence[Message], wall: float) -> None:
        keys = [item.key for item in items]
        claims = None
        if any(message.schedule is not None for message in messages):
            # One that is too late takes nothing from the same message further down that is not.
            claims = [message.schedule is None or message.schedule > wall for message in messages]
        earlier = self._index.check_and_mark(keys, claims)
        # Of those, too, that were sent before: their proof stands in the report of every try.
        looks = self._policy.evaluate(messages)
        new: list[bytes] = []
        for item, known, look in zip(items, earlier, looks, strict=True):
            if isinstance(look, str):
                item.ruled = (Outcome.SUPPRESSED, look)
            else:
                item.consent = look
            if known is True:
                new.append(item.key)
            elif known is False:
                item.ruled = _DUPLICATE
            else:
                item.earlier = known
        if new and self._ledger is not None and (taken := self._ledger.look_up(new)):
            for item in items:
                if item.earlier is None and item.ruled is not _DUPLICATE:
                    item.taken = taken.get(item.key)
