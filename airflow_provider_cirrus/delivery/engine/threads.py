"""Threads: one for what many would queue up for, and several for what takes its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Condition, Event, Thread
from typing import Any, Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
_Call: TypeAlias = "tuple[Callable[..., None], tuple[Any, ...]]"


class BatchWorker(Generic[Item]):
    """
    Hands items to ``work``, in the order in which they came, as many at once as there are.

    After an error of ``work`` nothing is worked on any more; :attr:`error` keeps it.

    :param name: of the thread
    :param work: called from that thread alone
    :param linger: seconds that the first item waits for others to be worked on with it
    :param capacity: items beyond which :meth:`wait_for_room` waits, so that memory does not grow with a slow disk
    """

    def __init__(
        self, name: str, work: Callable[[list[Item]], None], *, linger: float = 0.0, capacity: int = 10_000
    ) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._linger = linger
        self._capacity = capacity
        self._items: list[Item] = []
        self._closing = Event()
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def add(self, items: Sequence[Item]) -> None:
        """Hand items over; never waits. After an error they are dropped, as whoever looks at :attr:`error` knows."""
        with self._changed:
            if self.error is not None:
                return
            self._items += items
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Wait until no more items are left than may wait."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self.error is not None)

    def close(self) -> None:
        """Wait until everything is worked through, or an error has ended it; :attr:`error` says which."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._items and not self._closing.is_set():
                    self._changed.wait()
            if self._linger:
                self._closing.wait(self._linger)
            with self._changed:
                items, self._items = self._items, []
                self._changed.notify_all()
            if not items:
                return
            try:
                self._work(items)
            except BaseException as error:  # noqa: BLE001  (kept for those who look; nobody would see it here)
                with self._changed:
                    self.error = error
                    self._items = []
                    self._changed.notify_all()
                return


class ThreadPool:
    """
    A few threads that make calls, in the order in which they came.

    A ThreadPoolExecutor would keep a result of each call, which takes as long as the rest of handing it over; and
    would keep the process from ending while a request hangs.

    :param name: of the threads
    :param size: threads
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._count = 0
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()

    def grow(self) -> None:
        """
        Start a thread, unless there are enough; to be asked for by one thread at a time, before each call.

        :raises RuntimeError: the system gives no further thread
        """
        if self._count < self._size:
            Thread(target=self._run, name=f"{self._name}-{self._count}", daemon=True).start()
            self._count += 1

    @property
    def has_work(self) -> bool:
        """Whether a call waits for a thread."""
        return not self._calls.empty()

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """
        Have a function called, by the next thread that is free; never raises.

        :param function: handles its own errors: nobody else would
        """
        self._calls.put((function, arguments))

    def close(self) -> None:
        """Let the threads end after what was asked for; waits for none of them."""
        for _ in range(self._count):
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, arguments = call
            function(*arguments)
