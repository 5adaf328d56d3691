from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from airflow_provider_cirrus.sandbox import Sandbox


def test_stops_at_once_while_clients_are_kept_waiting(connect, post, message, eventually):
    sandbox = Sandbox()
    sandbox.start()
    idle = connect(sandbox)
    assert idle.get("/core/systemstatus").status_code == 200
    sandbox.add_fault("hang_before")
    sandbox.add_fault("latency", delay=60)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            post(connect(sandbox), sandbox, message())
        except httpx.TransportError as exc:
            errors.append(exc)

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    with socket.create_connection((sandbox.host, sandbox.port)) as half:
        half.sendall(b"POST /whatsapp/uploadmedia/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        eventually(lambda: len(sandbox.requests) == 4)
        started = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - started < 1.5
    for thread in waiting:
        thread.join(5)
        assert not thread.is_alive()
    assert errors
    with pytest.raises(httpx.ConnectError):
        idle.get("/core/systemstatus")


def test_can_be_started_again_on_the_same_port(connect, post, message):
    sandbox = Sandbox()
    with sandbox:
        port = sandbox.port
        post(connect(sandbox), sandbox, message())
        with pytest.raises(RuntimeError, match="runs already"):
            sandbox.start()
    assert len(sandbox.messages) == 1
    with sandbox:
        assert sandbox.port == port
        post(connect(sandbox), sandbox, message())
    assert len(sandbox.messages) == 2
    sandbox.stop()


def test_port_in_use(sandbox):
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=sandbox.port).start()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"token": ""}, id="no-token"),
        pytest.param({"token": "a b"}, id="token-with-space"),
        pytest.param({"stream_id": ""}, id="no-stream"),
        pytest.param({"messages_per_second": 0}, id="no-rate"),
        pytest.param({"api_version": "v3"}, id="unknown-version"),
        pytest.param({"contact_format": "x"}, id="unknown-format"),
        pytest.param({"keep": 0}, id="keep-nothing"),
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError):
        Sandbox(**options)


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        pytest.param({}, {}, id="default"),
        pytest.param({"token": "a/b@c:d?e&f%20", "stream_id": "hA/b+c=="}, {}, id="awkward-characters"),
        pytest.param({"api_version": "v2"}, {"api_version": "v2"}, id="v2"),
    ],
)
def test_connection_uri_is_understood_by_airflow(options, extra):
    sdk = pytest.importorskip("airflow.sdk", reason="Airflow 3 parses connections here")
    if not hasattr(sdk.Connection, "from_uri"):
        pytest.skip("Airflow 3.1 and later parse connections here")
    sandbox = Sandbox(port=8787, **options)
    connection = sdk.Connection.from_uri(sandbox.connection_uri, conn_id="cirrus_default")
    assert connection.conn_type == "cirrus"
    assert connection.host == "127.0.0.1"
    assert connection.port == 8787
    assert connection.schema == "http"
    assert connection.password == sandbox.token
    assert connection.extra_dejson == {"stream_id": sandbox.stream_id, **extra}


def test_https(connect, post, message, tmp_path):
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate = tmp_path / "server.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    context = httpx.create_ssl_context(verify=False)
    with Sandbox(ssl_certfile=str(certificate)) as sandbox:
        assert sandbox.base_url.startswith("https://")
        assert "/https?" in sandbox.connection_uri
        client = connect(sandbox, verify=context)
        assert post(client, sandbox, message()).status_code == 200
        sandbox.add_fault("drop_after")
        with pytest.raises(httpx.TransportError):
            post(client, sandbox, message())
        assert len(sandbox.messages) == 2


def test_missing_certificate(tmp_path):
    with pytest.raises(OSError):
        Sandbox(ssl_certfile=str(tmp_path / "none.pem")).start()


def test_many_connections_at_once(sandbox, connect, post, message):
    def send() -> None:
        client = connect(sandbox)
        for _ in range(10):
            assert post(client, sandbox, message(), message()).status_code == 200

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [item["number"] for item in sandbox.messages] == list(range(1, 161))


def test_the_sandbox_stands_on_its_own():
    """An independent reading of the API: it shares no code with the client, and needs no Airflow."""
    code = (
        "import sys, airflow_provider_cirrus.sandbox as package\n"
        "assert 'starlette' not in sys.modules and 'uvicorn' not in sys.modules\n"
        "package.Sandbox\n"
        "ours = 'airflow_provider_cirrus'\n"
        "print([name for name in sys.modules if name == 'airflow' or name.startswith('airflow.')\n"
        "       or name.startswith(ours + '.') and not name.startswith(ours + '.sandbox')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
