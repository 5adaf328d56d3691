from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.delivery.campaign.submission import HandedOver, campaign_key, hand_over
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import is_global
from tests.unit.delivery.stores import Store, opened

KEY, OTHER = bytes(12), bytes([2] * 12)


class Sender:
    """Counts the requests; fails the first if told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.sent = 0
        self._error = error

    def __call__(self) -> None:
        self.sent += 1
        error, self._error = self._error, None
        if error is not None:
            raise error


class Away(Store):
    """Takes some writes, then some not."""

    waited = 0.0

    def __init__(self, after: int = 0, times: int = 0) -> None:
        super().__init__()
        self.after, self.times = after, times

    def pause(self, seconds: float) -> None:
        self.waited += seconds

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        if self.after == 0 and self.times > 0:
            self.times -= 1
            raise TimeoutError
        self.after = max(0, self.after - 1)
        super().set(key, value, retention=retention)


def handing(send: Callable[[], None], store: Away, key: bytes = KEY, check: Any = lambda: None) -> HandedOver:
    """Hand over in a new try."""
    number = sum(name.startswith("cirrus_mark") for name in store) + 1
    return hand_over(send, key, opened(store, number), attempt=number, check=check, pause=store.pause)


@pytest.mark.parametrize(
    ("error", "outcomes", "sent"),
    [
        pytest.param(None, ["accepted", "accepted"], 1, id="accepted"),
        pytest.param(errors.ServerError("500"), ["unknown", "unknown"], 1, id="500"),
        pytest.param(errors.NoAnswer("lost"), ["unknown", "unknown"], 1, id="no-answer"),
        pytest.param(errors.UnreadableAnswer("what"), ["unknown", "unknown"], 1, id="unreadable"),
        pytest.param(errors.NotConnected("refused"), ["unsent", "accepted"], 2, id="not-connected"),
        pytest.param(errors.Unauthorized("401"), ["unsent", "accepted"], 2, id="401"),
        pytest.param(errors.BadRequest("400"), ["rejected", "accepted"], 2, id="400"),
    ],
)
def test_a_second_try_sends_only_what_certainly_did_not_begin(
    error: CirrusError | None, outcomes: list[str], sent: int
) -> None:
    store, sender = Away(), Sender(error)
    assert [handing(sender, store).outcome, handing(sender, store).outcome] == outcomes
    assert sender.sent == sent


def test_a_try_that_was_killed_while_sending_leaves_the_campaign_unknown() -> None:
    store, sender = Away(), Sender(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        handing(sender, store)
    found = handing(sender, store)
    assert (found.outcome, found.is_earlier, sender.sent) == ("unknown", True, 1)


def test_nothing_is_sent_whose_intent_could_not_be_recorded() -> None:
    sender = Sender()
    with pytest.raises(LedgerError):
        handing(sender, Away(after=1, times=1_000))
    assert sender.sent == 0


@pytest.mark.parametrize(
    ("times", "seconds", "then"),
    [pytest.param(5, 5, "accepted", id="back-in-time"), pytest.param(1_000, 30, "unknown", id="away-for-good")],
)
def test_an_outcome_waits_for_a_ledger_that_is_away(times: int, seconds: int, then: str) -> None:
    # The mark and the intent are written; then it is away.
    store, sender = Away(after=2, times=times), Sender()
    if then == "accepted":
        assert handing(sender, store).outcome == "accepted"
    else:
        with pytest.raises(LedgerUnavailable):
            handing(sender, store)
    assert store.waited == seconds
    store.times = 0
    assert (handing(sender, store).outcome, sender.sent) == (then, 1)


@pytest.mark.parametrize("error", [None, errors.NoAnswer("lost")])
def test_another_audience_in_the_same_task_is_not_sent_beside_the_first(error: CirrusError | None) -> None:
    store, sender = Away(), Sender(error)
    handing(sender, store)
    with pytest.raises(InvalidInput, match=r"could be messaged twice.*resend=True"):
        handing(sender, store, OTHER)
    assert sender.sent == 1


def test_another_audience_is_sent_where_the_first_certainly_did_not_begin() -> None:
    store, sender = Away(), Sender(errors.NotConnected("refused"))
    handing(sender, store)
    assert handing(sender, store, OTHER).outcome == "accepted"


def test_a_schedule_that_passed_meanwhile_does_not_undo_what_was_handed_over_in_time() -> None:
    def too_late() -> None:
        raise InvalidInput("schedule", "is past.")

    store, sender = Away(), Sender()
    handing(sender, store)
    assert handing(sender, store, check=too_late).outcome == "accepted"
    with pytest.raises(InvalidInput, match="is past"):
        handing(sender, Away(), check=too_late)


def test_a_key_names_template_stream_and_people_and_nothing_else() -> None:
    campaign = Campaign.build("opening_hours", "en")
    key = campaign_key(campaign, "hAbc==", b"people")
    assert key == campaign_key(Campaign.build("opening_hours", "en", schedule=4_000_000_000), "hAbc%3d%3d", b"people")
    assert not is_global(key)
    others = [
        campaign_key(Campaign.build("opening_hours", "he"), "hAbc==", b"people"),
        campaign_key(campaign, "hAbd==", b"people"),
        campaign_key(campaign, "hAbc==", b"others"),
    ]
    assert len({key, *others}) == 4


def test_with_a_key_of_the_users_the_people_do_not_count() -> None:
    campaign = Campaign.build("opening_hours", "en", message_key="spring")
    assert campaign_key(campaign, "h==", b"people") == campaign_key(campaign, "h==", b"others")
    assert is_global(campaign_key(campaign, "h==", b"people"))
