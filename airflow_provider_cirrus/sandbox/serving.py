"""Uvicorn, bent in two places: handlers can reach their connection, and stopping waits for nobody."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_cirrus.sandbox.app import TRANSPORT, SandboxApp

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

GRACE = 0.5
"""Seconds that a request in progress gets when the server stops."""


class SandboxProtocol(H11Protocol):
    """Puts the connection into the scope, so that a fault can break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        # asyncio does this only for sockets made with an explicit protocol number; without it, an answer
        # in two writes waits 40 ms for the client's acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await served(scope, receive, send)

        self.app = with_transport


class SandboxServer(uvicorn.Server):
    """Says when it is ready, and stops at once whoever is still connected."""

    def __init__(self, config: uvicorn.Config, app: SandboxApp) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._sandbox = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        """Serve until asked to stop; uvicorn's own loop would notice that only at its next tick."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            try:
                await asyncio.wait_for(self._wake.wait(), 0.1)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: end idle connections, give requests in progress a moment, then break them off."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._sandbox.release()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=GRACE)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=GRACE)

    def ask_to_stop(self) -> None:
        """Stop soon; may be called from any thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)
