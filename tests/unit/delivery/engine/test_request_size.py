"""How much of a limit is used that is no multiple of a full request."""

from __future__ import annotations

import pytest

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.parts import Item, Options

WALL = 1_800_000_000.0


def departures(rate: float, count: int) -> list[tuple[float, int]]:
    """When how many messages left, where the ledger and Cirrus answer at once."""
    found: list[tuple[float, int]] = []
    now = 0.0
    machine = Machine(Options(messages_per_second=rate), now)
    messages = [
        Message.build(f"4477009{number:05d}", {"name": "order_update", "language": "en"}) for number in range(count)
    ]
    items = [Item(at, one.to, one, at.to_bytes(12), one.to) for at, one in enumerate(messages)]
    machine.rows(items, now, WALL)
    machine.end_of_audience(now, WALL)
    while not machine.is_done:
        effects = machine.effects()
        if effects.write and machine.next_write(now) is not None:
            machine.committed({}, now, WALL + now)
        for batch in effects.send:
            leaving = machine.depart(batch, now, WALL + now)
            found.append((now, len(leaving)))
            sent = SendResult(tuple(Result(recipient=one.to, outcome=Outcome.ACCEPTED) for one in leaving))
            machine.answered(batch, sent, now, WALL + now)
        if not (effects.send or effects.tell or effects.write):
            wake = machine.wake_at(now)
            assert wake is not None
            now = max(wake, now + 0.0005)
            machine.tick(now, WALL + now)
    return found


@pytest.mark.parametrize("rate", [80, 50, 30, 80 / 3, 25, 7, 3])
def test_nearly_all_of_a_limit_is_used_whatever_it_is(rate: float) -> None:
    count = int(20 * rate)
    found = departures(rate, count)
    (first, _), (last, left) = found[0], found[-1]
    assert sum(size for _, size in found) == count
    assert (count - left) / (last - first) > 0.93 * rate
    for begin, _ in found:
        assert sum(size for at, size in found if begin <= at < begin + 1) <= rate
