from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import (
    LedgerError,
    LedgerFull,
    LedgerIncomplete,
    LedgerSuperseded,
    LedgerUnavailable,
)
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.large import BYTES, MOST, max_in_state, word_of_size
from airflow_provider_cirrus.delivery.ledger.task_state import Sizes, TaskStateLedger
from tests.lines import need_task_state_store, since
from tests.unit.delivery.stores import Store, opened

YES = Entry(Outcome.ACCEPTED, "m1", "o1", None, None, 1, 1906545600.5)
NO = Entry(Outcome.REJECTED, None, None, 131026, "not there", 1, 1906545600.5)
# Gathered after a few writes.
FEW = Sizes(writes=4)
NOT_YET = Entry(Outcome.UNSENT, reason="slow down", attempt=1, time=1.0)


def key(number: int) -> bytes:
    return number.to_bytes(12, "big")


def loaded(store: Store, try_number: int = 99, **task: Any) -> Mapping[bytes, Entry]:
    """What a try knows; the store is left as it was."""
    copy = Store(store)
    return dict(opened(copy, try_number, **{"max_tries": 0, "retries": 0, **task}).load())


def fill(ledger: TaskStateLedger, count: int, at_once: int = 20, first: int = 0) -> None:
    for start in range(first, first + count, at_once):
        keys = [key(number) for number in range(start, start + at_once)]
        ledger.commit(keys, [])
        ledger.commit([], [(one, YES) for one in keys])


def test_what_was_recorded_is_there_for_the_next_try() -> None:
    store = Store()
    ledger = opened(store)
    ledger.commit([key(1), key(2), key(3)], [])
    ledger.commit([], [(key(2), NO), (key(1), YES)])
    assert loaded(store) == {key(1): YES, key(2): NO, key(3): INTERRUPTED}


def test_a_first_try_finds_nothing_and_costs_few_calls() -> None:
    calls: list[str] = []

    class Counting(Store):
        def get(self, key: str, default: Any = None) -> Any:
            calls.append(f"get {key}")
            return super().get(key, default)

        def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
            calls.append(f"set {key}")
            super().set(key, value, retention=retention)

    ledger = opened(Counting())
    assert list(ledger.load()) == []
    ledger.commit([key(1)], [])
    ledger.commit([], [(key(1), YES)])
    assert not ledger.tidy()
    assert calls == ["get cirrus_mark_1_0", "set cirrus_mark_1_0", "set cirrus_1_0_0", "set cirrus_1_0_1"]


def test_a_later_try_writes_behind_the_earlier_ones_and_overrules_them() -> None:
    store = Store()
    for number, entry in enumerate((NOT_YET, YES), 1):
        ledger = opened(store, number)
        ledger.commit([key(1)], [])
        ledger.commit([], [(key(1), entry)])
    assert loaded(store)[key(1)] == YES


def test_a_message_may_be_tried_again_within_a_try() -> None:
    store = Store()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    ledger.commit([key(2)], [(key(1), NOT_YET)])
    ledger.commit([key(1)], [])
    assert loaded(store)[key(1)] == INTERRUPTED
    ledger.commit([key(3)], [(key(1), YES), (key(2), NO), (key(1), NO)])
    assert loaded(store) == {key(1): NO, key(2): NO, key(3): INTERRUPTED}


def test_an_outcome_may_come_in_a_later_try_than_its_intent() -> None:
    store = Store()
    opened(store).commit([key(1), key(2)], [])
    opened(store, 2).commit([], [(key(2), YES)])
    assert loaded(store) == {key(1): INTERRUPTED, key(2): YES}


def test_a_deferred_try_goes_on_behind_itself() -> None:
    store = Store()
    opened(store).commit([key(1), key(2)], [])
    ledger = opened(store, resumed=True)
    assert dict(ledger.load()) == {key(1): INTERRUPTED, key(2): INTERRUPTED}
    ledger.commit([key(3)], [])
    ledger = opened(store, resumed=True)
    ledger.commit([key(4)], [(key(3), YES)])
    assert loaded(store) == {key(1): INTERRUPTED, key(2): INTERRUPTED, key(3): YES, key(4): INTERRUPTED}


