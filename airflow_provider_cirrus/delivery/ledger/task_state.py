"""The ledger in Airflow's task state store (3.3 and later): no set-up, for one task of one run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerFull
from airflow_provider_cirrus.delivery.ledger import state_format_1
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, NOBODY, Claims, Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.large import MANY, WAY_OUT, word_of_size
from airflow_provider_cirrus.delivery.ledger.marks import Mark, incomplete, next_mark
from airflow_provider_cirrus.delivery.ledger.state_calls import asked
from airflow_provider_cirrus.delivery.ledger.state_log import Item, Places, Reading, joined, log_of, pack, unpack

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Characters of an intent, and of an outcome without its texts.
_INTENT, _OUTCOME = 16, 24
# A housekeeping call is to be short, as what is to be written waits for it.
_DELETES = 4
# The text of a commit without anything in it.
_NOTHING = log_of([])


class Sizes(NamedTuple):
    """
    How much is written at once; less in tests, so that little is much.

    :ivar value: characters of a value: Airflow warns from 64 KB on, and a write costs the same at any size below
    :ivar commit: characters of what one commit writes as one value: more is written in parts
    :ivar gathered: characters that are gathered into one value, before they are compressed
    :ivar writes: writes that are gathered: so many at most does the next try read one by one
    """

    value: int = 60_000
    commit: int = 45_000
    gathered: int = 95_000
    writes: int = 128

    def room(self, shrinks: float) -> float:
        """Return how many characters may be gathered that shrink to such a part of their length."""
        return min(self.gathered, self.value / shrinks)


USUAL = Sizes()


class StateStore(Protocol):
    """The part of Airflow's ``context["task_state_store"]`` that is used here."""

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Keep a JSON value under a key."""

    def delete(self, key: str) -> None:
        """Forget a key."""


@dataclass
class _Pending:
    """A commit that is not confirmed yet: what was asked for, and the texts that are left to write of it."""

    asked: tuple[Sequence[bytes], Sequence[tuple[bytes, Entry]]]
    intents: Sequence[bytes]
    logs: list[str]
    is_full: bool


class TaskStateLedger:
    """
    A ledger in the task state store. It survives retries, killed workers and a clear that keeps the task's state.

    The store is slow, repeats a write that was held up at any later time, and cannot list its keys. So a key is
    written with one content only, and all have names that can be guessed:

    ``cirrus_mark_{try}_{sitting}``
        a :class:`~.marks.Mark`, before anything else; a try that was deferred goes on in its next sitting
    ``cirrus_{try}_{sitting}_{n}``
        what one commit recorded; n is 0, 1, 2 …
    ``cirrus_{try}_{sitting}_c{m}``
        many of those in one, the newest of which is mostly written nowhere else; the others are deleted when there is
        time, as nobody looks at them any more

    A late write therefore repeats what is there, brings back what nobody looks at, or completes a commit that was
    given up, whose messages did not leave. A superseded try can no longer write, and a task whose supervisor was
    killed cannot either, so neither can go on sending.

    :param store: ``context["task_state_store"]``
    :param retention: what makes the store keep a value for ever: Airflow's ``NEVER_EXPIRE``
    :param limit: messages that may be recorded; None: as many as come
    :param reads_ahead: whether load() fetches the next value, in a thread, while one is read
    :param sizes: how much is written at once
    """

    keeps_persons = False

    def __init__(
        self,
        store: StateStore,
        *,
        retention: timedelta = timedelta.max,
        limit: int | None = None,
        reads_ahead: bool = True,
        sizes: Sizes = USUAL,
    ) -> None:
        self._store = store
        self._reads_ahead = reads_ahead
        self._sizes = sizes
        self._retention = retention
        self._limit = limit
        self._mark: Mark | None = None
        self._sitting = 0
        # How many writes each earlier sitting left, as far as load() saw; the first commit tells the tries to come.
        self._ends: dict[str, int] = {}
        self._recorded = 0
        self._is_told = False
        self._places = Places()
        self._written = self._gathered = 0
        # What was written since values were last gathered, and to which part of their length those shrank.
        self._small: list[str] = []
        self._shrinks = 0.8
        self._garbage: list[str] = []
        self._pending: _Pending | None = None

    def open(self, task: TaskTry) -> None:
        """
        Find out from where on what earlier tries recorded counts, and write that down; see :func:`~.marks.next_mark`.

        :raises LedgerIncomplete: it is gone, so whom they messaged is not known
        :raises LedgerError: it is of another part of the audience, or in another format
        :raises LedgerUnavailable: the store does not answer
        """
        newest, sitting = self._newest_mark(task)
        has_format_1 = has_traces = False
        if newest is None:
            has_format_1 = task.try_number > 1 and self._get(f"{state_format_1.PREFIX}0") is not None
            has_traces = not has_format_1 and any(self._get(name) is not None for name in _traces(task.try_number))
        mark = next_mark(task, newest, has_format_1=has_format_1, has_traces=has_traces)
        self._set(_mark_name(task.try_number, sitting), mark.value())
        self._mark, self._sitting = mark, sitting

    def expect(self, total: int) -> None:
        """
        Say what it will cost to remember so many messages; where nobody knew, :meth:`commit` says it on the way.

        :raises LedgerError: more than ``limit``; nothing was sent
        """
        self._is_told = True
        if (word := word_of_size(total, self._limit)) is not None:
            log.warning(word)

    def load(self) -> Iterator[tuple[bytes, Entry]]:
        """
        Yield what earlier tries left, as it was written: an intent counts as unknown until its outcome.

        :raises LedgerIncomplete: it is not all there
        :raises LedgerError: another version's format
        """
        mark = self._opened()
        self._ends, self._recorded = {}, 0
        with ThreadPoolExecutor(1, "cirrus-ledger-read") if self._reads_ahead else _AtOnce() as reader:
            for key, entry in self._earlier(mark, reader):
                self._recorded += (entry is INTERRUPTED) - (entry.outcome is Outcome.UNSENT)
                yield key, entry

    def look_up(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """Return nothing: no other task writes here."""
        return {}

    def commit(
        self,
        intents: Sequence[bytes],
        outcomes: Sequence[tuple[bytes, Entry]],
        persons: Mapping[bytes, bytes] = NOBODY,
        claims: Claims | None = None,
    ) -> Mapping[bytes, Entry]:
        """
        Record outcomes and intents; the task is alone here, so all intents are its own.

        :raises LedgerFull: with the intents there would be more than ``limit``; only the outcomes are recorded
        :raises LedgerUnavailable: it may be written or not
        :raises LedgerError: nothing may be written any more
        """
        if claims is not None:
            raise ValueError("what rules count is counted in the database of a ledger")
        self._opened()
        asked = (list(intents), list(outcomes))
        is_full = False
        if (pending := self._pending) is not None:
            # Even where the caller has given it up: it may land at any time, so nothing else may have its name.
            self._flush(pending)
            is_full = pending.is_full
        if pending is None or pending.asked != asked:
            pending = self._pending = self._prepared(*asked)
            is_full = pending.is_full
            self._flush(pending)
        if is_full:
            raise LedgerFull(f"The task has come to more than {self._limit:,} messages.", hint=WAY_OUT)
        return {}

    def tidy(self) -> bool:
        """Delete a few of the values that nobody looks at any more; return whether there are others."""
        for name in self._garbage[:_DELETES]:
            asked(lambda name=name: self._store.delete(name))  # type: ignore[misc]
            self._garbage.remove(name)
        return bool(self._garbage)

    def _newest_mark(self, task: TaskTry) -> tuple[Mark | None, int]:
        """Return the newest mark, and which sitting of its try this one is."""
        newest, sitting = None, 0
        while (value := self._get(_mark_name(task.try_number, sitting))) is not None:
            newest, sitting = Mark.of(value), sitting + 1
        for number in range(task.try_number - 1, 0, -1):
            if newest is not None:
                break
            if (value := self._get(_mark_name(number, 0))) is not None:
                newest = Mark.of(value)
        return newest, sitting

    def _earlier(self, mark: Mark, reader: Executor) -> Iterator[tuple[bytes, Entry]]:
        if mark.has_format_1:
            yield from state_format_1.read(value for _, value in self._series(reader, state_format_1.PREFIX, 0))
        for number in range(mark.since, mark.by + 1):
            sitting = 0
            while (number, sitting) < (mark.by, self._sitting):
                yield from self._read(reader, f"cirrus_{number}_{sitting}_")
                sitting += 1
                if number < mark.by and self._get(_mark_name(number, sitting)) is None:
                    break

    def _read(self, reader: Executor, prefix: str) -> Iterator[tuple[bytes, Entry]]:
        """Yield what one sitting left: first what was gathered, then what was not yet."""
        reading, end = Reading(), 0
        for name, value in self._series(reader, f"{prefix}c", 0):
            items = unpack(name, value)
            if value.get("begin") != end:
                raise incomplete(f"{name} begins at {value.get('begin')} instead of {end}")
            end = value["end"]
            self._check_ends(items)
            yield from reading.entries(items)
        for name, value in self._series(reader, prefix, end):
            items = unpack(name, value)
            end += 1
            self._check_ends(items)
            yield from reading.entries(items)
        self._ends[prefix] = end

    def _check_ends(self, items: Sequence[Item]) -> None:
        """Compare what was found of the earlier sittings with what this one found when it began."""
        for item in items:
            for prefix, end in item.items() if isinstance(item, dict) else ():
                # More may have landed since; what does not count any more is not read.
                if self._ends.get(prefix, end) < end:
                    raise incomplete(f"{self._ends[prefix]} of {end} writes of {prefix}* are there")

    def _series(self, reader: Executor, prefix: str, number: int) -> Iterator[tuple[str, Any]]:
        """Yield the values of numbered keys until one is missing."""
        # The next one is fetched while this one is read: a fetch is mostly waiting.
        coming = reader.submit(self._get, f"{prefix}{number}")
        while (value := coming.result()) is not None:
            coming = reader.submit(self._get, f"{prefix}{number + 1}")
            yield f"{prefix}{number}", value
            number += 1
        if self._get(f"{prefix}{number + 1}") is not None:
            raise incomplete(f"{prefix}{number} is missing, and {prefix}{number + 1} is there")

    def _prepared(self, intents: Sequence[bytes], outcomes: Sequence[tuple[bytes, Entry]]) -> _Pending:
        asked = (intents, outcomes)
        unsent = sum(entry.outcome is Outcome.UNSENT for _, entry in outcomes)
        is_full = self._limit is not None and bool(intents) and self._recorded - unsent + len(intents) > self._limit
        if is_full:
            intents = ()
        logs = [log_of(self._places.items(intents, outcomes))]
        if len(logs[0]) > (most := self._sizes.commit):
            parts = _parts(outcomes, lambda one: _length(one[1]), most)
            logs = [log_of(self._places.items((), part)) for part in parts]
            logs += [log_of(self._places.items(part, ())) for part in _parts(intents, lambda key: _INTENT, most)]
        return _Pending(asked, intents, [log for log in logs if log != _NOTHING], is_full)

    def _flush(self, pending: _Pending) -> None:
        """Write what is left of a commit."""
        while pending.logs:
            log = pending.logs[0]
            if self._written == 0 and self._ends:
                log = joined([log_of([self._ends]), log])
            if not (self._is_time_to_gather(log) and self._gather(log)):
                name = f"{self._prefix}{self._written}"
                self._set(name, pack(name, log))
                self._small.append(log)
            self._written += 1
            pending.logs.pop(0)
        _, outcomes = pending.asked
        self._places.take(pending.intents, outcomes)
        self._recorded += len(pending.intents) - sum(entry.outcome is Outcome.UNSENT for _, entry in outcomes)
        self._pending = None
        if not self._is_told and self._recorded >= MANY:
            self.expect(self._recorded)

    def _is_time_to_gather(self, log: str) -> bool:
        """Return whether there are many small values, or no room for one more like this one in a larger one."""
        length = sum(map(len, self._small)) + 2 * len(log)
        is_much = len(self._small) >= self._sizes.writes or length > self._sizes.room(self._shrinks)
        return bool(self._small) and is_much

    def _gather(self, log: str) -> bool:
        """
        Write many small values as one, so that the next try need not read them one by one.

        :param log: what is to be written now, which takes no write of its own where it has room among them
        :return: whether it had
        """
        begin = self._written - len(self._small)
        name = f"{self._prefix}c{self._gathered}"
        logs, shrinks = [*self._small, log], self._shrinks
        while True:
            while len(logs) > 1 and sum(map(len, logs)) > self._sizes.room(shrinks):
                logs.pop()
            value = pack(name, joined(logs), begin=begin, end=begin + len(logs))
            length = len(value["log"])
            # A little more than these, as no two are alike: what is to be written now should have its room.
            shrinks = 1.02 * length / sum(map(len, logs))
            if len(logs) == 1 or length <= self._sizes.value:
                break
            logs.pop()
        self._set(name, value)
        # Only now: were it done again, it would have to come to the same.
        self._shrinks = shrinks
        self._gathered += 1
        is_in_it = len(logs) > len(self._small)
        del self._small[: len(logs)]
        self._garbage += [f"{self._prefix}{begin + at}" for at in range(len(logs) - is_in_it)]
        return is_in_it

    def _opened(self) -> Mark:
        if self._mark is None:
            raise RuntimeError("A ledger has to be opened before it is used.")
        return self._mark

    @property
    def _prefix(self) -> str:
        return f"cirrus_{self._opened().by}_{self._sitting}_"

    def _get(self, name: str) -> Any:
        return asked(lambda: self._store.get(name))

    def _set(self, name: str, value: Any) -> None:
        asked(lambda: self._store.set(name, value, retention=self._retention))


class _AtOnce(Executor):
    """Does what it is given before it returns, so that a test decides what happens when."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def _mark_name(number: int, sitting: int) -> str:
    return f"cirrus_mark_{number}_{sitting}"


def _traces(number: int) -> Iterator[str]:
    """Yield keys of which one is there where an earlier try recorded anything, and its mark is gone."""
    for earlier in range(1, number):
        yield f"cirrus_{earlier}_0_0"
        yield f"cirrus_{earlier}_0_c0"
    if number > 1:
        # The oldest of an earlier version's keys expires first.
        yield f"{state_format_1.PREFIX}1"


def _length(entry: Entry) -> int:
    return _OUTCOME + len(entry.message_id or "") + len(entry.object_id or "") + 2 * len(entry.reason or "")


def _parts(sequence: Sequence[_T], length: Callable[[_T], int], most: int) -> Iterator[Sequence[_T]]:
    """Yield the sequence in parts that are no longer than that."""
    begin, total = 0, 0
    for at, one in enumerate(sequence):
        more = length(one)
        if total and total + more > most:
            yield sequence[begin:at]
            begin, total = at, 0
        total += more
    if total:
        yield sequence[begin:]
