from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex

SENT = Entry(Outcome.ACCEPTED, "wamid.1", "77", attempt=1, time=5.0)


def key(number: int) -> bytes:
    return hashlib.blake2b(b"%d" % number, digest_size=12).digest()


@pytest.fixture
def index() -> Iterator[TempIndex]:
    made = TempIndex()
    yield made
    made.close()


def test_a_key_is_new_once(index: TempIndex) -> None:
    assert index.check_and_mark([key(1), key(2), key(1)]) == [True, True, False]
    assert index.check_and_mark([key(2), key(3)]) == [False, True]


def test_what_an_earlier_try_left_is_told_once(index: TempIndex) -> None:
    assert index.load([(key(1), Entry(Outcome.UNKNOWN)), (key(1), SENT)]) == 1
    assert index.check_and_mark([key(1), key(1)]) == [SENT, False]
    assert index.check_and_mark([key(1)]) == [False]


def test_a_key_that_is_not_claimed_leaves_the_next_one_new(index: TempIndex) -> None:
    assert index.check_and_mark([key(1), key(1), key(1)], [False, True, True]) == [True, True, False]
    assert index.check_and_mark([key(2)], [False]) == [True]
    assert index.check_and_mark([key(2)], [True]) == [True]
    assert index.check_and_mark([key(2)], [False]) == [False]


def test_what_an_earlier_try_left_of_a_key_that_is_not_claimed_is_told_again(index: TempIndex) -> None:
    index.load([(key(1), SENT)])
    assert index.check_and_mark([key(1), key(1)], [False, True]) == [SENT, SENT]
    assert index.check_and_mark([key(1)], [False]) == [False]


GROWING = """
import os, resource, sys
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
index = TempIndex()
keys = lambda start: [(i * 2654435761 % 2**96).to_bytes(12) for i in range(start, start + 500)]
index.check_and_mark(keys(0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(500, 300_000, 500):
    index.check_and_mark(keys(start))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, flush=True)
sys.stdin.read()
"""


def test_it_grows_on_the_disk_and_leaves_nothing_there_when_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROWING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "SQLITE_TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        grown = int(process.stdout.readline()) * (1 if sys.platform == "darwin" else 1024)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert grown < 24 * 2**20
    assert list(tmp_path.iterdir()) == []
