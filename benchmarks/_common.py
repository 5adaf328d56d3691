"""What the benchmarks share: an audience, a sandbox in a process of its own, stores and ledgers. Not one itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience
from airflow_provider_cirrus.delivery.ledger.base import Entry, Ledger, TaskTry, is_global
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox.settings import DEFAULT_STREAM_ID, DEFAULT_TOKEN

STREAM = DEFAULT_STREAM_ID
COMMON = {"template": "order_update", "language": "en"}
COLUMNS = Columns(to="phone", body=("name", "order"))
UNLIMITED = 1e9


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yield rows to distinct numbers, none of which the sandbox treats specially."""
    for place in range(count):
        # The sandbox refuses and delays numbers that end in 90 to 99.
        number = place // 90 * 100 + place % 90
        yield {"phone": f"447{number:09d}", "name": f"Name {place}", "order": f"A-{place:07d}"}


def write_audience(path: Path, count: int) -> Path:
    """Write an audience as JSON Lines."""
    with path.open("w") as file:
        for row in rows(count):
            file.write(json.dumps(row) + "\n")
    return path


def read(source: Any) -> Iterator[Any]:
    """Return the messages of an audience."""
    return read_audience(source if not isinstance(source, Path) else str(source), COLUMNS, COMMON)


def client(url: str, pool_size: int) -> CirrusClient:
    """Return a client of a sandbox."""
    return CirrusClient(DEFAULT_TOKEN, STREAM, base_url=url, pool_size=pool_size, attempts=1)


@contextmanager
def sandbox(*arguments: str) -> Iterator[str]:
    """Run a sandbox in a process of its own; yield its URL."""
    argv = [sys.executable, "-m", "airflow_provider_cirrus.sandbox", "--port", "0", "--keep", "1000", *arguments]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the sandbox did not start"
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)


def accept_all(messages: Sequence[Message]) -> SendResult:
    """Stand in for a server: every message is accepted at once."""
    return SendResult(
        tuple(
            Result(
                recipient=message.to,
                outcome=Outcome.ACCEPTED,
                message_id=f"wamid.{message.to}ABCDEFGHIJKLMNOP",
                object_id=message.to,
            )
            for message in messages
        )
    )


class MemoryStore:
    """Airflow's task state store as a dict of JSON texts, with the time that Airflow's takes."""

    def __init__(self, get_seconds: float = 0.0, set_seconds: float = 0.0) -> None:
        self.get_seconds, self.set_seconds = get_seconds, set_seconds
        self.kept: dict[str, str] = {}
        self.writes = self.written = 0

    def get(self, key: str) -> Any:
        if self.get_seconds:
            time.sleep(self.get_seconds)
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        text = json.dumps(value)
        self.writes += 1
        self.written += len(text)
        self.kept[key] = text
        if self.set_seconds:
            time.sleep(self.set_seconds)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class FolderStore:
    """The same in files, so that it takes no memory of the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Any:
        file = self.folder / key
        return json.loads(file.read_text()) if file.exists() else None

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        (self.folder / key).write_text(json.dumps(value))

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)


def state_ledger(store: MemoryStore | FolderStore, try_number: int = 1) -> TaskStateLedger:
    """Return a ledger in a task state store, opened by that try."""
    ledger = TaskStateLedger(store)
    ledger.open(TaskTry(try_number))
    return ledger


def sql_ledger(path: Path, owner: str = "one", task: str = "dag/run/task") -> SqlLedger:
    """Return a ledger in a SQLite file, as the hook makes it, opened."""
    ledger = SqlLedger(engine_for(f"sqlite:///{path}"), task, owner, is_global=is_global)
    ledger.open(TaskTry())
    return ledger


def accepted(key: bytes) -> tuple[bytes, Entry]:
    """Return what a ledger is told of a message that was accepted, with ids as long as Cirrus's."""
    return key, Entry(Outcome.ACCEPTED, f"wamid.{key.hex()}", "1234567", attempt=1, time=1.8e9)


def fill(ledger: Ledger, keys: Sequence[bytes], at_once: int) -> None:
    """Leave what a try leaves that was cut off: each write has intents, and the outcomes of those before."""
    before: Sequence[bytes] = ()
    for start in range(0, len(keys), at_once):
        part = keys[start : start + at_once]
        ledger.commit(part, [accepted(key) for key in before])
        while ledger.tidy():
            pass
        before = part
    ledger.commit([], [accepted(key) for key in before])


LEDGERS: dict[str, Callable[[Path], Any]] = {
    "task state": lambda folder: state_ledger(FolderStore(folder / "store")),
    "SQLite": lambda folder: sql_ledger(folder / "ledger.db"),
}


#: The size with which the memory of a large run is compared, and the most that may come on top, in MB.
SMALL = 1_000
LIMIT_MB = 40.0


def peak_megabytes() -> float:
    """Return the peak memory of this process."""
    # Not ru_maxrss, which a child inherits from its parent.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def grows_too_much(name: str, script: str, arguments: Callable[[int], Sequence[str]], count: int) -> bool:
    """
    Compare a script's peak memory for few and for many, each in a process of its own, and print it.

    :param name: of what is compared
    :param script: prints ``[megabytes, seconds]`` as its last line
    :param arguments: of the script, for a count
    :param count: how many the many are
    """
    found = []
    for size in (SMALL, count):
        argv = [sys.executable, script, *arguments(size)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    (before, _), (after, seconds) = found
    grown: float = after - before
    print(
        f"{name:10}  {before:6.1f} MB for {SMALL:,}, {after:6.1f} MB for {count:,}: "
        f"{grown:+.1f} MB; {seconds:.0f} s (sending is a stub)",
        flush=True,
    )
    return grown >= LIMIT_MB
