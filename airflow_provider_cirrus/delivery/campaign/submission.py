"""Handing a campaign over once: what the ledger is for messages, for a whole audience file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.api.wire import encode_id, outcome_of
from airflow_provider_cirrus.delivery.errors import LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import KEY_BYTES, Entry, Ledger, is_global

_SENT = (Outcome.ACCEPTED, Outcome.UNKNOWN)

# An outcome that is lost leaves the campaign unknown for good, so a ledger that is away is waited for: looks, seconds.
_LOOKS, _PAUSE = 31, 1.0


@dataclass(frozen=True)
class HandedOver:
    """
    What became of a campaign.

    :ivar outcome: of the campaign as a whole, and so of everybody in its file
    :ivar reason: why it is not accepted
    :ivar error: the request's own error, where there was one
    :ivar is_earlier: nothing was sent now
    """

    outcome: Outcome
    reason: str = ""
    error: CirrusError | None = None
    is_earlier: bool = False


def campaign_key(campaign: Campaign, stream_id: str, recipients: bytes) -> bytes:
    """
    Return the stable name of a campaign, by the rules of :func:`~.ledger.key_of`.

    When it begins, how it is called and what Cirrus does beside it are not part of it. With a ``message_key``
    neither is its audience.

    :param campaign: what is sent
    :param stream_id: the stream that it is sent through
    :param recipients: a hash of who gets it
    """
    template, own = campaign.template, campaign.message_key
    said = [template.name, template.language, recipients.hex()] if own is None else [template.name, own]
    text = json.dumps(["campaign", encode_id(stream_id), said], ensure_ascii=False)
    key = bytearray(hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest())
    key[-1] = key[-1] & ~1 | (own is not None)
    return bytes(key)


def hand_over(
    send: Callable[[], None],
    key: bytes,
    ledger: Ledger | None,
    *,
    attempt: int,
    check: Callable[[], None],
    pause: Callable[[float], object] = time.sleep,
) -> HandedOver:
    """
    Hand a campaign over, unless that was done or may have been.

    :param send: makes the request
    :param key: of :func:`campaign_key`
    :param ledger: what earlier tries left, opened; None: nothing is remembered
    :param attempt: the try of the task
    :param check: raises where it is too late to send; what was handed over in time stays so
    :param pause: waits for so many seconds
    :raises InvalidInput: by ``check``, or as an earlier try handed another campaign over
    :raises LedgerError: the intent could not be recorded, so nothing was sent; or the outcome could not
    """
    if ledger is not None and (earlier := _earlier(ledger, key)) is not None:
        return HandedOver(earlier.outcome, earlier.reason or "", is_earlier=True)
    check()
    if ledger is not None and (held := ledger.commit([key], [])):
        return HandedOver(held[key].outcome, held[key].reason or "", is_earlier=True)
    try:
        send()
    except CirrusError as error:
        found = HandedOver(outcome_of(error), error.message, error)
    else:
        found = HandedOver(Outcome.ACCEPTED)
    if ledger is not None:
        # What was refused as a whole did nothing: once the reason is mended, a clear may send it.
        outcome = Outcome.UNSENT if found.outcome is Outcome.REJECTED else found.outcome
        result = Result(recipient="", outcome=outcome, reason=found.reason or None)
        _record(ledger, key, Entry.of(result, attempt, time.time()), pause)
    return found


def _record(ledger: Ledger, key: bytes, entry: Entry, pause: Callable[[float], object]) -> None:
    for _ in range(_LOOKS - 1):
        try:
            ledger.commit([], [(key, entry)])
        except LedgerUnavailable:
            pause(_PAUSE)
        else:
            return
    ledger.commit([], [(key, entry)])


def _earlier(ledger: Ledger, key: bytes) -> Entry | None:
    """Return what an earlier try left of this campaign, where it is not to be sent again."""
    found = dict(ledger.load())
    mine = found.pop(key, None)
    if mine is not None and mine.outcome in _SENT:
        return mine
    # The same people may be in a file that was made anew for a retry; a key of the user's says it is another campaign.
    if not is_global(key) and any(entry.outcome in _SENT for entry in found.values()):
        raise InvalidInput(
            "audience_file",
            "An earlier try of this task handed over another campaign (other recipients, template or stream): "
            "who is in both could be messaged twice.",
            hint="Look into the console. To send to everybody in this file, clear the task with "
            "delivery=Delivery(resend=True).",
        )
    return None
