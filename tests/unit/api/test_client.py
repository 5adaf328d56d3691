"""Both clients over real HTTP: every documented answer, every fault, one behaviour."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.api.async_client import AsyncCirrusClient
from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.exchange import Request
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.api.transport import failure
from airflow_provider_cirrus.sandbox import Sandbox

Connect = Callable[..., Any]


class Awaited:
    """An async client whose methods are called as those of the sync one."""

    def __init__(self, runner: asyncio.Runner, **options: Any) -> None:
        self._runner = runner
        self._client = AsyncCirrusClient(**options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Connect]:
    """Make clients for the sandbox; options override where it leads."""
    opened: list[Any] = []
    with asyncio.Runner() as runner:

        def make(**options: Any) -> Any:
            given = {
                "token": sandbox.token,
                "stream_id": sandbox.stream_id,
                "base_url": sandbox.base_url,
                "timeout": 5.0,
                "attempts": 1,
                **options,
            }
            opened.append(CirrusClient(**given) if request.param == "sync" else Awaited(runner, **given))
            return opened[-1]

        yield make
        for client in opened:
            client.close()


def message(to: str = "447700900123", **template: Any) -> Message:
    return Message.build(to, {"name": "order_update", "language": "en", **template})


def outcomes(sent: SendResult) -> list[str]:
    return [result.outcome.value for result in sent.results]


def test_a_message_arrives_as_it_was_written(connect: Connect, sandbox: Sandbox) -> None:
    sent = connect().send(
        [
            Message.build(
                "+44 7700 900-123",
                {"name": "order_update", "language": "pt_BR", "header": "Olá", "body": ["Ânn", 3]},
                object_data={"createChildObject": True, "SubStreamId": 2},
                schedule="2090-01-01T00:00:00Z",
            )
        ]
    )
    (received,) = sandbox.messages
    assert outcomes(sent) == ["accepted"]
    assert sent.results[0].message_id == received["id"]
    assert sent.results[0].object_id == str(received["object_id"])
    assert received["recipient"] == "447700900123"
    assert received["components"][1]["parameters"] == [{"type": "text", "text": "Ânn"}, {"type": "text", "text": "3"}]
    assert received["schedule"] == 3786912000


def test_every_kind_of_part_passes_the_sandboxs_own_reading(connect: Connect, sandbox: Sandbox) -> None:
    client = connect()
    upload = client.upload_media(io.BytesIO(b"%PDF-1.4 invoice"), "invoice.pdf")
    sent = client.send(
        [
            message("447700900101", header={"type": "document", "id": upload.id, "filename": "invoice.pdf"}),
            message("447700900102", header={"type": "image", "link": "https://shop.example/a.png"}),
            message("447700900103", body={"name": "Ann"}),
            message(
                "447700900104",
                buttons=[
                    {"type": "url", "text": "a"},
                    {"type": "quick_reply", "payload": "b"},
                    {"type": "copy_code", "coupon_code": "c"},
                    {"type": "flow", "flow_token": "d"},
                    {"type": "catalog"},
                ],
            ),
            message("447700900105", authentication_code="493871"),
            message("447700900106", components=[{"type": "carousel", "cards": []}]),
        ]
    )
    assert outcomes(sent) == ["accepted"] * 6, sent


@pytest.mark.parametrize("version", ["", "v2"])
def test_both_paths_are_served(connect: Connect, sandbox: Sandbox, version: str) -> None:
    assert outcomes(connect(api_version=version).send([message()])) == ["accepted"]
    assert sandbox.requests[-1]["path"].startswith("/v2/" if version else "/whatsapp/")


@pytest.mark.parametrize("spelling", [lambda s: s, lambda s: s.replace("=", "%3d"), lambda s: s.replace("=", "%3D")])
def test_stream_ids_pasted_encoded_or_decoded_reach_the_server_the_same_way(
    connect: Connect, sandbox: Sandbox, spelling: Callable[[str], str]
) -> None:
    assert "=" in sandbox.stream_id
    assert outcomes(connect(stream_id=spelling(sandbox.stream_id)).send([message()])) == ["accepted"]
    assert sandbox.requests[-1]["path"].endswith(sandbox.stream_id.replace("=", "%3D"))


def test_206_is_one_outcome_per_message(connect: Connect, sandbox: Sandbox) -> None:
    numbers = [f"4477009001{suffix}" for suffix in ("23", "90", "91", "93", "97", "98")]
    sent = connect().send([message(number) for number in numbers])
    assert sandbox.requests[-1]["status"] == 206
    assert outcomes(sent) == ["accepted", "rejected", "rejected", "unsent", "unknown", "unknown"]
    assert [result.code for result in sent.results[1:4]] == [None, 131026, 130429]
    assert sent.error is None
    assert not sent.stop


def test_a_refusal_that_concerns_the_account_stops_the_run(connect: Connect) -> None:
    sent = connect().send([message("447700900123"), message("447700900196")])
    assert outcomes(sent) == ["accepted", "rejected"]
    assert sent.stop


def test_400_with_a_list_rejects_each_with_its_reason(connect: Connect, sandbox: Sandbox) -> None:
    sent = connect().send([message("447700900190"), message("447700900192")])
    assert sandbox.requests[-1]["status"] == 400
    assert outcomes(sent) == ["rejected", "rejected"]
    assert "Not a valid WhatsApp user" in (sent.results[0].reason or "")
    assert sent.results[1].code == 131050


def test_400_without_data_rejects_all_with_the_description(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault(
        "server_error_before", status=400, body={"status": "400", "description": "Bad language", "data": None}
    )
    sent = connect().send([message()])
    assert outcomes(sent) == ["rejected"]
    assert isinstance(sent.error, errors.BadRequest)
    assert "Bad language" in str(sent.error)


def test_400_without_data_for_several_rejects_none_of_them(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault("server_error_before", status=400, body={"status": "400", "description": "Bad number"})
    sent = connect().send([message("447700900101"), message("447700900102")])
    assert outcomes(sent) == ["unsent", "unsent"]
    assert sent.split
    assert len(sandbox.requests) == 1, "a plain client does not split"


def test_a_deployment_of_the_other_version_is_named_as_such(connect: Connect) -> None:
    with Sandbox(api_version="v2") as other:
        sent = connect(base_url=other.base_url, stream_id=other.stream_id, token=other.token).send([message()])
    assert outcomes(sent) == ["unsent"]
    assert 'api_version to "v2"' in str(sent.error)


@pytest.mark.parametrize("fault", ["dripping", "flooding"])
def test_a_client_goes_on_after_an_answer_without_measure(connect: Connect, sandbox: Sandbox, fault: str) -> None:
    client = connect(timeout=0.5, pool_size=1)
    sandbox.add_fault(fault)
    assert [outcomes(client.send([message()])) for _ in range(3)] == [["unknown"], ["accepted"], ["accepted"]]


def test_a_read_whose_answer_drips_is_repeated(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault("dripping", on="availability")
    connect(timeout=0.5, attempts=2).stream_availability()
    assert len(sandbox.requests) == 2


def test_a_slow_answer_that_comes_in_time_is_read_to_its_end(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault("dripping", delay=0)
    client = connect()
    assert [outcomes(client.send([message()])) for _ in range(2)] == [["accepted"], ["accepted"]]


@pytest.mark.parametrize(
    ("fault", "outcome", "error", "said", "arrived"),
    [
        pytest.param("unauthorized", "unsent", errors.Unauthorized, "did not accept the token", 0, id="401"),
        pytest.param("not_found", "unsent", errors.NotFound, "stream id and the host", 0, id="404"),
        pytest.param("rate_limited", "unsent", errors.Throttled, "slow down", 0, id="429"),
        pytest.param("server_error_before", "unknown", errors.ServerError, "cannot be known", 0, id="500-before"),
        pytest.param("server_error_after", "unknown", errors.ServerError, "cannot be known", 1, id="500-after"),
        pytest.param("bad_gateway_html", "unknown", errors.ServerError, r"\(502\): 502 Bad Gateway", 0, id="502-html"),
        pytest.param("garbage", "unknown", errors.UnreadableAnswer, "without saying what became", 1, id="200-garbage"),
        pytest.param("truncated", "unknown", errors.NoAnswer, "dropped the connection", 1, id="200-cut-off"),
        pytest.param("drop_before", "unknown", errors.NoAnswer, "dropped the connection", 0, id="reset-before"),
        pytest.param("drop_after", "unknown", errors.NoAnswer, "dropped the connection", 1, id="reset-after"),
        pytest.param("dripping", "unknown", errors.NoAnswer, "in time", 1, id="200-drip"),
        pytest.param("flooding", "unknown", errors.UnreadableAnswer, "no documented answer", 1, id="200-flood"),
        pytest.param("rate_limited_for_a_year", "unsent", errors.Throttled, "a day or longer", 0, id="429-year"),
        pytest.param("redirect", "unknown", errors.UnreadableAnswer, "not followed", 0, id="redirect"),
    ],
)
def test_an_answer_that_judges_nobody(
    connect: Connect, sandbox: Sandbox, fault: str, outcome: str, error: type[Exception], said: str, arrived: int
) -> None:
    sandbox.add_fault(fault)
    sent = connect(attempts=3 if outcome == "unknown" else 1, timeout=1.0).send([message()])
    assert outcomes(sent) == [outcome]
    assert type(sent.error) is error
    assert re.search(said, str(sent.error))
    assert len(sandbox.messages) == arrived
    assert len(sandbox.requests) == 1, "an ambiguous failure was repeated, or a redirect followed"


@pytest.mark.parametrize(("fault", "arrived"), [("hang_before", 0), ("hang_after", 1)])
def test_a_read_timeout_leaves_the_message_unknown(
    connect: Connect, sandbox: Sandbox, fault: str, arrived: int
) -> None:
    sandbox.add_fault(fault)
    sent = connect(timeout=0.5, attempts=3).send([message()])
    assert outcomes(sent) == ["unknown"]
    assert "did not answer in time" in str(sent.error)
    assert len(sandbox.messages) == arrived


@pytest.mark.parametrize("fault", ["rate_limited", "rate_limited_retry_after", "rate_limited_retry_date"])
def test_a_429_is_waited_for_and_repeated(
    connect: Connect, sandbox: Sandbox, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.add_fault(fault)
    with caplog.at_level(logging.WARNING):
        sent = connect(attempts=2).send([message()])
    assert outcomes(sent) == ["accepted"]
    assert [request["status"] for request in sandbox.requests] == [429, 200]
    assert "Trying again in" in caplog.text


def test_a_server_that_asks_for_more_patience_than_we_have_gets_it_from_the_caller(
    connect: Connect, sandbox: Sandbox
) -> None:
    sandbox.add_fault("rate_limited", retry_after=3600, times=None)
    sent = connect(attempts=3, longest_wait=60).send([message()])
    assert outcomes(sent) == ["unsent"]
    assert sent.error is not None
    assert sent.error.retry_after == 3600
    assert len(sandbox.requests) == 1


def test_a_closed_client_opens_new_connections(sandbox: Sandbox) -> None:
    client = CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url)
    for _ in range(2):
        with client:
            assert outcomes(client.send([message()])) == ["accepted"]


def test_a_refused_connection_leaves_all_unsent(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sent = connect(base_url=f"http://127.0.0.1:{port}").send([message()])
    assert outcomes(sent) == ["unsent"]
    assert "refused the connection. The request did not leave." in str(sent.error)


def test_a_connection_refused_for_a_moment_is_tried_again(connect: Connect) -> None:
    with Sandbox() as late:
        client = connect(base_url=late.base_url, token=late.token, stream_id=late.stream_id, attempts=5)
        late.stop()
        threading.Timer(0.3, late.start).start()
        assert outcomes(client.send([message()])) == ["accepted"]


def test_an_unknown_host_leaves_all_unsent(connect: Connect) -> None:
    sent = connect(base_url="https://cirrus.invalid").send([message()])
    assert outcomes(sent) == ["unsent"]
    assert "cirrus.invalid is not known" in str(sent.error)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and the private authority that signed it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return folder / "server.pem", folder / "authority.pem"


def test_a_certificate_that_is_not_trusted_stops_before_anything_is_sent(
    connect: Connect, certificate: tuple[Path, Path]
) -> None:
    with Sandbox(ssl_certfile=str(certificate[0])) as secure:
        client = connect(base_url=secure.base_url, token=secure.token, stream_id=secure.stream_id, attempts=3)
        sent = client.send([message()])
        assert outcomes(sent) == ["unsent"]
        assert "is not trusted" in str(sent.error)
        assert sent.stop
        assert secure.requests == []


def test_a_certificate_of_a_private_authority_can_be_trusted(
    connect: Connect, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificate[1]))
    with Sandbox(ssl_certfile=str(certificate[0])) as secure:
        client = connect(base_url=secure.base_url, token=secure.token, stream_id=secure.stream_id)
        assert outcomes(client.send([message()])) == ["accepted"]


def test_https_to_a_plain_port_says_so(connect: Connect, sandbox: Sandbox) -> None:
    sent = connect(base_url=sandbox.base_url.replace("http:", "https:")).send([message()])
    assert outcomes(sent) == ["unsent"]
    assert "is it an https:// service?" in str(sent.error)


def test_a_netrc_and_a_proxy_do_not_come_between_us_and_our_own_machine(
    connect: Connect, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert outcomes(connect().send([message()])) == ["accepted"]


class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy: opens a tunnel to wherever it is asked to, or refuses to."""

    def handle(self) -> None:
        asked = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        assert isinstance(self.server, _Proxy)
        self.server.asked.append(asked[1].decode())
        if not self.server.is_open:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        host, _, port = asked[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 10)[0]:
                    if not (data := end.recv(65_536)):
                        return
                    ends[end].sendall(data)


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    is_open = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.asked: list[str] = []


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Proxy]:
    """A proxy that the environment names for https."""
    with _Proxy() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("is_open", "outcome"), [pytest.param(True, "accepted", id="open"), pytest.param(False, "unsent", id="refusing")]
)
def test_the_proxy_of_the_environment_is_used_for_https(
    connect: Connect,
    certificate: tuple[Path, Path],
    proxy: _Proxy,
    monkeypatch: pytest.MonkeyPatch,
    is_open: bool,
    outcome: str,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificate[1]))
    proxy.is_open = is_open
    with Sandbox(ssl_certfile=str(certificate[0])) as secure:
        client = connect(base_url=secure.base_url, token=secure.token, stream_id=secure.stream_id)
        sent = client.send([message()])
        assert outcomes(sent) == [outcome]
        if not is_open:
            # Not Cirrus refuses, and the user has to know where to look.
            assert "answered 403 when asked for https://" in str(sent.error)
            assert "proxy" in str(sent.error)
        assert proxy.asked == [secure.base_url.removeprefix("https://")]
        assert len(secure.requests) == is_open