def test_a_ledger_that_was_not_opened_records_nothing() -> None:
    store = Store()
    with pytest.raises(RuntimeError, match="opened"):
        TaskStateLedger(store).commit([key(1)], [])
    assert store == {}


def test_many_messages_are_gathered_below_airflows_limit_and_nobody_looks_at_the_pieces() -> None:
    store = Store()
    ledger = opened(store)
    fill(ledger, 20_000)
    before = loaded(store)
    assert ledger.tidy()
    while ledger.tidy():
        pass
    assert loaded(store) == before
    assert len(before) == 20_000
    assert set(before.values()) == {YES}
    assert len(store) < 200
    assert max(len(json.dumps(value)) for value in store.values()) < 64_000


def test_what_is_written_when_it_is_time_to_gather_takes_no_write_of_its_own() -> None:
    store = Store()
    ledger = opened(store, sizes=FEW)
    names: list[set[str]] = []
    for number in range(6):
        ledger.commit([key(number)], [])
        names.append(set(store))
    # The mark, four by themselves, the fifth with these, the sixth by itself.
    assert [len(found) for found in names] == [2, 3, 4, 5, 6, 7]
    assert names[4] - names[3] == {"cirrus_1_0_c0"}
    assert names[5] - names[4] == {"cirrus_1_0_5"}
    while ledger.tidy():
        pass
    assert loaded(store) == {key(number): INTERRUPTED for number in range(6)}


