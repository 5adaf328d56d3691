"""Counts of what is found, and the chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.sandbox.inbox.summary import summary
from airflow_provider_cirrus.sandbox.records import MessageRecord, Origin
from airflow_provider_cirrus.sandbox.tally import Tally, reason_of

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def record(minutes: float = 0, **more: Any) -> MessageRecord:
    at = f"{START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}.0000000Z"
    given = {"outcome": "accepted", "template": "order_update", "schedule": None, "is_read": True, "failed": None}
    return MessageRecord(
        key="1",
        number=1,
        recipient="447700900101",
        language="en",
        components_json="[]",
        object_data_json=None,
        origin=Origin(1),
        received_at=at,
        **{**given, **more},
    )


def test_everything_is_counted() -> None:
    found = summary(
        Tally(
            [
                record(0),
                record(0, is_read=False),
                record(2, schedule=4_000_000_000),
                record(2, template="picture", outcome="refused", failed="no"),
                record(2, outcome="refused", failed={"code": 131026, "message": "Undeliverable"}),
                record(2, outcome="refused", failed={"code": 131026, "message": "Undeliverable"}),
            ]
        )
    )
    assert found.total == 6
    assert found.as_dict() == {
        "total": 6,
        "outcomes": {"accepted": 3, "refused": 3},
        "scheduled": 1,
        "unread": 1,
        "templates": {"order_update": {"accepted": 3, "refused": 2}, "picture": {"accepted": 0, "refused": 1}},
        "reasons": {"131026: Undeliverable": 2, "no": 1},
        "minutes": 1,
        "bars": [
            {"start": "2026-11-20T08:00Z", "accepted": 2, "refused": 0},
            {"start": "2026-11-20T08:01Z", "accepted": 0, "refused": 0},
            {"start": "2026-11-20T08:02Z", "accepted": 1, "refused": 3},
        ],
    }
    assert found.tallest == 4


def test_nothing_has_no_bars() -> None:
    found = summary(Tally())
    assert (found.total, found.bars, found.tallest) == (0, (), 0)


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.booleans()), min_size=1, max_size=50))
def test_however_long_it_takes_the_bars_are_few_and_hold_everything(given: list[tuple[int, bool]]) -> None:
    records = [record(minutes, outcome="accepted" if good else "refused") for minutes, good in given]
    found = summary(Tally(records))
    assert len(found.bars) <= 60
    assert sum(bar.accepted for bar in found.bars) == found.outcomes["accepted"]
    assert sum(bar.refused for bar in found.bars) == found.outcomes["refused"]
    assert found.bars[0].start <= START + timedelta(minutes=min(minutes for minutes, _ in given))
    assert found.bars[-1].accepted + found.bars[-1].refused > 0
    width = timedelta(minutes=found.minutes)
    assert all(late.start - early.start == width for early, late in zip(found.bars, found.bars[1:], strict=False))


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        ("as it is", "as it is"),
        ({"code": 1, "message": "why"}, "1: why"),
        ({"message": "why"}, "why"),
        ({"details": "other"}, "details other"),
        ({}, ""),
    ],
)
def test_a_reason_is_a_text(failed: Any, reason: str) -> None:
    assert reason_of(failed) == reason