@pytest.mark.parametrize("port", [9, 449])
def test_a_proxy_that_is_down_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://user:secret@127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    sent = connect(base_url="https://cirrus.example", attempts=1).send([message()])
    assert outcomes(sent) == ["unsent"]
    assert re.search(r"The proxy\b.* refused the connection, on the way to https://cirrus\.example", str(sent.error))
    assert "secret" not in str(sent.error)


@pytest.mark.parametrize("where", ["<Connection at 0x7fa449abc0>", "Pool(host='proxy', port=449)", "proxy449 500ms"])
def test_what_looks_like_a_status_is_no_answer_of_a_proxy(where: str) -> None:
    """Libraries name objects by their place in memory, which may hold three digits between letters."""

    class ProxyError(Exception):
        pass

    error = ProxyError(f"{where}: Failed to establish a new connection")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    request = Request("GET", "/stream/s/availability")
    found = failure(error, request, None, "https://cirrus.example", proxy="127.0.0.1:449")
    assert "refused the connection, on the way to https://cirrus.example" in str(found)


def test_an_upload_arrives_whole(connect: Connect, sandbox: Sandbox) -> None:
    content = b"%PDF-1.4 " + bytes(range(256)) * 1000
    upload = connect().upload_media(io.BytesIO(content), "Rechnung März.pdf", "application/pdf")
    (received,) = sandbox.uploads
    assert (upload.id, upload.filename) == (received["id"], "Rechnung März.pdf")
    assert received["size"] == len(content)