@pytest.mark.parametrize("length", [3_000, 20_000, 44_000])
def test_what_hardly_shrinks_is_gathered_below_airflows_limit(length: int) -> None:
    store = Store()
    ledger = opened(store)
    said = {}
    for number in range(30):
        ledger.commit([key(number)], [])
        # An id that is no hash: whatever a server makes of it.
        text = base64.b85encode(os.urandom(length * 4 // 5)).decode().replace('"', "'").replace("\\", "/")
        said[key(number)] = YES._replace(message_id=text)
        ledger.commit([], [(key(number), said[key(number)])])
    assert loaded(store) == said
    while ledger.tidy():
        pass
    assert loaded(store) == said
    assert max(len(json.dumps(value)) for value in store.values()) < 64_000


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 44_000), min_size=5, max_size=30),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 2**32),
)
def test_a_key_has_one_content_whatever_is_repeated(lengths: list[int], noisy: float, done: float, seed: int) -> None:
    """Of each commit how long it is; how many hardly shrink; how many of the writes that fail are done all the same."""
    # Not one of Hypothesis' own, whose bytes are few.
    random = Random(seed)
    written: dict[str, Any] = {}
    failed: set[str] = set()

    class Failing(Store):
        """Answers nothing the first time."""

        def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
            assert written.setdefault(key, value) == value, f"{key} has two contents"
            is_repeated = key in failed
            failed.add(key)
            if is_repeated or random.random() < done:
                super().set(key, value, retention=retention)
            if not is_repeated and not key.startswith("cirrus_mark"):
                raise LedgerUnavailable("no answer")

    store = Failing()
    failed.add("cirrus_mark_1_0")
    ledger = opened(store)
    said = {}
    for number, length in enumerate(lengths):
        is_noisy = random.random() < noisy
        text = base64.b64encode(random.randbytes(length * 3 // 4)).decode() if is_noisy else "x" * length
        said[key(number)] = YES._replace(message_id=text)
        for _ in range(5):
            with contextlib.suppress(LedgerUnavailable):
                ledger.commit([], [(key(number), said[key(number)])])
                break
        else:
            pytest.fail("it is never written")
    assert loaded(store) == said
    while ledger.tidy():
        pass
    assert loaded(store) == said


def test_a_late_write_of_what_was_gathered_changes_nothing() -> None:
    store = Store()
    ledger = opened(store, sizes=FEW)
    fill(ledger, 200)
    pieces = dict(store)
    while ledger.tidy():
        pass
    known = loaded(store)
    assert len(store) < len(pieces)
    assert len(known) == 200
    store.update(pieces)
    assert loaded(store) == known


def test_a_commit_of_very_many_is_cut_below_airflows_limit() -> None:
    store = Store()
    ledger = opened(store)
    keys = [os.urandom(12) for _ in range(9_000)]
    ledger.commit(keys, [])
    said = Entry(Outcome.REJECTED, None, None, 131026, os.urandom(80).hex(), 1, 1906545600.5)
    ledger.commit([], [(one, said._replace(reason=os.urandom(80).hex())) for one in keys])
    assert max(len(json.dumps(value)) for value in store.values()) < 64_000
    assert {entry.outcome for entry in loaded(store).values()} == {Outcome.REJECTED}


def test_a_hundred_thousand_messages_are_written_less_than_three_times() -> None:
    class Counting(Store):
        written = 0

        def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
            self.written += len(json.dumps(value))
            super().set(key, value, retention=retention)

    store = Counting()
    ledger = opened(store)
    for start in range(0, 100_000, 20):
        keys = [os.urandom(12) for _ in range(20)]
        ledger.commit(keys, [])
        said = [YES._replace(message_id=_uuid(), object_id=str(1_000_000 + start), time=1.9e9 + start) for _ in keys]
        ledger.commit([], list(zip(keys, said, strict=True)))
    while ledger.tidy():
        pass
    kept = sum(len(json.dumps(value)) for value in store.values())
    assert store.written <= 3 * kept
    assert kept / 100_000 <= BYTES, "docs and the log say what it costs"


def _uuid() -> str:
    text = os.urandom(16).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def test_nothing_is_written_where_there_is_nothing_to_say() -> None:
    store = Store()
    ledger = opened(store)
    before = dict(store)
    ledger.commit([], [])
    assert store == before


def test_the_clock_of_an_outcome_is_kept() -> None:
    store, now = Store(), time.time()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    ledger.commit([], [(key(1), Entry(Outcome.ACCEPTED, "m", attempt=3, time=now))])
    assert loaded(store)[key(1)].time == pytest.approx(now, abs=0.1)
    assert loaded(store)[key(1)].attempt == 3


# What is missing, and what is not as it was written.


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        pytest.param("cirrus_1_0_c0", r"cirrus_1_0_c0 is missing", id="the-first-compacted"),
        pytest.param("cirrus_1_0_c1", r"cirrus_1_0_c1 is missing", id="one-compacted"),
        pytest.param("cirrus_1_0_15", r"cirrus_1_0_15 is missing", id="the-first-since"),
        pytest.param("cirrus_1_0_16", r"cirrus_1_0_16 is missing", id="one-since"),
        pytest.param("cirrus_1_0_17", r"17 of 18 writes of cirrus_1_0_", id="the-last-as-a-later-try-saw-it"),
    ],
)
def test_a_hole_is_an_error_and_no_empty_past(gone: str, problem: str) -> None:
    store = Store()
    ledger = opened(store, sizes=FEW)
    fill(ledger, 180)
    while ledger.tidy():
        pass
    assert {name for name in store if "_1_0_" in name} == {
        *(f"cirrus_1_0_c{number}" for number in range(3)),
        *(f"cirrus_1_0_{number}" for number in range(15, 18)),
    }
    second = opened(store, 2)
    assert len(dict(second.load())) == 180
    second.commit([key(1_000)], [])
    store.delete(gone)
    with pytest.raises(LedgerIncomplete, match=rf"{problem}.*nothing was sent now.*resend=True"):
        loaded(store)


def test_more_than_a_later_try_saw_is_no_hole() -> None:
    store = Store()
    opened(store).commit([key(1)], [])
    late = store.pop("cirrus_1_0_0")
    second = opened(store, 2)
    assert list(second.load()) == []
    second.commit([key(2)], [])
    store["cirrus_1_0_0"] = late
    assert loaded(store) == {key(1): INTERRUPTED, key(2): INTERRUPTED}


@pytest.mark.parametrize("name", ["cirrus_1_0_0", "cirrus_1_0_c0"])
def test_what_was_changed_is_an_error(name: str) -> None:
    store = Store()
    fill(opened(store, sizes=FEW), 20 if name.endswith("_0") else 100)
    log = store[name]["log"]
    store[name]["log"] = log[:-6] + ("B" if log[-6] == "A" else "A") + log[-5:]
    with pytest.raises(LedgerIncomplete, match=f"checksum of {name}"):
        loaded(store)


def test_a_value_under_another_key_is_an_error() -> None:
    store = Store()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    ledger.commit([key(2)], [])
    store["cirrus_1_0_0"] = store["cirrus_1_0_1"]
    with pytest.raises(LedgerIncomplete, match="checksum"):
        loaded(store)


