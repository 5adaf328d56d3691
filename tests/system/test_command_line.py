"""What an administrator sees: the provider, its connection form, the connection's test, and the commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from airflow_provider_cirrus import __version__
from airflow_provider_cirrus.get_provider_info import CONNECTION_FIELDS
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow


def test_the_provider_is_listed(airflow: LocalAirflow) -> None:
    done = airflow.cli("providers", "get", "airflow-provider-cirrus", "--full", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout
    assert "airflow-provider-cirrus" in done.stdout


def test_the_connection_form_shows_our_fields(airflow: LocalAirflow) -> None:
    found = airflow.request("GET", "/ui/connections/hook_meta")
    (ours,) = [meta for meta in found if meta["connection_type"] == "cirrus"]
    assert ours["hook_name"] == "Cirrus (WhatsApp)"
    assert list(ours["extra_fields"]) == list(CONNECTION_FIELDS)
    for name, shown in ours["extra_fields"].items():
        field = CONNECTION_FIELDS[name]
        assert (shown["schema"]["title"], shown["description"]) == (field["label"], field["description"])
        assert shown["schema"]["type"] == field["schema"]["type"]
        assert shown["value"] == field["schema"].get("default")
    standard = ours["standard_fields"]
    assert standard["password"]["title"] == "API token"
    assert [name for name, shown in standard.items() if shown and shown["hidden"]] == ["url_schema", "port", "login"]


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        pytest.param("sandbox-token", 0, "Connection success!", id="right-token"),
        pytest.param("wr0ng-token", 1, "did not accept the token", id="wrong-token"),
    ],
)
def test_the_connection_can_be_tested(
    airflow: LocalAirflow, sandbox: Sandbox, token: str, status: int, said: str
) -> None:
    uri = sandbox.connection_uri.replace(sandbox.token, token)
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "connections", "test", "cirrus_default"],
        env=airflow.env | {"AIRFLOW_CONN_CIRRUS_DEFAULT": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    # The console wraps its lines.
    output = " ".join((done.stdout + done.stderr).split())
    assert said in output
    assert "wr0ng" not in output
    assert sandbox.messages == []


def test_a_message_is_sent_through_a_connection_in_the_database(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    stored = {
        "connection_id": "cirrus_stored",
        "conn_type": "cirrus",
        "host": sandbox.base_url,
        "password": sandbox.token,
        "extra": json.dumps({"streams": {"shop": sandbox.stream_id}}),
    }
    airflow.request("POST", "/api/v2/connections", stored)
    message = ["--stream", "shop", "--template", "order_update", "--language", "en", "--to", "+44 7700 900101"]
    send = ("cirrus", "send", "--conn-id", "cirrus_stored", *message, "--body", "A-1042")

    # Nobody is there to be asked.
    asked = airflow.cli(*send)
    assert asked.returncode == 1, asked.stderr
    assert "--yes" in asked.stderr
    assert sandbox.messages == []

    sent = airflow.cli(*send, "--yes")
    assert sent.returncode == 0, sent.stderr
    (arrived,) = sandbox.messages
    assert arrived["recipient"] == "447700900101"
    outcome = json.loads(sent.stdout.splitlines()[-1])
    assert (outcome["outcome"], outcome["message_id"]) == ("accepted", arrived["id"])
    for text in (sent.stdout, sent.stderr):
        assert sandbox.token not in text
        assert "7700900101" not in text


def test_the_sandbox_runs_until_it_is_told_to_end(airflow: LocalAirflow) -> None:
    command = [sys.executable, "-m", "airflow", "cirrus", "sandbox", "--port", "0"]
    with subprocess.Popen(command, env=airflow.env, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            said = ""
            for line in started.stdout:
                said += line
                if "Ctrl-C" in line:
                    break
            assert "export AIRFLOW_CONN_CIRRUS_DEFAULT=" in said
            started.send_signal(signal.SIGINT)
            assert started.wait(timeout=20) == 0
        finally:
            started.kill()
