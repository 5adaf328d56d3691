from __future__ import annotations

import subprocess
import sys
import threading
from queue import SimpleQueue

from airflow_provider_cirrus.delivery.engine.threads import BatchWorker, ThreadPool


class Gate:
    """Work that begins when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.worked: list[list[int]] = []
        self._error = error

    def __call__(self, items: list[int]) -> None:
        self.worked.append(items)
        self.begun.set()
        assert self.may_go_on.wait(10)
        if self._error is not None:
            raise self._error


def test_what_gathers_is_worked_through_together_and_in_order() -> None:
    gate = Gate()
    worker = BatchWorker("test", gate)
    worker.add([0])
    assert gate.begun.wait(10)
    worker.add([1])
    worker.add([2, 3])
    gate.may_go_on.set()
    worker.close()
    assert gate.worked == [[0], [1, 2, 3]]


def test_after_an_error_nothing_is_worked_on_and_it_is_kept() -> None:
    gate = Gate(OSError("disk full"))
    worker = BatchWorker("test", gate)
    worker.add([0])
    assert gate.begun.wait(10)
    worker.add([1])
    gate.may_go_on.set()
    worker.close()
    worker.add([2])
    worker.wait_for_room()
    assert gate.worked == [[0]]
    assert str(worker.error) == "disk full"


def test_who_is_faster_than_the_work_waits_for_room() -> None:
    gate = Gate()
    worker = BatchWorker("test", gate, capacity=2)
    worker.add([0])
    assert gate.begun.wait(10)
    worker.add([1, 2])
    has_room = threading.Event()

    def wait() -> None:
        worker.wait_for_room()
        has_room.set()

    faster = threading.Thread(target=wait)
    faster.start()
    assert not has_room.wait(0.2), "it did not wait"
    gate.may_go_on.set()
    assert has_room.wait(10)
    faster.join(10)
    worker.close()
    assert gate.worked == [[0], [1, 2]]


def test_a_worker_that_was_given_nothing_ends() -> None:
    worker = BatchWorker("test", Gate())
    worker.close()
    assert worker.error is None


def test_one_thread_calls_in_order_and_ends_when_it_is_closed() -> None:
    called: list[int] = []
    ended = threading.Event()
    threads = ThreadPool("test", 1)
    for number in range(100):
        threads.grow()
        threads.call(called.append, number)
    threads.call(ended.set)
    threads.close()
    assert ended.wait(10)
    assert called == list(range(100))


def test_as_many_calls_are_made_at_once_as_there_are_threads() -> None:
    threads = ThreadPool("test", 4)
    together = threading.Barrier(4)
    met: SimpleQueue[int] = SimpleQueue()
    for _ in range(8):
        threads.grow()
        threads.call(lambda: met.put(together.wait(10)))
    assert sorted(met.get(timeout=10) for _ in range(8)) == [0, 0, 1, 1, 2, 2, 3, 3]
    threads.close()


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    script = """
import subprocess
import sys
import threading
from queue import SimpleQueue
from airflow_provider_cirrus.delivery.engine.threads import ThreadPool
threads = ThreadPool("test", 1)
threads.grow()
threads.call(threading.Event().wait)
threads.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