@pytest.mark.parametrize("value", [{"v": 3, "log": []}, ["a"], "text"])
@pytest.mark.parametrize("name", ["cirrus_sent_0", "cirrus_mark_1_0", "cirrus_1_0_0"])
def test_a_format_of_the_future_is_not_guessed_at(name: str, value: object) -> None:
    store = Store()
    if name == "cirrus_1_0_0":
        opened(store)
    store[name] = value
    with pytest.raises(LedgerError, match="does not read"):
        loaded(store)


# What earlier versions wrote, written out, as the versions to come must still read it.

FORMAT_1 = {
    "cirrus_sent_0": {
        "v": 1,
        "log": [
            {"i": "AAAAAAAAAAAAAAABAAAAAAAAAAAAAAACAAAAAAAAAAAAAAAD"},
            {"n": 1, "t": 1906545600.5, "o": [[1, "r", None, None, 131026, "not there"], [0, "a", "m1", "o1"]]},
            {"i": "AAAAAAAAAAAAAAAE"},
            {"n": 1, "t": 1.0, "o": [[2, "n", None, None, None, "slow down"]]},
            {"i": "AAAAAAAAAAAAAAAF"},
        ],
    },
    "cirrus_sent_1": {
        "v": 1,
        "log": [{"i": "AAAAAAAAAAAAAAAD"}, {"n": 2, "t": 1906545600.5, "o": [[5, "a", "m1", "o1"]]}],
    },
}
THEN = {key(1): YES, key(2): NO, key(3): YES._replace(attempt=2), key(4): INTERRUPTED, key(5): INTERRUPTED}


def test_a_ledger_of_the_first_format_is_the_past_of_one_of_the_second() -> None:
    store = Store(FORMAT_1)
    ledger = opened(store, 3)
    assert dict(ledger.load()) == THEN
    ledger.commit([key(6)], [])
    assert loaded(store) == {**THEN, key(6): INTERRUPTED}


def test_a_cleared_ledger_of_the_first_format_goes_on() -> None:
    assert loaded(Store(FORMAT_1), 3, max_tries=4, retries=2) == THEN


def test_a_ledger_of_the_first_format_is_sent_again_on_purpose() -> None:
    store = Store(FORMAT_1)
    assert loaded(store, 3, max_tries=4, retries=2, resend=True) == {}


@pytest.mark.parametrize("gone", ["cirrus_sent_0", "cirrus_sent_1"])
def test_a_hole_in_the_first_format_is_an_error(gone: str) -> None:
    store = Store(FORMAT_1)
    store["cirrus_sent_2"] = {"v": 1, "log": [{"i": "AAAAAAAAAAAAAAAG"}]}
    del store[gone]
    with pytest.raises(LedgerIncomplete):
        loaded(store, 3)


def test_a_ledger_of_the_second_format_can_be_read() -> None:
    # A try with something compacted, a second one, and that one again after it was deferred.
    store = Store(json.loads((Path(__file__).parent / "state_ledger_format_2.json").read_text()))
    ledger = opened(store, 3, audience={"shards": 2, "shard": 0})
    assert dict(ledger.load()) == {
        key(1): YES,
        key(2): NO,
        key(3): YES._replace(attempt=2),
        key(4): INTERRUPTED,
        key(5): NO,
        key(6): INTERRUPTED,
    }


# Clears; what is decided is in test_marks, here it meets the store.


def test_sending_again_is_done_once_for_a_clear_whatever_happens_to_the_tries() -> None:
    store = Store()
    opened(store).commit([key(1)], [])
    cleared = {"max_tries": 3, "retries": 2, "resend": True}
    # Try 2 was lost before it opened anything.
    again = opened(store, 3, **cleared)
    assert list(again.load()) == []
    again.commit([key(1)], [])
    # A retry, and a try after it that was killed: the same clear.
    assert loaded(store, 4, **cleared) == {key(1): INTERRUPTED}
    # Another clear.
    assert loaded(store, 5, **{**cleared, "max_tries": 6}) == {}
    # And one without resend.
    assert loaded(store, 5, max_tries=6, retries=2) == {key(1): INTERRUPTED}


