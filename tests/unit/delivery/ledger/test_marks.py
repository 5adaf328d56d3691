from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerIncomplete
from airflow_provider_cirrus.delivery.ledger.base import TaskTry
from airflow_provider_cirrus.delivery.ledger.marks import Mark, next_mark

SHARDS = {"shards": 2, "shard": 0}


def task(number: int, *, clear: int = 0, **more: Any) -> TaskTry:
    """A try of a task with two retries; ``clear``: what Airflow set max_tries to."""
    return TaskTry(number, max_tries=clear or 2, retries=2, **{"audience": SHARDS, **more})


def mark(by: int, since: int = 1, clear: int = 0, **more: Any) -> Mark:
    return Mark(by, since, clear, **{"audience": SHARDS, **more})


@pytest.mark.parametrize(
    ("now", "newest", "since", "clear"),
    [
        pytest.param(task(1), None, 1, 0, id="first-try"),
        pytest.param(task(2), mark(1), 1, 0, id="retry"),
        pytest.param(task(3), None, 3, 0, id="earlier-tries-died-before-they-could-send"),
        pytest.param(task(1, resumed=True), mark(1), 1, 0, id="deferred"),
        pytest.param(task(1, resend=True), None, 1, 0, id="resend-without-a-clear"),
        pytest.param(task(2, resend=True), mark(1), 1, 0, id="resend-and-an-ordinary-retry"),
        pytest.param(task(2, clear=3), mark(1), 1, 0, id="cleared-keeping-the-state"),
        pytest.param(task(2, clear=3, resend=True), mark(1), 2, 3, id="cleared-to-send-again"),
        pytest.param(task(3, clear=3, resend=True), mark(2, 2, 3), 2, 3, id="retry-after-that"),
        pytest.param(task(3, clear=3, resend=True), mark(1), 3, 3, id="worker-lost-before-it-opened-anything"),
        pytest.param(task(2, clear=3, resend=True, resumed=True), mark(2, 2, 3), 2, 3, id="deferred-after-that"),
        pytest.param(task(4, clear=6, resend=True), mark(3, 2, 3), 4, 6, id="cleared-once-more"),
        pytest.param(task(4, clear=6), mark(3, 2, 3), 2, 3, id="cleared-once-more-without"),
        pytest.param(task(2, clear=3, resend=True), None, 2, 3, id="cleared-and-emptied-to-send-again"),
    ],
)
def test_from_where_on_earlier_tries_count(now: TaskTry, newest: Mark | None, since: int, clear: int) -> None:
    found = next_mark(now, newest)
    assert found == mark(now.try_number, since, clear)
    assert Mark.of(json.loads(json.dumps(found.value()))) == found


def test_a_cleared_task_without_a_past_refuses_in_words_for_whoever_is_on_call() -> None:
    with pytest.raises(LedgerIncomplete) as raised:
        next_mark(task(2, clear=3), None)
    said = str(raised.value)
    for words in ("was cleared", "nothing was sent now", "resend=True", "suppression", "keep the task's state"):
        assert words in said
    assert "ledger_conn_id" in said
    assert not raised.value.retryable


def test_so_does_the_retry_after_the_worker_of_the_first_try_since_then_was_lost() -> None:
    with pytest.raises(LedgerIncomplete, match="was cleared"):
        next_mark(task(3, clear=3), None)


@pytest.mark.parametrize("newest", [None, mark(1)])
def test_a_deferred_try_whose_own_mark_is_gone_refuses(newest: Mark | None) -> None:
    with pytest.raises(LedgerIncomplete, match="before it was deferred"):
        next_mark(task(2, resumed=True), newest)
    with pytest.raises(LedgerIncomplete, match="before it was deferred"):
        next_mark(task(2, clear=3, resend=True, resumed=True), newest)


def test_records_without_a_mark_refuse() -> None:
    with pytest.raises(LedgerIncomplete, match="nothing was sent now"):
        next_mark(task(2), None, has_traces=True)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        pytest.param({"shards": 2}, {"shards": 3}, "shards was 2 and is 3", id="more-shards"),
        pytest.param({}, {"shards": 3}, "shards was not set and is 3", id="shards-at-last"),
        pytest.param({"mapped": "a1"}, {"mapped": "b2"}, 'mapped was "a1" and is "b2"', id="another-mapping"),
    ],
)
def test_another_part_of_the_audience_is_refused(was: Any, now: Any, said: str) -> None:
    with pytest.raises(LedgerError, match=rf"{said}.*nothing was sent.*ledger_conn_id.*resend=True") as raised:
        next_mark(task(2, audience=now), mark(1, audience=was))
    assert not raised.value.retryable
    # On purpose, it is sent.
    assert next_mark(task(2, clear=3, resend=True, audience=now), mark(1, audience=was)).since == 2


def test_the_order_and_kind_of_what_an_audience_is_do_not_matter() -> None:
    assert next_mark(task(2, audience={"b": (1,), "a": 1}), mark(1, audience={"a": 1, "b": [1]})).since == 1


def test_an_earlier_versions_records_count_whatever_their_part_of_the_audience() -> None:
    assert next_mark(task(3, clear=3), None, has_format_1=True) == mark(3, has_format_1=True)
    assert next_mark(task(3), mark(2, has_format_1=True)) == mark(3, has_format_1=True)
    assert next_mark(task(3, clear=3, resend=True), None, has_format_1=True) == mark(3, 3, 3)


def test_a_mapped_task_that_is_new_in_a_cleared_run_refuses_unless_told_to_send() -> None:
    new = task(1, run_was_cleared=True)
    with pytest.raises(LedgerIncomplete, match=r"(?s)mapping may have grown.*Nothing was sent now.*resend=True"):
        next_mark(new, None)
    assert next_mark(task(1, run_was_cleared=True, resend=True), None) == mark(1)
    assert next_mark(task(1, run_was_cleared=True, audience={}), None).since == 1, (
        "a task that is not mapped has no part"
    )
    assert next_mark(task(2, run_was_cleared=True), mark(1)) == mark(2)
