from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.rules.policy import Policy, allowlist_of
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours


@pytest.mark.parametrize(
    ("allowed", "passes", "held"),
    [
        pytest.param(None, ["447700900123", "12125550123"], [], id="no-rule"),
        pytest.param("", ["447700900123"], [], id="an-empty-field-of-the-form"),
        pytest.param([], [], ["447700900123", "12125550123"], id="an-empty-list-allows-nobody"),
        pytest.param(["+44 7700 900"], ["447700900123"], ["447800900123", "12125550123"], id="a-beginning"),
        pytest.param("+44 7700 900123, +1 (212) 555-0123", ["447700900123", "12125550123"], ["447700900124"], id="csv"),
        pytest.param('["447700900123"]', ["447700900123"], ["12125550123"], id="json"),
        pytest.param([447700900123], ["447700900123"], ["12125550123"], id="a-number-of-json"),
        pytest.param(["+52 1 55 5123 4567"], ["525551234567", "5215551234567"], ["525551234568"], id="both-spellings"),
    ],
)
def test_only_allowed_recipients_pass(allowed: Any, passes: list[str], held: list[str]) -> None:
    screen = allowlist_of(allowed)
    assert [screen(digits) for digits in passes] == [None] * len(passes)
    for digits in held:
        assert "allowed_recipients" in (screen(digits) or "")


@pytest.mark.parametrize("allowed", [["0044 7700"], ["07700 900123"], ["Ann"], [None], {"a": 1}, "[1, ", [""]])
def test_what_is_no_number_is_an_error_and_is_not_shown(allowed: Any) -> None:
    with pytest.raises(InvalidInput, match="allowed_recipients") as caught:
        allowlist_of(allowed)
    assert "900123" not in str(caught.value)


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


NOON, NIGHT = unix("2027-03-01T12:00+00:00"), unix("2027-03-01T23:00+00:00")
MORNING = unix("2027-03-02T08:00+00:00")


def message(schedule: int | None = None) -> Message:
    made = Message.build("447700900123", {"name": "order_update", "language": "en"})
    return made if schedule is None else made.at(schedule)


def nights(**rest: Any) -> Policy:
    return Policy(quiet_hours=QuietHours("21:00", "08:00", **rest), clock=lambda: NOON)


def test_the_moment_that_is_given_counts_and_else_the_policys_own_clock() -> None:
    assert nights().timing(message()).outcome is None
    timing = nights().timing(message(), NIGHT)
    assert (timing.outcome, timing.until) == ("unsent", MORNING)


def test_a_schedule_ahead_is_judged_by_when_it_arrives() -> None:
    assert nights().timing(message(NIGHT), NOON).message.schedule == MORNING
    assert nights().timing(message(MORNING), NIGHT).outcome is None


@pytest.mark.parametrize("schedule", [NOON, NIGHT])
def test_a_schedule_that_is_past_is_as_good_as_none(schedule: int) -> None:
    timing = nights().timing(message(schedule), NIGHT)
    assert (timing.outcome, timing.until) == ("unsent", MORNING)
    assert nights().timing(message(NIGHT - 86_400), NOON).outcome is None


def test_what_would_arrive_in_quiet_hours_is_scheduled_for_their_end() -> None:
    evening = unix("2027-03-01T20:59:30+00:00")
    timing = nights(on_quiet="schedule").timing(message(), evening)
    assert (timing.outcome, timing.message.schedule) == (None, MORNING)


def test_of_what_has_a_schedule_or_was_given_one_it_is_asked_again() -> None:
    assert nights().timing(message(), NOON).holds_until == NOON + 60
    assert nights().timing(message(MORNING), NOON).holds_until == 0
    assert nights(on_quiet="schedule").timing(message(), NIGHT).holds_until == 0


def test_hours_that_leave_no_time_to_arrive_suppress_the_message() -> None:
    policy = Policy(quiet_hours=QuietHours("12:01", "12:00"))
    timing = policy.timing(message(), NOON)
    assert timing.outcome == "suppressed"
    assert timing.until is None
    assert "quiet_hours: leave no moment within 31 days" in timing.reason


def test_a_number_that_tells_no_zone_is_rejected() -> None:
    lost = Message.build("883000000000", {"name": "order_update", "language": "en"})
    assert nights().timing(lost, NOON).outcome == "rejected"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.integers(0, 1439),
    st.integers(1, 4) | st.integers(1, 1439),
    st.integers(NOON, NOON + 86_400),
    st.sampled_from(["447700900123", "12125550123", "18005550123"]),
)
def test_who_is_put_off_may_be_messaged_when_the_time_has_come(start: int, gap: int, now: int, to: str) -> None:
    end = (start - gap) % 1440
    policy = Policy(
        quiet_hours=QuietHours(f"{start // 60:02}:{start % 60:02}", f"{end // 60:02}:{end % 60:02}"),
    )
    one = Message.build(to, {"name": "order_update", "language": "en"})
    timing = policy.timing(one, now)
    if timing.until is not None:
        assert timing.until > now
        assert policy.timing(one, timing.until).outcome is None
    else:
        assert timing.outcome in (None, "suppressed")
        if timing.outcome is None:
            assert timing.holds_until > now
            assert policy.timing(one, timing.holds_until - 1).outcome is None