def test_a_late_mark_of_a_try_that_wanted_to_send_again_does_not_undo_what_came_after() -> None:
    store = Store()
    opened(store).commit([key(1)], [])
    opened(store, 2, max_tries=3, retries=2, resend=True)
    late = store.pop("cirrus_mark_2_0")
    # It never was durable, so that try sent nothing; then somebody cleared the task without resend.
    third = opened(store, 3, max_tries=4, retries=2)
    assert dict(third.load()) == {key(1): INTERRUPTED}
    third.commit([key(2)], [])
    store["cirrus_mark_2_0"] = late
    assert loaded(store, 4, max_tries=4, retries=2) == {key(1): INTERRUPTED, key(2): INTERRUPTED}


def test_a_mark_that_is_gone_while_records_are_there_is_an_error() -> None:
    store = Store()
    opened(store).commit([key(1)], [])
    del store["cirrus_mark_1_0"]
    with pytest.raises(LedgerIncomplete, match="no try says"):
        loaded(store, 2)


# What the store answers.


class _Failing(Store):
    error: BaseException | None = None

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        if self.error is not None:
            raise self.error
        super().set(key, value, retention=retention)


def airflow_error(status: int | None, kind: str = "API_SERVER_ERROR") -> Exception:
    need_task_state_store()
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    return AirflowRuntimeError(ErrorResponse(error=ErrorType(kind), detail={"status_code": status, "message": "x"}))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(lambda: airflow_error(None), LedgerUnavailable, id="no-api-server"),
        pytest.param(lambda: airflow_error(500), LedgerUnavailable, id="500"),
        pytest.param(lambda: airflow_error(429), LedgerUnavailable, id="429"),
        pytest.param(lambda: TimeoutError("slow"), LedgerUnavailable, id="time-out"),
        pytest.param(lambda: RuntimeError("a backend"), LedgerUnavailable, id="a-backend-of-somebody-elses"),
        pytest.param(lambda: airflow_error(404), LedgerSuperseded, id="404"),
        pytest.param(lambda: airflow_error(409), LedgerSuperseded, id="409"),
        pytest.param(lambda: airflow_error(401), LedgerSuperseded, id="401"),
        pytest.param(lambda: airflow_error(None, "PERMISSION_DENIED"), LedgerSuperseded, id="denied"),
        pytest.param(BrokenPipeError, LedgerSuperseded, id="broken-pipe"),
        pytest.param(lambda: EOFError("Request socket closed before length"), LedgerSuperseded, id="eof"),
        pytest.param(lambda: airflow_error(422), LedgerError, id="422"),
        pytest.param(lambda: ValueError("ours"), ValueError, id="a-slip-of-ours"),
    ],
)
def test_an_error_says_whether_it_passes(error: Any, expected: type[Exception]) -> None:
    store = _Failing()
    ledger = opened(store)
    store.error = error()
    with pytest.raises(expected) as raised:
        ledger.commit([key(1)], [])
    assert type(raised.value) is expected


@since(3, 3, has="a task state store")
def test_airflow_keeps_for_ever_what_is_written() -> None:
    from airflow.sdk import NEVER_EXPIRE

    # The accessor asks whether it is this object.
    assert NEVER_EXPIRE is timedelta.max


def test_a_repeated_commit_writes_the_same_again() -> None:
    store = _Failing()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    store.error = TimeoutError()
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            ledger.commit([key(2)], [(key(1), YES)])
    store.error = None
    ledger.commit([key(2)], [(key(1), YES)])
    assert sorted(store) == ["cirrus_1_0_0", "cirrus_1_0_1", "cirrus_mark_1_0"]
    assert loaded(store) == {key(1): YES, key(2): INTERRUPTED}


def test_a_commit_that_the_caller_gave_up_is_written_before_the_next() -> None:
    store = _Failing()
    ledger = opened(store)
    store.error = TimeoutError()
    with pytest.raises(LedgerUnavailable):
        ledger.commit([key(1)], [])
    store.error = None
    ledger.commit([key(2)], [])
    assert loaded(store) == {key(1): INTERRUPTED, key(2): INTERRUPTED}


# Large sends.


