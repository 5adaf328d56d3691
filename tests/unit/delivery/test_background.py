from __future__ import annotations

import subprocess
import sys
import threading
from queue import SimpleQueue

import pytest

from airflow_provider_cirrus.delivery.engine.threads import Background, Crew


def test_what_gathers_is_worked_through_together_and_in_order() -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    worked: list[list[int]] = []

    def work(items: list[int]) -> None:
        worked.append(items)
        begun.set()
        assert may_go_on.wait(10)

    background = Background("test", work)
    background.put(0)
    assert begun.wait(10)
    for number in (1, 2, 3):
        background.put(number)
    may_go_on.set()
    background.close()
    assert worked == [[0], [1, 2, 3]]
    with pytest.raises(RuntimeError, match="has ended"):
        background.put(4)


def test_an_error_ends_it_for_everybody() -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    dropped: list[int] = []

    def work(items: list[int]) -> None:
        begun.set()
        assert may_go_on.wait(10)
        raise OSError("disk full")

    background = Background("test", work, dropped.extend)
    background.put(0)
    assert begun.wait(10)
    background.put(1)
    may_go_on.set()
    background.close()
    assert dropped == [0, 1]
    with pytest.raises(OSError, match="disk full"):
        background.put(2)


def test_who_is_faster_than_the_work_waits() -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    worked: list[int] = []

    def work(items: list[int]) -> None:
        begun.set()
        assert may_go_on.wait(10)
        worked.extend(items)

    background = Background("test", work, most=2)
    background.put(0)
    assert begun.wait(10)
    faster = threading.Thread(target=lambda: [background.put(number) for number in range(1, 6)])
    faster.start()
    faster.join(0.2)
    assert faster.is_alive(), "it did not wait"
    may_go_on.set()
    faster.join(10)
    background.close()
    assert worked == list(range(6))


def test_a_crew_of_one_calls_in_order_and_ends_when_it_is_closed() -> None:
    called: list[int] = []
    ended = threading.Event()
    crew = Crew("test", 1)
    for number in range(100):
        crew.grow()
        crew.call(called.append, number)
    crew.call(ended.set)
    crew.close()
    assert ended.wait(10)
    assert called == list(range(100))


def test_a_crew_makes_as_many_calls_at_once_as_it_has_threads() -> None:
    crew = Crew("test", 4)
    together = threading.Barrier(4)
    met: SimpleQueue[int] = SimpleQueue()
    for _ in range(8):
        crew.grow()
        crew.call(lambda: met.put(together.wait(10)))
    assert sorted(met.get(timeout=10) for _ in range(8)) == [0, 0, 1, 1, 2, 2, 3, 3]
    crew.close()


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    script = """
import subprocess
import sys
import threading
from queue import SimpleQueue
from airflow_provider_cirrus.delivery.engine.threads import Crew
crew = Crew("test", 1)
crew.grow()
crew.call(threading.Event().wait)
crew.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
