"""What a stranger can make the sandbox do: nothing that fills its memory, and nothing under another name."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.app import LARGEST_BODY

SEND = "/whatsapp/sendtemplatedmessage/{stream}"


def call(sandbox: Sandbox, path: str, body: bytes, **headers: str) -> httpx.Response:
    url = sandbox.base_url + path.format(stream=sandbox.stream_id.replace("=", "%3D"))
    return httpx.post(url, content=body, headers={"Content-Type": "application/json", **headers}, timeout=30)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param(SEND, {}, 401, id="no-token"),
        pytest.param(SEND, {"Authorization": "Bearer nobodys"}, 401, id="another-token"),
        pytest.param("/nowhere", {}, 404, id="no-such-path"),
    ],
)
def test_of_who_may_not_send_little_is_kept(sandbox: Sandbox, path: str, headers: dict[str, str], status: int) -> None:
    for body in (b'"short"', b'"' + b"x" * 5_000_000 + b'"'):
        assert call(sandbox, path, body, **headers).status_code == status
    # What is kept of a longer one is no JSON any more.
    assert [request["json"] for request in sandbox.requests] == ["short", None]


def test_a_body_that_no_send_has_is_refused(sandbox: Sandbox) -> None:
    answer = call(sandbox, SEND, b"[" + b" " * LARGEST_BODY + b"]", Authorization=f"Bearer {sandbox.token}")
    assert answer.status_code == 400
    assert sandbox.messages == []


def test_the_api_answers_under_no_foreign_name(sandbox: Sandbox) -> None:
    answer = call(sandbox, SEND, b"[]", Host="shop.example", Authorization=f"Bearer {sandbox.token}")
    assert answer.status_code == 403
    assert "no loopback name" in answer.text
