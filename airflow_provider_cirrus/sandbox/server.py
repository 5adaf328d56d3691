"""The sandbox as a running server."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import uvicorn

from airflow_provider_cirrus.sandbox.app import SandboxApp
from airflow_provider_cirrus.sandbox.serving import SandboxProtocol, SandboxServer
from airflow_provider_cirrus.sandbox.settings import (
    DEFAULT_KEEP,
    DEFAULT_PLAIN_STREAM_ID,
    DEFAULT_STREAM_ID,
    DEFAULT_TOKEN,
    LOOPBACK_HOSTS,
    Settings,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from airflow_provider_cirrus.sandbox.faults import FaultFields

ANY_HOSTS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0


class Sandbox:
    """
    A local Cirrus, served from a thread of this process.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. All parameters are keyword-only::

        with Sandbox(messages_per_second=80) as sandbox:
            sandbox.add_fault("drop_after")

    :param token: the bearer token that it accepts.
    :param stream_id: the encrypted stream ID; taken plain or URL-encoded.
    :param plain_stream_id: the numeric ID of the same stream, accepted by ``/streams/…``.
    :param messages_per_second: most messages accepted within any one second; ``None`` for no limit.
    :param api_version: which path takes the send body: ``"any"``, ``""`` (unversioned) or ``"v2"``.
    :param contact_format: form of the contact answer: ``"valid"``, or ``"contacts"`` as older deployments.
    :param accept_any_media: do not refuse media IDs that were never uploaded here.
    :param list_by: the time by which conversations are listed: ``"created"`` or ``"updated"``.
    :param keep: how many messages, requests and uploads are remembered.
    :param keep_for: seconds for which they are remembered; ``None``: for as long as there is room.
    :param templates: the folder of the definitions by which the inbox shows messages; ``None``: by their parameters.
    :param data: a file that remembers messages, media and conversations when the sandbox has ended; one sandbox at a
        time. ``None``: nothing does.
    :param webhook: an address that is told of each message and each answer, as JSON; ``None``: nobody is.
    :param host: the address to bind.
    :param port: the port to bind; 0 takes a free one, which a later start takes again.
    :param ssl_certfile: a PEM certificate chain: serve HTTPS.
    :param ssl_keyfile: its key, if not in the same file.
    :raises ValueError: an option has a value that makes no sense.
    """

    def __init__(
        self,
        *,
        token: str = DEFAULT_TOKEN,
        stream_id: str = DEFAULT_STREAM_ID,
        plain_stream_id: int = DEFAULT_PLAIN_STREAM_ID,
        messages_per_second: int | None = None,
        api_version: str = "any",
        contact_format: str = "valid",
        accept_any_media: bool = False,
        list_by: str = "created",
        keep: int = DEFAULT_KEEP,
        keep_for: float | None = None,
        templates: str | None = None,
        data: str | None = None,
        webhook: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
    ) -> None:
        self._settings = Settings(
            token=token,
            stream_id=stream_id,
            plain_stream_id=plain_stream_id,
            messages_per_second=messages_per_second,
            api_version=api_version,
            contact_format=contact_format,
            accept_any_media=accept_any_media,
            list_by=list_by,
            keep=keep,
            keep_for=keep_for,
            templates=templates,
            data=data,
            webhook=webhook,
        )
        self._host = host
        self._port = port
        self._ssl: dict[str, Any] = {"ssl_certfile": ssl_certfile, "ssl_keyfile": ssl_keyfile}
        self._app = SandboxApp(self._settings, loopback_only=host in LOOPBACK_HOSTS)
        self._server: SandboxServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """
        Start serving; return when connections are accepted.

        :raises OSError: the address cannot be bound, the certificate not be read, or the file of the data not be used.
        :raises RuntimeError: it runs already, or does not come up.
        """
        if self._thread is not None:
            raise RuntimeError("This sandbox runs already")
        config = uvicorn.Config(
            self._app,
            http=SandboxProtocol,
            ws="none",
            lifespan="off",
            # Logging belongs to whoever starts the sandbox; uvicorn would configure it for the process.
            log_config=None,
            log_level="error",
            access_log=False,
            timeout_keep_alive=60,
            **{key: value for key, value in self._ssl.items() if value is not None},
        )
        config.load()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family, backlog=512)
        self._port = listener.getsockname()[1]
        try:
            self._app.open()
        except OSError:
            listener.close()
            raise
        server = self._server = SandboxServer(config, self._app)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), name="cirrus-sandbox", daemon=True
        )
        self._thread.start()
        if not server.ready.wait(START_TIMEOUT):
            self.stop()
            raise RuntimeError(f"The sandbox did not come up within {START_TIMEOUT:g} s")

    def stop(self) -> None:
        """
        Stop serving, also while clients are kept waiting; what was recorded stays readable.

        :raises OSError: the file of the data lacks what came in last.
        """
        if self._thread is None or self._server is None:
            return
        self._server.ask_to_stop()
        self._thread.join(STOP_TIMEOUT)
        self._thread = self._server = None
        self._app.close()

    @property
    def host(self) -> str:
        """The address under which this machine reaches the sandbox."""
        return ANY_HOSTS.get(self._host, self._host)

    @property
    def port(self) -> int:
        """The port; 0 before the first start, if a free one is to be taken."""
        return self._port

    @property
    def base_url(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:8787``."""
        return f"{self._scheme}://{self._netloc}"

    @property
    def connection_uri(self) -> str:
        """The Airflow connection, as the value of an ``AIRFLOW_CONN_…`` variable."""
        extra = {"stream_id": self.stream_id}
        if self._settings.api_version == "v2":
            extra["api_version"] = "v2"
        token = quote(self.token, safe="")
        return f"cirrus://:{token}@{self._netloc}/{self._scheme}?{urlencode(extra, quote_via=quote, safe='')}"

    @property
    def token(self) -> str:
        """The bearer token."""
        return self._settings.token

    @property
    def stream_id(self) -> str:
        """The encrypted stream ID, not URL-encoded."""
        return self._settings.stream_id

    @property
    def plain_stream_id(self) -> int:
        """The numeric ID of the same stream."""
        return self._settings.plain_stream_id

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Copies of the messages that were accepted, in order."""
        return self._app.store.messages()

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Copies of the messages that were refused, in order; ``failed`` says why."""
        return self._app.store.refused()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The API requests that came in, in order, the token redacted."""
        return self._app.store.requests()

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """The files that were accepted, in order."""
        return self._app.store.uploads()

    @property
    def campaigns(self) -> list[dict[str, Any]]:
        """The campaigns that were accepted, in order, each with its form and its recipients."""
        return self._app.store.campaigns()

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The numbers that were checked, in order."""
        return self._app.store.validations()

    @property
    def validation_warnings(self) -> list[dict[str, Any]]:
        """The numbers that were checked twice, or checked and not messaged afterwards."""
        return self._app.store.validation_warnings()

    @property
    def conversations(self) -> list[dict[str, Any]]:
        """Copies of the conversations with their messages, oldest first."""
        return self._app.conversations.listing()

    def answer(self, object_id: int | str, text: str, *, from_customer: bool = True) -> dict[str, Any]:
        """
        Have the customer, or an agent, write into a conversation; return the message.

        :raises ValueError: there is no such conversation.
        """
        message = self._app.conversations.write(object_id, text, from_customer=from_customer)
        if message is None:
            raise ValueError(f"no conversation {object_id!r}")
        return message

    def set_status(self, object_id: int | str, status: int) -> None:
        """
        Give a conversation another status, by its number.

        :raises ValueError: there is no such conversation.
        """
        if not self._app.conversations.set_status(object_id, status):
            raise ValueError(f"no conversation {object_id!r}")

    @property
    def counts(self) -> dict[str, int]:
        """Counters since the start or the last reset; unlike the lists, they forget nothing."""
        return self._app.store.counts()

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The faults on demand, with how often each was seen and has struck."""
        return self._app.faults.listing()

    def add_fault(self, name: str | None = None, **fields: Unpack[FaultFields]) -> int:
        """
        Have something go wrong; return the number of the fault.

        :param name: a ready-made fault, such as ``"drop_after"``.
        :param fields: fields of :class:`~airflow_provider_cirrus.sandbox.faults.Fault`, which win over it.
        :raises ValueError: unknown name, unknown field, or a value that makes no sense.
        """
        return self._app.faults.add(name, fields)

    def remove_fault(self, number: int) -> bool:
        """Remove one fault; say whether it was there."""
        return self._app.faults.remove(number)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._app.faults.clear()

    def reset(self) -> None:
        """Forget everything that came in, and all faults."""
        self._app.reset()

    @property
    def _scheme(self) -> str:
        return "http" if self._ssl["ssl_certfile"] is None else "https"

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]:{self._port}" if ":" in self.host else f"{self.host}:{self._port}"
