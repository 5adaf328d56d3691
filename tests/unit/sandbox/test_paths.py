from __future__ import annotations

import httpx
import pytest

from airflow_provider_cirrus.sandbox import Sandbox

SEND = "/whatsapp/sendtemplatedmessage/"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong"),
        pytest.param({"Authorization": "Bearer"}, id="empty"),
        pytest.param({"Authorization": "sandbox-token"}, id="no-scheme"),
        pytest.param({"Authorization": "Basic sandbox-token"}, id="basic"),
        pytest.param({"X-Api-Key": "sandbox-token"}, id="other-header"),
    ],
)
@pytest.mark.parametrize(
    ("method", "call"),
    [
        pytest.param("POST", "whatsapp/sendtemplatedmessage", id="send"),
        pytest.param("POST", "whatsapp/uploadmedia", id="upload"),
        pytest.param("GET", "whatsapp/validatecontact", id="validate"),
        pytest.param("GET", "streams", id="availability"),
    ],
)
def test_every_call_needs_the_token(sandbox, path, headers, method, call):
    more = {"streams": ["streamavailability"], "whatsapp/validatecontact": ["447700900101"]}.get(call, [])
    answer = httpx.request(method, sandbox.base_url + path(sandbox, call, *more), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox-token" not in str(sandbox.requests)


@pytest.mark.parametrize("with_header", [True, False])
def test_a_token_in_the_query_is_refused_and_not_recorded(sandbox, path, with_header):
    headers = {"Authorization": f"Bearer {sandbox.token}"} if with_header else {}
    url = sandbox.base_url + path(sandbox, "streams", "streamavailability")
    answer = httpx.get(url, params={"access_token": sandbox.token}, headers=headers)
    assert answer.status_code == 401
    assert sandbox.token not in str(sandbox.requests)


def test_requests_are_recorded_as_received(sandbox, client, post, message, path):
    post(client, sandbox, message())
    (seen,) = sandbox.requests
    assert seen["operation"] == "send"
    assert seen["method"] == "POST"
    assert seen["path"] == path(sandbox)
    assert "%3D%3D" in seen["path"]
    assert seen["headers"]["authorization"] == "Bearer …"
    assert seen["content_length"] > 0
    assert seen["json"] == {"data": [message()]}
    assert seen["status"] == 200
    assert seen["query"] == ""


def test_records_are_copies(sandbox, client, post, message):
    post(client, sandbox, message())
    sandbox.messages[0]["recipient"] = "changed"
    sandbox.requests[0]["headers"].clear()
    assert sandbox.messages[0]["recipient"] == "447700900101"
    assert sandbox.requests[0]["headers"]


@pytest.mark.parametrize(
    ("version", "path_prefix", "status"),
    [
        pytest.param("any", "", 200, id="any-plain"),
        pytest.param("any", "/v2", 200, id="any-v2"),
        pytest.param("v2", "/v2", 200, id="v2-v2"),
        pytest.param("v2", "", 400, id="v2-plain"),
        pytest.param("", "", 200, id="unversioned-plain"),
        pytest.param("", "/v2", 404, id="unversioned-v2"),
    ],
)
def test_api_versions(connect, path, message, version, path_prefix, status):
    with Sandbox(api_version=version) as sandbox:
        answer = connect(sandbox).post(path_prefix + path(sandbox), json={"data": [message()]})
        assert answer.status_code == status
        assert sandbox.counts["accepted"] == (status == 200)
    if status == 400:
        assert answer.json()["description"] == "Missing parameter template_name"
        assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("stream", "segment", "status"),
    [
        pytest.param("hA/b+c==", "hA%2Fb%2Bc%3D%3D", 200, id="encoded-once"),
        pytest.param("hA/b+c==", "hA%2fb%2bc%3d%3d", 200, id="lower-case-escapes"),
        pytest.param("hA/b+c==", "hA%2Fb+c==", 200, id="only-what-must-be"),
        pytest.param("hA/b+c==", "hA/b+c==", 404, id="raw-slash"),
        pytest.param("hA/b+c==", "hA%252Fb%252Bc%253D%253D", 404, id="encoded-twice"),
        pytest.param("hA/b+c==", "hA%2Fb%20c==", 404, id="plus-became-space"),
        pytest.param("hA/b+c==", "hA%2Fb%2Bc", 404, id="padding-lost"),
        pytest.param("hA/b+c==", "hA%2Fb%2Bc%3D%3", 404, id="broken-escape"),
        pytest.param("hA/b+c==", "ha%2fb%2bc%3d%3d", 404, id="case-lost"),
        pytest.param("hAb%3d%3d", "hAb%3D%3D", 200, id="started-with-encoded-id"),
        pytest.param("hAb==", "40001", 404, id="plain-id-cannot-send"),
    ],
)
def test_stream_ids_are_decoded_exactly_once(connect, message, stream, segment, status):
    with Sandbox(stream_id=stream) as sandbox:
        answer = connect(sandbox).post(SEND + segment, json={"data": [message()]})
        assert answer.status_code == status
        assert sandbox.requests[0]["path"] == SEND + segment


@pytest.mark.parametrize("wrong", ["/nothing", "/whatsapp", "/v2", "/v2/v2/core/systemstatus", "/%ff", "//"])
def test_unknown_paths_are_404_without_json(client, wrong):
    answer = client.get(httpx.URL(str(client.base_url).rstrip("/") + wrong))
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_wrong_method_is_refused(sandbox, client, path):
    assert client.get(path(sandbox)).status_code == 405


def test_keep_bounds_the_lists_but_not_the_counters(connect, post, message):
    with Sandbox(keep=2) as sandbox:
        client = connect(sandbox)
        for number in ("447700900101", "447700900102", "447700900103"):
            post(client, sandbox, message(number))
        assert [item["recipient"] for item in sandbox.messages] == ["447700900102", "447700900103"]
        assert len(sandbox.requests) == 2
        assert sandbox.counts["accepted"] == sandbox.counts["requests"] == 3
