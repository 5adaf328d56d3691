"""A run that asks for its part: what it asks for, how often, and what it does where nobody answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.delivery.engine import leases as module
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable


def people(count: int) -> list[Message]:
    template = {"name": "offer", "language": "en"}
    return [Message.build(f"4477009{place // 90:03d}{place % 90:02d}", template) for place in range(count)]


class Shared:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self, answer: Callable[[int], int]) -> None:
        self.answer = answer
        self.asked: list[tuple[float, int, float | None]] = []
        self.given_back = 0

    def renew(self, demand: int, retry_after: float | None) -> int:
        self.asked.append((time.monotonic(), demand, retry_after))
        return self.answer(len(self.asked))

    def give_back(self) -> None:
        self.given_back += 1


def sent(shared: Shared, audience: list[Message], **rest: Any) -> tuple[list[tuple[float, int]], Any]:
    left: list[tuple[float, int]] = []

    def send(messages: Any) -> Any:
        left.append((time.monotonic(), len(messages)))
        return SendResult(tuple(Result(one.to, Outcome.ACCEPTED, f"wamid.{one.to}") for one in messages))

    dispatcher = Dispatcher(send, "stream", messages_per_second=1_000, shared_rate=shared, **rest)
    return left, dispatcher.run(enumerate(audience), len(audience))


def test_a_small_send_asks_for_what_it_has_and_gives_it_back() -> None:
    shared = Shared(lambda nth: 3)
    _, found = sent(shared, people(3))
    assert found.counts["accepted"] == 3
    assert [demand for _, demand, _ in shared.asked] == [3]
    assert shared.given_back == 1


def test_nothing_leaves_before_there_is_a_part_of_the_rate() -> None:
    shared = Shared(lambda nth: 0 if nth < 4 else 1_000)
    left, found = sent(shared, people(40))
    assert found.counts["accepted"] == 40
    assert left[0][0] >= shared.asked[3][0]
    # Soon again, as somebody may just be leaving.
    assert shared.asked[3][0] - shared.asked[0][0] < 2


def test_no_more_leaves_in_a_second_than_was_got() -> None:
    shared = Shared(lambda nth: 30)
    left, found = sent(shared, people(90))
    assert found.counts["accepted"] == 90
    assert all(sum(count for at, count in left if start <= at < start + 0.99) <= 30 for start, _ in left)


def test_what_passes_is_waited_for_and_nothing_leaves_meanwhile() -> None:
    def answer(nth: int) -> int:
        if 1 < nth < 5:
            raise LedgerUnavailable("It is away.")
        return 40

    shared = Shared(answer)
    left, found = sent(shared, people(120))
    assert found.counts["accepted"] == 120
    away = (shared.asked[0][0] + module.VALID, shared.asked[4][0])
    assert not [at for at, _ in left if away[0] + 0.05 < at < away[1]]


def test_what_does_not_pass_ends_the_run() -> None:
    def answer(nth: int) -> int:
        if nth > 1:
            raise LedgerError("The tables are gone.")
        return 10

    with pytest.raises(LedgerError, match="tables are gone"):
        sent(Shared(answer), people(100))


def test_where_there_are_too_many_tasks_nobody_asks_all_the_time() -> None:
    shared = Shared(lambda nth: 0 if nth < 15 else 1_000)
    sent(shared, people(5))
    gaps = [after[0] - before[0] for before, after in zip(shared.asked, shared.asked[1:], strict=False)]
    assert min(gaps[11:13]) >= module.PERIOD - 0.05
