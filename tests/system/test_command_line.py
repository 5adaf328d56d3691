"""What an administrator sees: the provider, its connection form, and the connection's test."""

from __future__ import annotations

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
    assert ours["standard_fields"]["password"]["title"] == "API token"


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
