"""
Start a program that certainly ends with us, whatever happens to it or to us.

Airflow gives every task a process group of its own, so ending one group leaves tasks behind; and a parent
that is killed cannot clean up at all. Each program therefore runs in its own session under a small guardian
(this module, run with ``-m``), which ends the whole session when it is told to, when the program exits, and
when its parent has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
"""The project's directory; the guardian is started from here, so that Python finds this package."""

TERM_SECONDS = 10.0
"""How long a session gets between SIGTERM and SIGKILL."""

_POLL_SECONDS = 0.1


class ScriptError(RuntimeError):
    """Something that the person at the terminal has to read; shown without a traceback."""


def poll(condition: Callable[[], bool], timeout: float, interval: float = _POLL_SECONDS) -> bool:
    """Ask until the condition holds (True) or the time is over (False)."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of a log file; "" when there is none yet."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()
    except FileNotFoundError:
        return ""


def raise_on_sigterm() -> None:
    """Turn SIGTERM into an exception, so that ``with`` blocks and ``finally`` run as they do on Ctrl-C."""

    def handler(signum: int, frame: FrameType | None) -> NoReturn:
        # Once: make passes on a signal that its children got already, and clean-up must not be broken off.
        signal.signal(signum, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, handler)


def port_is_free(port: int) -> bool:
    """Say whether a server could bind the port on every interface of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        # As the servers do: a port in TIME_WAIT is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """
    Find distinct free ports for servers that will bind them later.

    They come from below the range that systems take outgoing connections from: a port that the kernel hands
    out itself may be some client's by the time a slow server binds it.
    """
    candidates = random.sample(range(20_000, 32_000), 500)
    found = []
    for port in candidates:
        if port_is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise ScriptError(f"no {count} free ports between 20000 and 32000 on this machine")


def session_members(session: int) -> list[psutil.Process]:
    """
    List the live processes of a session and whatever they started, the session's leader excepted.

    Descendants are looked at too: Airflow's BashOperator, for one, gives its shell a session of its own.
    """
    members: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                members[process.pid] = process
                members.update((child.pid, child) for child in process.children(recursive=True))
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    members.pop(session, None)
    return [process for process in members.values() if _alive(process)]


def end_session(session: int, term_seconds: float = TERM_SECONDS) -> None:
    """
    End every process of a session but its leader: SIGTERM, then, for those that stay, SIGKILL.

    The list is read again at every look, since a process may start another while it ends.
    """
    told: set[int] = set()
    deadline = time.monotonic() + term_seconds
    while members := session_members(session):
        late = time.monotonic() >= deadline
        for process in members:
            if late or process.pid not in told:
                told.add(process.pid)
                _signal(process, signal.SIGKILL if late else signal.SIGTERM)
        if time.monotonic() >= deadline + TERM_SECONDS:
            pids = ", ".join(str(process.pid) for process in members)
            raise ScriptError(f"these processes do not end, not even by SIGKILL: {pids}")
        time.sleep(_POLL_SECONDS)


class Supervised:
    """
    A program with all that it starts, in a session of its own; its output goes to one log file.

    :param term_seconds: how long its processes get to end by themselves once they are told to.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        term_seconds: float = TERM_SECONDS,
    ) -> None:
        self.argv = list(argv)
        self.env = dict(env)
        self.log = log
        self.cwd = cwd
        self.term_seconds = term_seconds
        self._guardian: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its log begins anew."""
        guardian = [sys.executable, "-m", "scripts.processes", "--parent", str(os.getpid())]
        guardian += ["--term-seconds", str(self.term_seconds)]
        if self.cwd is not None:
            guardian += ["--cwd", str(self.cwd)]
        with self.log.open("wb") as log:
            self._guardian = subprocess.Popen(
                [*guardian, "--", *self.argv],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def returncode(self) -> int | None:
        """Return the program's exit status; None while it, or anything it left behind, still runs."""
        return None if self._guardian is None else self._guardian.poll()

    def wait(self, timeout: float) -> int:
        """Wait for the program to end by itself and return its exit status."""
        if self._guardian is None:
            raise ScriptError(f"{self.argv[0]} was not started")
        try:
            return self._guardian.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ScriptError(f"not done after {timeout:g} s: {' '.join(self.argv)}") from None

    def members(self) -> list[psutil.Process]:
        """List the live processes, the guardian excepted."""
        return [] if self._guardian is None else session_members(self._guardian.pid)

    def abandon(self) -> None:
        """Kill the guardian alone: whatever becomes of the program, the rest goes on until :meth:`stop`."""
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()

    def stop(self) -> None:
        """End the program and all that it started. Safe to call twice, or if it never started."""
        guardian = self._guardian
        if guardian is None:
            return
        if guardian.poll() is None:
            guardian.terminate()
            try:
                guardian.wait(self.term_seconds + TERM_SECONDS + 5)
            except subprocess.TimeoutExpired:
                guardian.kill()
                guardian.wait()
        # Nothing is left unless the guardian itself was killed.
        end_session(guardian.pid, self.term_seconds)
        self._guardian = None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, signum: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signum)  # psutil first makes sure that the pid is still the same process


class _StopRequested(Exception):
    """SIGTERM or SIGINT reached the guardian."""


def _request_stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise _StopRequested


def _guard(parent: int, cwd: str | None, term_seconds: float, argv: list[str]) -> int:
    status: int | None = None
    try:
        signal.signal(signal.SIGTERM, _request_stop)
        signal.signal(signal.SIGINT, _request_stop)
        # A group of its own: what the program does to its group must not reach the guardian.
        program = subprocess.Popen(argv, cwd=cwd, process_group=0)
        # A process whose parent dies gets another one: that is how we learn of it, even after SIGKILL.
        while status is None and os.getppid() == parent:
            try:
                status = program.wait(0.25)
            except subprocess.TimeoutExpired:
                continue
    except _StopRequested:
        pass
    finally:
        # A second signal must not break off the clean-up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_session(os.getpid(), term_seconds)
    if status is None:
        return 128 + signal.SIGTERM
    return status if status >= 0 else 128 - status


def _main() -> int:
    parser = argparse.ArgumentParser(description="run a program and end its whole session with it")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--cwd")
    parser.add_argument("--term-seconds", type=float, default=TERM_SECONDS)
    parser.add_argument("argv", nargs="+")
    arguments = parser.parse_args()
    return _guard(arguments.parent, arguments.cwd, arguments.term_seconds, arguments.argv)


if __name__ == "__main__":
    sys.exit(_main())
