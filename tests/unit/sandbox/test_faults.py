from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest
import requests

from airflow_provider_cirrus.sandbox import http_date
from airflow_provider_cirrus.sandbox.faults import NAMED, Fault


def accepted(sandbox):
    return [item["recipient"] for item in sandbox.messages]


@pytest.mark.parametrize(
    ("name", "error", "recorded"),
    [
        pytest.param("drop_before", httpx.NetworkError, False, id="drop-before"),
        pytest.param("drop_after", httpx.NetworkError, True, id="drop-after"),
        pytest.param("truncated", httpx.RemoteProtocolError, True, id="truncated"),
        pytest.param("hang_before", httpx.ReadTimeout, False, id="hang-before"),
        pytest.param("hang_after", httpx.ReadTimeout, True, id="hang-after"),
    ],
)
def test_broken_connections(sandbox, connect, post, message, name, error, recorded):
    client = connect(sandbox, timeout=httpx.Timeout(5, read=0.2))
    sandbox.add_fault(name)
    with pytest.raises(error):
        post(client, sandbox, message())
    assert len(sandbox.messages) == recorded
    assert sandbox.requests[0]["status"] is None
    assert sandbox.requests[0]["json"] == {"data": [message()]}
    assert post(client, sandbox, message()).status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
def test_orderly_close_without_an_answer(sandbox, client, post, message, when):
    sandbox.add_fault(on="send", when=when, action="close")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post(client, sandbox, message())
    assert len(sandbox.messages) == (when == "after")


def test_drop_is_a_reset_for_requests_too(sandbox, path, message):
    sandbox.add_fault("drop_after")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        requests.post(
            sandbox.base_url + path(sandbox),
            json={"data": [message()]},
            headers={"Authorization": f"Bearer {sandbox.token}"},
            timeout=5,
        )
    assert accepted(sandbox) == ["447700900101"]


@pytest.mark.parametrize(
    ("name", "status", "recorded"),
    [
        pytest.param("rate_limited", 429, False, id="rate-limited"),
        pytest.param("rate_limited_retry_after", 429, False, id="retry-after"),
        pytest.param("rate_limited_retry_date", 429, False, id="retry-date"),
        pytest.param("unauthorized", 401, False, id="unauthorized"),
        pytest.param("not_found", 404, False, id="not-found"),
        pytest.param("server_error_before", 500, False, id="server-error-before"),
        pytest.param("server_error_after", 500, True, id="server-error-after"),
        pytest.param("bad_gateway_html", 502, False, id="bad-gateway"),
        pytest.param("redirect", 307, False, id="redirect"),
        pytest.param("garbage", 200, True, id="garbage"),
    ],
)
def test_wrong_answers(sandbox, client, post, message, name, status, recorded):
    sandbox.add_fault(name)
    answer = post(client, sandbox, message())
    assert answer.status_code == status
    assert len(sandbox.messages) == recorded
    assert sandbox.requests[0]["status"] == status
    with pytest.raises((ValueError, KeyError)):
        answer.json()["data"]
    assert post(client, sandbox, message()).status_code == 200


def test_every_ready_made_fault_is_valid(sandbox):
    for name in NAMED:
        sandbox.add_fault(name)
    assert [fault["name"] for fault in sandbox.faults] == list(NAMED)


def test_retry_after_in_seconds_and_as_a_date(sandbox, client, post, message):
    sandbox.add_fault("rate_limited")
    sandbox.add_fault("rate_limited_retry_after", retry_after=7)
    sandbox.add_fault("rate_limited_retry_date", retry_after=60)
    assert "retry-after" not in post(client, sandbox, message()).headers
    assert post(client, sandbox, message()).headers["retry-after"] == "7"
    date = parsedate_to_datetime(post(client, sandbox, message()).headers["retry-after"])
    assert 59 <= (date - datetime.now(UTC)).total_seconds() <= 62


def test_http_date_is_never_early():
    before = time.time()
    assert parsedate_to_datetime(http_date(5)).timestamp() >= before + 5


def test_status_with_own_headers_and_body(sandbox, client, post, message):
    sandbox.add_fault(status=503, headers={"X-Proxy": "edge"}, body="<h1>Down</h1>")
    answer = post(client, sandbox, message())
    assert (answer.status_code, answer.text, answer.headers["x-proxy"]) == (503, "<h1>Down</h1>", "edge")
    sandbox.add_fault(status=400, body={"status": 400, "description": "as an int"})
    assert post(client, sandbox, message()).json() == {"status": 400, "description": "as an int"}


def test_redirect_target_is_recorded(sandbox, connect, post, message):
    sandbox.add_fault("redirect")
    post(connect(sandbox, follow_redirects=True), sandbox, message())
    assert [item["operation"] for item in sandbox.requests] == ["send", "redirected"]
    assert sandbox.requests[1]["json"] == {"data": [message()]}
    assert sandbox.messages == []