def test_more_than_most_is_refused_and_what_is_recorded_stays() -> None:
    store = Store()
    opened(store).commit([key(number) for number in range(10)], [])
    ledger = TaskStateLedger(store, limit=12)
    ledger.open(TaskTry(2))
    for _ in ledger.load():
        pass
    ledger.commit([key(10), key(11)], [(key(0), NOT_YET)])
    ledger.commit([key(0)], [])
    for _ in range(2):
        with pytest.raises(LedgerFull, match=r"more than 12 messages.*ledger_conn_id.*allow_large_state"):
            ledger.commit([key(12)], [(key(10), YES)])
    ledger.commit([], [(key(11), NO)])
    known = loaded(store)
    assert (known[key(10)], known[key(11)], key(12) in known) == (YES, NO, False)


def test_a_large_send_says_what_it_costs_or_how_else_it_goes() -> None:
    assert word_of_size(19_999, MOST) is None
    assert "2 MB" in (word_of_size(30_000, MOST) or "")
    assert "ledger_conn_id" in (word_of_size(MOST, MOST) or "")
    assert "60 MB" in (word_of_size(1_000_000, None) or "")
    with pytest.raises(LedgerError, match=r"200,001 messages.*Nothing was sent.*ledger_conn_id.*allow_large_state"):
        word_of_size(MOST + 1, MOST)
    assert (max_in_state(False), max_in_state(True)) == (MOST, None)


@pytest.mark.parametrize("is_counted", [True, False])
def test_what_it_costs_is_said_once(is_counted: bool, caplog: pytest.LogCaptureFixture) -> None:
    ledger = opened(Store())
    if is_counted:
        ledger.expect(30_000)
    for start in range(0, 30_000, 1_000):
        ledger.commit([key(number) for number in range(start, start + 1_000)], [])
    (said,) = [record.getMessage() for record in caplog.records]
    assert ("30,000" if is_counted else "20,000") in said


# Whatever happens.


class _Killed(BaseException):
    """The worker is gone, in the middle of a call."""


class _World(Store):
    """A store whose writes are late, repeated, lost after they were done; and a worker that dies in between."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__()
        self._data = data
        self._held: list[tuple[str, Any]] = []
        self.is_well = False

    def get(self, key: str, default: Any = None) -> Any:
        self._let_land()
        if self._fate(["well"] * 12 + ["lost", "killed"]) == "lost":
            raise TimeoutError
        return super().get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        self._write(key, value)

    def delete(self, key: str) -> None:
        self._write(key, None)

    def empty(self) -> None:
        """Discard everything, as a clear does: it gives the task a new id, by which what is late is refused."""
        self.clear()
        self._held.clear()

    def _write(self, key: str, value: Any) -> None:
        self._let_land()
        fate = self._fate(
            ["well"] * 6 + ["twice", "held", "held", "lost", "done and lost", "killed", "done and killed"]
        )
        if fate in ("well", "twice", "done and lost", "done and killed"):
            self._apply(key, value)
        if fate in ("twice", "held"):
            self._held.append((key, value))
        if fate == "done and killed":
            raise _Killed
        if fate in ("held", "lost", "done and lost"):
            raise TimeoutError

    def _fate(self, fates: Sequence[str]) -> str:
        if self.is_well:
            return "well"
        fate = self._data.draw(st.sampled_from(fates))
        if fate == "killed":
            raise _Killed
        return fate

    def _let_land(self) -> None:
        if self._held and not self.is_well and self._data.draw(st.integers(0, 3)) == 0:
            self._apply(*self._held.pop(self._data.draw(st.integers(0, len(self._held) - 1))))

    def _apply(self, key: str, value: Any) -> None:
        if value is None:
            self.pop(key, None)
        else:
            self[key] = json.loads(json.dumps(value))


class _History:
    """What was told to the ledger of each message, and what it confirmed."""

    def __init__(self) -> None:
        self.told: dict[bytes, list[tuple[Entry, bool]]] = {}
        # Where a try that wanted to send again did not learn whether its mark was written.
        self.may_be_forgotten = False
        self.numbers = itertools.count()

    def tell(self, intents: Sequence[bytes], outcomes: Sequence[tuple[bytes, Entry]], confirmed: bool) -> None:
        for one, entry in [*outcomes, *((one, INTERRUPTED) for one in intents)]:
            self.told.setdefault(one, []).append((entry, confirmed))

    def check(self, found: Mapping[bytes, Entry]) -> None:
        """Each message is as it was confirmed last, or as it was told since; none has another's outcome."""
        if self.may_be_forgotten and not found:
            self.told = {}
        self.may_be_forgotten = False
        for one, told in self.told.items():
            last = max((place for place, (_, confirmed) in enumerate(told) if confirmed), default=None)
            if last is None:
                assert one not in found or found[one] in [entry for entry, _ in told]
            else:
                assert found[one] in [entry for entry, _ in told[last:]]
        assert set(found) <= set(self.told)


