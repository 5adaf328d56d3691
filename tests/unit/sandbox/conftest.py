from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_cirrus.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def connect() -> Iterator[Callable[[Sandbox], httpx.Client]]:
    """Make clients with the right token, closed at the end of the test."""
    opened: list[httpx.Client] = []

    def _connect(sandbox: Sandbox, **options: Any) -> httpx.Client:
        # Without verify=False each client reads the system's certificates first, for 30 ms.
        options = {"verify": False, "timeout": 10, **options}
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        client = httpx.Client(base_url=sandbox.base_url, headers=headers, **options)
        opened.append(client)
        return client

    yield _connect
    for client in opened:
        client.close()


@pytest.fixture
def client(sandbox: Sandbox, connect: Callable[[Sandbox], httpx.Client]) -> httpx.Client:
    return connect(sandbox)


@pytest.fixture
def path() -> Callable[..., str]:
    """Make the path of a call."""

    def _path(sandbox: Sandbox, call: str = "whatsapp/sendtemplatedmessage", *more: str) -> str:
        return "/" + "/".join([call, quote(sandbox.stream_id, safe=""), *more])

    return _path


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """Make one entry of a send."""

    def _message(to: Any = "447700900101", *components: Any, **more: Any) -> dict[str, Any]:
        template = {"name": "order_update", "language": {"code": "en"}, "components": list(components)}
        return {"template_data": {"to": to, "template": template}, **more}

    return _message


@pytest.fixture
def post(path: Callable[..., str]) -> Callable[..., httpx.Response]:
    """Send entries to a sandbox."""

    def _post(client: httpx.Client, sandbox: Sandbox, *entries: Any) -> httpx.Response:
        return client.post(path(sandbox), json={"data": list(entries)})

    return _post


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds, for at most five seconds."""

    def _eventually(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < deadline, "did not come true in time"
            time.sleep(0.005)

    return _eventually