def test_latency_delays_and_goes_on(sandbox, client, post, message):
    sandbox.add_fault("latency", delay=0.15)
    sandbox.add_fault("server_error_after")
    started = time.monotonic()
    assert post(client, sandbox, message()).status_code == 500
    assert time.monotonic() - started >= 0.15


def test_a_client_that_gave_up_may_still_have_sent(sandbox, connect, post, message, eventually):
    sandbox.add_fault("latency", delay=0.2)
    with pytest.raises(httpx.ReadTimeout):
        post(connect(sandbox, timeout=httpx.Timeout(5, read=0.05)), sandbox, message())
    assert sandbox.messages == []
    eventually(lambda: len(sandbox.messages) == 1)


@pytest.mark.parametrize(
    ("recipient", "missing"),
    [
        pytest.param(None, "447700900101", id="last"),
        pytest.param("+44 7700 900102", "447700900102", id="chosen"),
    ],
)
def test_missing_entry(sandbox, client, post, message, recipient, missing):
    sandbox.add_fault("missing_entry", recipient=recipient)
    answer = post(client, sandbox, message("447700900101"), message("447700900102"))
    assert answer.status_code == 200
    (left,) = answer.json()["data"]
    assert left["recipient"] != missing
    assert accepted(sandbox) == ["447700900101", "447700900102"]


def test_refusal_on_demand(sandbox, client, post, message):
    sandbox.add_fault("refused", recipient="447700900102", failed="131056: pair rate limit", times=2)
    answer = post(client, sandbox, message("447700900101"), message("447700900102"))
    assert answer.status_code == 206
    assert answer.json()["data"][0]["failed"] == "131056: pair rate limit"
    assert post(client, sandbox, message("447700900102")).status_code == 400
    assert post(client, sandbox, message("447700900102")).status_code == 200


def test_older_contact_answer_on_demand(sandbox, client, path):
    sandbox.add_fault("old_contacts")
    url = path(sandbox, "whatsapp/validatecontact", "447700900101")
    assert "contacts" in client.get(url).json()["data"]
    assert client.get(url).json()["data"] == {"valid": True}


def test_faults_strike_in_order_one_per_request(sandbox, client, post, message):
    sandbox.add_fault("rate_limited", times=2)
    sandbox.add_fault("server_error_before")
    statuses = [post(client, sandbox, message()).status_code for _ in range(4)]
    assert statuses == [429, 429, 500, 200]


def test_skip_times_and_recipient(sandbox, client, post, message):
    sandbox.add_fault("server_error_before", skip=1, times=None, recipient="447700900102")
    statuses = [
        post(client, sandbox, message(number)).status_code
        for number in ("447700900102", "447700900101", "447700900102", "447700900102", "447700900101")
    ]
    assert statuses == [200, 200, 500, 500, 200]


def test_after_faults_wait_for_an_accepted_request(sandbox, client, post, message):
    sandbox.add_fault("drop_after")
    assert post(client, sandbox, message("0")).status_code == 400
    with pytest.raises(httpx.NetworkError):
        post(client, sandbox, message())


@pytest.mark.parametrize(
    ("on", "method", "call", "more"),
    [
        pytest.param("validate", "GET", "whatsapp/validatecontact", ["447700900101"], id="validate"),
        pytest.param("object", "GET", "streams", ["objects", "1"], id="object"),
        pytest.param("object", "GET", "streams", ["objects"], id="objects"),
        pytest.param("availability", "GET", "streams", ["streamavailability"], id="availability"),
        pytest.param("any", "GET", "streams", ["streamavailability"], id="any"),
    ],
)
def test_faults_belong_to_one_call(sandbox, client, post, message, path, on, method, call, more):
    if on != "any":
        sandbox.add_fault(on=on, status=503)
        assert post(client, sandbox, message()).status_code == 200
    else:
        sandbox.add_fault(status=503)
    assert client.request(method, path(sandbox, call, *more)).status_code == 503


