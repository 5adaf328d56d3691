"""A MariaDB for tests, where ``mariadbd`` and the driver ``pymysql`` are installed: nothing left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URI of a server, as its superuser; no database is named in it."""
    programs = [shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("mariadb-install-db")]
    if not all(programs) or find_spec("pymysql") is None:
        pytest.skip("no MariaDB: `apt-get install mariadb-server`, and the driver pymysql")
    home = Path(tempfile.mkdtemp(prefix="cirrus-maria-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = ["--no-defaults", f"--datadir={home / 'data'}"]
    made = [str(programs[1]), *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    _install([*made, "--user=root"] if os.getuid() == 0 else made, home)
    command = [str(programs[0]), *common, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={home / 'socket'}"]
    # It refuses to run as root unless it is told to.
    command += ["--skip-grant-tables", *(["--user=root"] if os.getuid() == 0 else [])]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(server, port, home / "log")
        yield f"mysql+pymysql://root@127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _install(command: list[str], home: Path) -> None:
    # One after the other: two at the same time spoil each other's work now and then.
    with (Path(tempfile.gettempdir()) / f"cirrus-maria-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import pymysql

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
        except pymysql.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
