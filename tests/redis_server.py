"""A Redis for tests, where ``redis-server`` is installed: nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from scripts.local_airflow import LOOPBACK
from scripts.processes import free_ports, poll


class RedisServer:
    """A server that can be stopped and started again, and then knows what it knew."""

    def __init__(self, program: str, home: Path) -> None:
        self._port = free_ports(1)[0]
        self._home = home
        self._command = [program, "--port", str(self._port), "--bind", LOOPBACK, "--dir", str(home)]
        self._command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self.url = f"redis://{LOOPBACK}:{self._port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._home / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        assert poll(self._answers, 20), (self._home / "redis.log").read_text()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self, away: float) -> None:
        """End it, and start it again after that many seconds."""
        self.stop()
        time.sleep(away)
        self.start()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._home / "redis.log").read_text()
        with redis.Redis(host=LOOPBACK, port=self._port) as client:
            try:
                return bool(client.ping())
            except redis.exceptions.ConnectionError:
                return False


@contextmanager
def running(home: Path) -> Iterator[RedisServer]:
    """Run a server whose data and log are in ``home``."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis: `apt-get install redis-server`")
    server = RedisServer(program, home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