@pytest.mark.parametrize(
    ("when", "recorded"), [pytest.param("before", 0, id="before"), pytest.param("after", 1, id="after")]
)
@pytest.mark.parametrize("action", ["drop", "status"])
def test_upload_faults(sandbox, client, path, when, recorded, action):
    sandbox.add_fault(on="upload", when=when, action=action)
    upload = {"pic": ("a.pdf", b"x" * 3_000_000)}
    if action == "drop":
        with pytest.raises(httpx.NetworkError):
            client.post(path(sandbox, "whatsapp/uploadmedia"), files=upload)
    else:
        assert client.post(path(sandbox, "whatsapp/uploadmedia"), files=upload).status_code == 500
    assert len(sandbox.uploads) == recorded


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        pytest.param("drop_sometimes", {}, "unknown fault", id="name"),
        pytest.param(["drop"], {}, "unknown fault", id="name-type"),
        pytest.param(None, {"wen": "after"}, "unknown field", id="field"),
        pytest.param(None, {"on": "sned"}, "on must be", id="on"),
        pytest.param(None, {"when": ["after"]}, "when must be", id="when"),
        pytest.param(None, {"action": "explode"}, "action must be", id="action"),
        pytest.param(None, {"status": 99}, "status", id="status"),
        pytest.param(None, {"status": "500"}, "status", id="status-type"),
        pytest.param(None, {"times": 0}, "times", id="times"),
        pytest.param(None, {"skip": -1}, "skip", id="skip"),
        pytest.param(None, {"delay": -1}, "delay", id="delay"),
        pytest.param(None, {"retry_after": "2"}, "retry_after", id="retry-after"),
        pytest.param(None, {"headers": {"X": "a\r\nY: b"}}, "headers", id="header-injection"),
        pytest.param(None, {"body": 5}, "body", id="body"),
        pytest.param(None, {"recipient": "nobody"}, "recipient", id="recipient"),
        pytest.param("missing_entry", {"when": "before"}, "after only", id="missing-before"),
        pytest.param("refused", {"on": "upload"}, "send only", id="refuse-upload"),
        pytest.param("old_contacts", {"on": "send"}, "validate only", id="contacts-send"),
    ],
)
def test_wrong_faults_are_refused_by_library_and_http(sandbox, client, name, fields, problem):
    with pytest.raises(ValueError, match=problem):
        sandbox.add_fault(name, **fields)
    answer = client.post("/_sandbox/faults", json={**fields, **({"name": name} if name else {})})
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert sandbox.faults == []


def test_faults_over_http(sandbox, client, post, message):
    first = client.post("/_sandbox/faults", json={"name": "rate_limited_retry_after", "retry_after": 2})
    assert first.status_code == 201
    second = client.post("/_sandbox/faults", json={"on": "send", "when": "after", "action": "drop", "times": None})
    assert post(client, sandbox, message()).headers["retry-after"] == "2"
    listed = client.get("/_sandbox/faults").json()["faults"]
    assert [(item["id"], item["name"], item["struck"]) for item in listed] == [
        (first.json()["id"], "rate_limited_retry_after", 1),
        (second.json()["id"], None, 0),
    ]
    assert client.delete(f"/_sandbox/faults/{second.json()['id']}").status_code == 200
    assert client.delete(f"/_sandbox/faults/{second.json()['id']}").status_code == 404
    assert client.delete("/_sandbox/faults").json() == {"faults": []}
    assert post(client, sandbox, message()).status_code == 200


@pytest.mark.parametrize("raw", [b"{", b"[]", b"", b"\xff"])
def test_unreadable_fault_is_refused(client, raw):
    assert client.post("/_sandbox/faults", content=raw).status_code == 400


def test_faults_can_be_removed(sandbox, client, post, message):
    number = sandbox.add_fault("drop_before", times=None)
    assert sandbox.remove_fault(number)
    assert not sandbox.remove_fault(number)
    sandbox.add_fault("drop_before", times=None)
    sandbox.clear_faults()
    assert post(client, sandbox, message()).status_code == 200


def struck(seed: int | None, probability: float, requests: int = 200) -> str:
    fault = Fault(probability=probability, seed=seed, times=None)
    return "".join("x" if fault.strikes("send", "before", ()) else "." for _ in range(requests))


def test_a_seed_strikes_the_same_requests_again():
    assert struck(7, 0.3) == struck(7, 0.3)
    assert struck(7, 0.3) != struck(8, 0.3)
    assert 30 < struck(7, 0.3).count("x") < 90
    assert struck(7, 1.0) == "x" * 200


def test_without_a_seed_nobody_can_tell_which():
    assert len({struck(None, 0.5) for _ in range(5)}) == 5


def test_a_fault_by_chance_still_strikes_so_often_and_lets_so_many_pass():
    fault = Fault(probability=0.5, seed=1, times=3, skip=5)
    found = [fault.strikes("send", "before", ()) for _ in range(100)]
    assert not any(found[:5])
    assert sum(found) == fault.struck == 3


@pytest.mark.parametrize("wrong", [{"probability": 0}, {"probability": 1.5}, {"probability": True}, {"seed": -1}])
def test_chances_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Fault(**wrong)


def test_refusals_by_chance_are_those_of_the_seed(sandbox, client, post, message):
    def refused() -> list[str]:
        sandbox.reset()
        sandbox.add_fault("refused", probability=0.5, seed=3, times=None)
        post(client, sandbox, *[message(f"4477009001{n:02d}") for n in range(20)])
        return [one["recipient"] for one in sandbox.refused]

    first = refused()
    assert 3 < len(first) < 17
    assert refused() == first