def _ask(world: _World, ledger: TaskStateLedger, data: st.DataObject, history: _History, attempt: int) -> None:
    """Commit a few times, as an engine would; return where the ledger does not answer."""
    in_flight: list[bytes] = []
    for _ in range(data.draw(st.integers(0, 9))):
        settled = in_flight[: data.draw(st.integers(0, len(in_flight)))]
        entries = [
            Entry(data.draw(st.sampled_from([Outcome.ACCEPTED, Outcome.UNSENT])), one.hex(), attempt=attempt, time=1.0)
            for one in settled
        ]
        outcomes = list(zip(settled, entries, strict=True))
        again = [one for one, entry in outcomes if entry.outcome is Outcome.UNSENT and data.draw(st.booleans())]
        fresh = [key(next(history.numbers)) for _ in range(data.draw(st.integers(0, 3)))]
        intents = [*again, *fresh]
        done = False
        try:
            for _ in range(3):
                try:
                    ledger.commit(intents, outcomes)
                except LedgerUnavailable:
                    continue
                done = True
                break
        finally:
            history.tell(intents, outcomes, done)
        # What was given up is not in flight, and may be recorded all the same: the engine may go on or end.
        in_flight = [one for one in in_flight if one not in settled] + (intents if done else [])
        if data.draw(st.booleans()):
            with contextlib.suppress(LedgerUnavailable):
                ledger.tidy()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_late_repeated_or_lost_write_and_no_kill_loses_what_was_confirmed(data: st.DataObject) -> None:
    world, history = _World(data), _History()
    task = TaskTry(1, max_tries=2, retries=2)
    # The clear for which it was sent again.
    resent: int | None = None
    # Whether the store was emptied; whether a try has opened the ledger since.
    is_emptied, is_marked = False, False
    sizes = data.draw(st.sampled_from([Sizes(writes=3), Sizes(value=400, commit=150, gathered=500, writes=9)]))
    for _ in range(data.draw(st.integers(1, 6))):
        deferred = False
        sends_again = task.resend and task.was_cleared and task.clear != resent
        history.may_be_forgotten |= sends_again
        ledger = TaskStateLedger(world, reads_ahead=False, sizes=sizes)
        try:
            ledger.open(task)
            assert not is_emptied or sends_again or history.may_be_forgotten, "it began as if nothing had been"
            is_emptied, is_marked = False, True
            resent = task.clear if sends_again else resent
            found = dict(ledger.load())
            assert not sends_again or not found
            history.check(found)
            _ask(world, ledger, data, history, task.try_number)
            deferred = data.draw(st.booleans())
        except LedgerIncomplete:
            assert not is_marked
        except (_Killed, LedgerUnavailable):
            pass
        task = _next(task, deferred, data)
        is_just_cleared = task.was_cleared and task.clear == task.try_number + 1 and not deferred
        if is_just_cleared and data.draw(st.integers(0, 3)) == 0:
            world.empty()
            is_emptied, is_marked = True, False
    world.is_well = True
    try:
        ledger = TaskStateLedger(world, reads_ahead=False, sizes=sizes)
        ledger.open(replace(task, resend=False))
        history.check(dict(ledger.load()))
    except LedgerIncomplete:
        assert not is_marked


def _next(task: TaskTry, deferred: bool, data: st.DataObject) -> TaskTry:
    """Return the try that comes next: after a deferral, as a retry, or after a clear."""
    if deferred:
        return replace(task, resumed=True)
    task = replace(task, try_number=task.try_number + 1, resumed=False)
    if data.draw(st.integers(0, 2)) > 0:
        return task
    return replace(task, max_tries=task.try_number - 1 + task.retries, resend=data.draw(st.booleans()))
