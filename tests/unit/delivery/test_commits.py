from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue

import pytest
from airflow_provider_cirrus.delivery.commits import GroupCommit

from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.engine.progress import Progress
from airflow_provider_cirrus.delivery.ledger.base import NOBODY, Entry
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex

YES = Result(recipient="447700900123", outcome=Outcome.ACCEPTED, message_id="m")


class Slow:
    """A ledger whose commits take as long as Airflow's."""

    def __init__(self, held: Mapping[bytes, Entry] | None = None, breaks_at: int = 0) -> None:
        self.commits: list[tuple[list[bytes], list[bytes]]] = []
        self._held = held or {}
        self._breaks_at = breaks_at

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        return iter(())

    keeps_persons = False

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
    ) -> Mapping[bytes, Entry]:
        time.sleep(0.013)
        self.commits.append((list(intents), [key for key, _ in outcomes]))
        if len(self.commits) == self._breaks_at:
            raise BrokenPipeError("gone")
        return {key: entry for key, entry in self._held.items() if key in intents}

    def forget(self) -> None:
        self.commits.clear()


def intend(commits: GroupCommit, keys: Sequence[bytes]) -> Mapping[bytes, Entry] | None:
    """Return what an intent comes to."""
    told: SimpleQueue[Mapping[bytes, Entry] | None] = SimpleQueue()
    commits.intend(keys, told.put)
    return told.get(timeout=10)


def in_threads(count: int, work: object) -> list[BaseException]:
    raised: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except OSError as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_requests_that_wait_together_share_a_write() -> None:
    ledger = Slow()
    commits = GroupCommit(ledger, 1)
    in_threads(32, lambda number: intend(commits, [bytes([number])]))
    assert sorted(key for intents, _ in ledger.commits for key in intents) == [bytes([n]) for n in range(32)]
    assert len(ledger.commits) < 16


def test_an_intent_is_durable_before_anybody_is_told() -> None:
    ledger = Slow()
    commits = GroupCommit(ledger, 1)

    def work(number: int) -> None:
        assert intend(commits, [bytes([number])]) == {}
        assert any(bytes([number]) in intents for intents, _ in ledger.commits)
        commits.settle([bytes([number])], [YES])

    assert in_threads(16, work) == []
    commits.close()
    assert sorted(key for _, outcomes in ledger.commits for key in outcomes) == [bytes([n]) for n in range(16)]


def test_after_a_write_that_failed_nobody_may_send_and_whoever_writes_gets_the_error() -> None:
    ledger = Slow(breaks_at=2)
    commits = GroupCommit(ledger, 1)
    told: list[object] = []

    def work(number: int) -> None:
        for n in range(100, 110):
            told.append(intend(commits, [bytes([number]), bytes([n])]))

    raised = in_threads(8, work)
    assert len(raised) == 8
    assert told.count(None) >= 1
    assert told.count({}) == len(ledger.commits[0][0]) / 2, "only what the first write made durable may be sent"
    assert len(ledger.commits) == 2, "it was written to again"
    commits.close()
    assert isinstance(commits.error, BrokenPipeError)
    with pytest.raises(BrokenPipeError):
        commits.settle([b"a"], [YES])


def test_where_recorded_fails_every_request_is_told_once_and_may_not_send() -> None:
    def recorded(outcomes: Sequence[tuple[bytes, Entry]]) -> None:
        raise OSError("the caps are gone")

    commits = GroupCommit(Slow(), 1, recorded)
    told: list[Mapping[bytes, Entry] | None] = []
    commits.settle([b"a"], [YES])
    for number in range(3):
        commits.intend([bytes([number])], told.append)
    commits.close()
    assert told == [None] * 3
    assert isinstance(commits.error, OSError)


def test_each_request_learns_which_of_its_own_intents_are_held() -> None:
    theirs = Entry(Outcome.ACCEPTED, "m9")
    commits = GroupCommit(Slow({b"a": theirs}), 1)
    assert intend(commits, [b"a", b"b"]) == {b"a": theirs}
    assert intend(commits, [b"c"]) == {}


def test_without_a_ledger_nothing_waits() -> None:
    commits = GroupCommit(None, 4)
    assert intend(commits, [b"a"]) == {}
    assert commits.settle([b"a"], [YES])[0].attempt == 4
    commits.close()
    assert commits.error is None


def test_scratch_tells_new_known_and_seen_apart() -> None:
    scratch = TempIndex()
    later = Entry(Outcome.ACCEPTED, "m", None, None, None, 2, 5.0)
    assert scratch.load([(b"a", Entry(Outcome.UNSENT)), (b"b", later), (b"a", later)]) == 2
    assert scratch.see([b"new", b"a", b"new"]) == [True, later, False], "the last of a key overrules"
    assert scratch.see([b"a", b"new", b"b"]) == [False, False, later]
    assert scratch.see([]) == []
    scratch.close()


def test_progress_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = Progress(1000, lambda: now[0])
    with caplog.at_level("INFO"):
        for second in range(25):
            now[0] = float(second)
            progress.tell({"accepted": second * 10, "rejected": 0})
    assert [record.getMessage() for record in caplog.records] == [
        "100 of 1000 messages, 10 a second, 90 s left: 100 accepted.",
        "200 of 1000 messages, 10 a second, 80 s left: 200 accepted.",
    ]