def test_an_upload_is_repeated_from_the_beginning(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault("rate_limited", on="upload")
    connect(attempts=2).upload_media(io.BytesIO(b"%PDF-1.4 whole"), "a.pdf")
    assert sandbox.uploads[-1]["size"] == len(b"%PDF-1.4 whole")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"action": "drop"}, errors.NoAnswer, id="dropped"),
        pytest.param({"status": 500}, errors.ServerError, id="500"),
        pytest.param({"status": 200, "body": "no json"}, errors.UnreadableAnswer, id="garbage"),
        pytest.param({"status": 200, "body": {"status": "200", "data": []}}, errors.UnreadableAnswer, id="no-id"),
        pytest.param({"status": 401}, errors.Unauthorized, id="401"),
    ],
)
def test_an_upload_without_an_id_fails(
    connect: Connect, sandbox: Sandbox, fault: dict[str, Any], error: type[Exception]
) -> None:
    sandbox.add_fault(on="upload", **fault)
    with pytest.raises(error):
        connect().upload_media(io.BytesIO(b"%PDF-1.4"), "a.pdf")


@pytest.mark.parametrize(("number", "valid"), [("+44 7700 900123", True), ("+44 7700 900199", False)])
def test_a_contact_is_asked_for_once(connect: Connect, sandbox: Sandbox, number: str, valid: bool) -> None:
    assert connect().validate_contact(number).valid is valid
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("fault", [{"action": "drop"}, {"status": 500}, {"status": 502}])
def test_a_contact_is_never_asked_for_again_after_a_lost_answer(
    connect: Connect, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.add_fault(on="validate", **fault)
    with pytest.raises(errors.Ambiguous):
        connect(attempts=3).validate_contact("+447700900123")
    assert len(sandbox.requests) == 1


def test_a_conversation_that_a_message_opened_can_be_read(connect: Connect, sandbox: Sandbox) -> None:
    client = connect()
    sent = client.send(
        [Message.build("447700900123", {"name": "order_update", "language": "en"}, object_data={"StatusId": 1})]
    )
    found = client.get_conversation(sent.results[0].object_id)
    assert found.object_id == sent.results[0].object_id
    assert found.status_id == 1


def test_a_conversation_that_is_not_there_is_not_found(connect: Connect) -> None:
    with pytest.raises(errors.NotFound):
        connect().get_conversation("424242")


def test_a_read_is_repeated_after_a_failure(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault(on="availability", status=503)
    connect(attempts=2).stream_availability()
    assert [request["status"] for request in sandbox.requests] == [503, 200]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"token": "wrong"}, errors.Unauthorized), ({"stream_id": "hSomeOtherStreamID000w=="}, errors.NotFound)],
)
def test_a_wrong_token_or_stream_is_seen_without_side_effect(
    connect: Connect, wrong: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        connect(**wrong).stream_availability()


def test_the_token_stands_in_no_error_and_no_log(
    connect: Connect, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(token="s3cret-token-of-ours", attempts=2)
    with caplog.at_level(logging.DEBUG):
        sent = client.send([message()])
        sandbox.add_fault(on="send", status=500, body="you sent s3cret-token-of-ours")
        again = client.send([message()])
    assert "s3cret" not in caplog.text + str(sent.error) + repr(again)


def test_a_server_may_answer_before_it_read_the_whole_file(connect: Connect, sandbox: Sandbox) -> None:
    large = io.BytesIO(b"%PDF-1.4 " + b"\0" * 20_000_000)
    with pytest.raises((errors.Unauthorized, errors.NoAnswer)):
        connect(token="wrong").upload_media(large, "a.pdf", "application/pdf")


def campaign_file() -> io.BytesIO:
    return io.BytesIO(b"phone1\n447700900101\n447700900102\n")


def test_a_campaign_arrives_with_its_form_and_its_file(connect: Connect, sandbox: Sandbox) -> None:
    campaign = Campaign.build("opening_hours", "en", campaign_name="Öffnungszeiten", schedule="2090-01-01T00:00:00Z")
    connect(stream_id=sandbox.stream_id.replace("=", "%3d")).send_campaign(campaign, campaign_file(), "März.csv")
    (received,) = sandbox.campaigns
    assert received["recipients"] == ["447700900101", "447700900102"]
    assert received["filename"] == "März.csv"
    assert received["fields"] == {
        "template_name": "opening_hours",
        "language_code": "en",
        "stream_id": sandbox.stream_id,
        "campaign_name": "Öffnungszeiten",
        "scheduled_date": "2090-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("fault", "error", "arrived"),
    [
        pytest.param({"status": 500}, errors.ServerError, 0, id="500-before"),
        pytest.param({"status": 500, "when": "after"}, errors.ServerError, 1, id="500-after"),
        pytest.param({"action": "drop", "when": "after"}, errors.NoAnswer, 1, id="dropped"),
        pytest.param({"status": 200, "body": "OK", "when": "after"}, errors.UnreadableAnswer, 1, id="no-json"),
        pytest.param({"status": 200, "body": {}}, errors.UnreadableAnswer, 0, id="no-envelope"),
        pytest.param(
            {"status": 200, "body": {"status": "400", "description": "No"}}, errors.UnreadableAnswer, 0, id="no-inside"
        ),
        pytest.param({"status": 400, "body": {"status": "400"}}, errors.BadRequest, 0, id="400"),
        pytest.param({"status": 401}, errors.Unauthorized, 0, id="401"),
    ],
)
def test_a_campaign_that_is_not_confirmed_is_an_error_and_never_repeated(
    connect: Connect, sandbox: Sandbox, fault: dict[str, Any], error: type[Exception], arrived: int
) -> None:
    sandbox.add_fault(on="campaign", **fault)
    with pytest.raises(error):
        connect(attempts=3).send_campaign(Campaign.build("opening_hours", "en"), campaign_file(), "a.csv")
    assert len(sandbox.campaigns) == arrived
    assert len(sandbox.requests) == 1


def test_a_campaign_is_repeated_whole_after_a_429(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.add_fault("rate_limited", on="campaign")
    connect(attempts=2).send_campaign(Campaign.build("opening_hours", "en"), campaign_file(), "a.csv")
    assert [len(one["recipients"]) for one in sandbox.campaigns] == [2]


def test_no_log_of_a_library_holds_the_number_that_is_checked(
    connect: Connect, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "httpx", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    connect().validate_contact("447700900101")
    assert "validatecontact" in caplog.text, "nothing was logged that could hold it"
    assert "447700900101" not in caplog.text
