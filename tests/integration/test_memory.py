"""Memory does not grow with what passes through."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

MEGABYTE = 1024 * 1024

# In a process of its own, as the peak of a process never goes down again.
UPLOAD = """
import json, re, sys
from airflow_provider_cirrus.hooks.cirrus import CirrusHook

def peak():
    # Not ru_maxrss, which a child inherits from its parent.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

hook = CirrusHook()
hook.upload_media(sys.argv[1])
before = peak()
hook.upload_media(sys.argv[2])
print(json.dumps(peak() - before))
"""


@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "uri"])
def test_a_file_of_100_mb_passes_in_less_than_16(cirrus_default: Sandbox, tmp_path: Path, prefix: str) -> None:
    for name, size in (("small.pdf", 1), ("large.pdf", 100)):
        with (tmp_path / name).open("wb") as file:
            file.write(b"%PDF-1.7\n")
            file.truncate(size * MEGABYTE)
    paths = [f"{prefix}{tmp_path / name}" for name in ("small.pdf", "large.pdf")]
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, *paths], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert cirrus_default.uploads[-1]["size"] == 100 * MEGABYTE
    assert json.loads(done.stdout.splitlines()[-1]) < 16 * MEGABYTE


# A gigabyte for every one that is downloaded: one line without an end, and a message after it.
BOMB = """
import json, re, sys
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

common = {"template": "order_update", "language": "en"}
list(read_audience(sys.argv[1], Columns(to="phone"), common))
before = peak()
found = [type(one).__name__ for _, one in read_audience(sys.argv[2], Columns(to="phone"), common)]
print(json.dumps([peak() - before, found]))
"""


def test_a_file_that_unpacks_to_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    message = b'{"phone": "447700900101"}\n'
    (tmp_path / "small.jsonl.gz").write_bytes(gzip.compress(message))
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=1) as bomb:
        for _ in range(200):
            bomb.write(b"a" * 1_000_000)
        bomb.write(b"\n" + message)
    words = [sys.executable, "-c", BOMB, str(tmp_path / "small.jsonl.gz"), str(tmp_path / "bomb.jsonl.gz")]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown, found = json.loads(done.stdout.splitlines()[-1])
    assert found == ["RejectedRow", "Message"]
    assert grown < 16 * MEGABYTE
