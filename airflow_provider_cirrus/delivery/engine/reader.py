"""From the audience's messages to rows of which everything is known: what earlier tries left, what the rules say."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.audience import Refused
from airflow_provider_cirrus.delivery.engine.machine import Row
from airflow_provider_cirrus.delivery.ledger.base import Entry, Ledger, key_of
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.policy import Policy

log = logging.getLogger(__name__)

_DUPLICATE = (Outcome.DUPLICATE, "the same message stands earlier")
_NOTHING: Mapping[bytes, Entry] = {}


class Reader:
    """
    Looks messages up, a few hundred at a time. Used by one thread.

    :param index: of the run's keys
    :param stream_id: part of a message's key
    :param ledger: what was sent before, here and by other tasks
    :param policy: who may be messaged at all
    """

    def __init__(self, index: TempIndex, stream_id: str, ledger: Ledger | None, policy: Policy) -> None:
        self._index = index
        self._stream_id = stream_id
        self._ledger = ledger
        self._policy = policy

    def load(self) -> None:
        """
        Read what earlier tries left.

        :raises LedgerError: it cannot be read
        """
        if self._ledger is not None and (known := self._index.load(self._ledger.load())):
            log.info("Earlier tries left the outcomes of %d messages; what they settled is left alone.", known)

    def rows(self, found: Sequence[tuple[int, Message | Refused]], wall: float | None = None) -> list[Row]:
        """
        Return rows of which everything is known.

        :param found: up to 500 places and messages of the audience
        :param wall: Unix seconds; None: now
        :raises CirrusError: it cannot be known whether somebody may be messaged
        """
        messages = [(index, one) for index, one in found if not isinstance(one, Refused)]
        rows = {
            index: Row(index, None, one.recipient, ruled=(Outcome.REJECTED, one.reason))
            for index, one in found
            if isinstance(one, Refused)
        }
        if messages:
            rows |= self._of_messages(messages, time.time() if wall is None else wall)
        return [rows[index] for index, _ in found]

    def _of_messages(self, messages: Sequence[tuple[int, Message]], wall: float) -> dict[int, Row]:
        keys = [key_of(message, self._stream_id) for _, message in messages]
        # One that is too late takes nothing from the same message further down that is not.
        claims = [message.schedule is None or message.schedule > wall for _, message in messages]
        earlier = self._index.see(keys, None if all(claims) else claims)
        # Of those, too, that were sent before: their proof stands in the report of every try.
        looks = self._policy.look([message for _, message in messages])
        taken = _NOTHING
        if self._ledger is not None and (new := [key for key, known in zip(keys, earlier, strict=True) if known is True]):
            taken = self._ledger.look_up(new)
        rows = {}
        for (index, message), key, known, look in zip(messages, keys, earlier, looks, strict=True):
            row = Row(index, message, message.to, key, account_of(message.to))
            if known is False:
                row.ruled = _DUPLICATE
            elif isinstance(known, Entry):
                row.earlier = known
            elif taken:
                row.taken = taken.get(key)
            if not isinstance(look, str):
                row.proof = look
            elif row.ruled is None:
                row.ruled = (Outcome.SUPPRESSED, look)
            rows[index] = row
        return rows
