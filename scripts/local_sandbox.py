"""The sandbox, a local stand-in for Cirrus, as a process of its own."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx

from scripts.local_airflow import LOOPBACK
from scripts.processes import ScriptError, Supervised, free_ports, poll, tail

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

START_SECONDS = 30.0

_CONNECTION_URI = re.compile(r"cirrus://\S+")


class LocalSandbox:
    """
    One running sandbox; a context manager that leaves no process behind.

    :param log: where its output goes.
    :param port: its port; a free one by default.
    :param templates: the folder of the definitions by which it shows messages.
    :param data: the file that remembers them when it has ended.
    """

    def __init__(
        self, log: Path, *, port: int | None = None, templates: Path | None = None, data: Path | None = None
    ) -> None:
        self.log = log
        self.port = port or free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.connection_uri = ""
        argv = [sys.executable, "-m", "airflow_provider_cirrus.sandbox"]
        given = {"--templates": templates, "--data": data, "--host": LOOPBACK, "--port": self.port}
        options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
        self._process = Supervised(
            [*argv, *options],
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            log=log,
        )
        self._http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def __enter__(self) -> Self:
        try:
            self._process.start()
            if not poll(self._up, START_SECONDS):
                raise ScriptError(f"the sandbox is not up after {START_SECONDS:g} s{self._evidence()}")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it. Safe to call twice."""
        self._http.close()
        self._process.stop()

    def check_alive(self) -> None:
        """Raise if it has ended by itself."""
        status = self._process.returncode()
        if status is not None:
            raise ScriptError(f"the sandbox ended with status {status}{self._evidence()}")

    def inbox(self) -> dict[str, Any]:
        """Return what it received."""
        inbox: dict[str, Any] = self._http.get("/inbox.json").raise_for_status().json()
        return inbox

    def _up(self) -> bool:
        self.check_alive()
        try:
            self.inbox()
        except httpx.TransportError:
            return False
        # It says how to connect to it, token and stream included: nothing to keep in step here.
        found = _CONNECTION_URI.search(self.log.read_text(encoding="utf-8"))
        self.connection_uri = found.group() if found else ""
        return found is not None

    def _evidence(self) -> str:
        return f"\n--- the last lines of {self.log} ---\n{tail(self.log)}"
