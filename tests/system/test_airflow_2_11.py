"""The oldest Airflow that is supported: the examples parse without a warning of ours, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.get_provider_info import CONNECTION_FIELDS
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import airflow_environment

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"

# `make test` makes that environment and names it here.
PYTHON = os.environ.get("CIRRUS_TEST_AIRFLOW_2_11_PYTHON", "")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox) -> dict[str, Any]:
    """What the examples came to in Airflow 2.11."""
    if not PYTHON:
        pytest.skip("CIRRUS_TEST_AIRFLOW_2_11_PYTHON names no Python with Airflow 2.11; `make test` makes one")
    _sandbox.reset()
    home = tmp_path_factory.mktemp("airflow-2.11")
    dags = shutil.copytree(EXAMPLES, home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    connections = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(home / "shop.db")}),
    }
    env = airflow_environment(home, dags, python=PYTHON, env=connections)
    subprocess.run([PYTHON, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    files = sorted(str(path) for path in dags.glob("*.py"))
    done = subprocess.run(
        [PYTHON, str(HERE / "airflow_2_11.py"), *files], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "sent": sorted(message["recipient"] for message in _sandbox.messages)}


def test_the_examples_parse_without_a_warning_of_ours(found: dict[str, Any]) -> None:
    assert found["import_errors"] == {}
    assert found["warnings"] == []
    assert sorted(found["runs"]) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_the_examples_run(found: dict[str, Any]) -> None:
    states = {state for run in found["runs"].values() for state in run.values()}
    assert states == {"success", "skipped"}
    assert found["sent"] == [
        "12025550143",
        "447700900123",
        "447700900124",
        "447700900125",
        "447700900126",
        "447700900132",
        "447700900141",
        "447700900142",
        "447700900151",
        "447700900161",
        "447700900163",
        *(f"4477009001{number}" for number in range(70, 79)),
        "447700900181",
        "447700900182",
        "447700900183",
        "447700900189",
        # Before Airflow 3.1 nobody is asked: the plan is a record.
        *(f"44770090020{number}" for number in range(5)),
        *(f"44770090021{number}" for number in range(9)),
        *(f"44770090023{number}" for number in range(6)),
        # The one of the ten that is held out.
        *(f"44770090024{number}" for number in range(10) if number != 2),
    ]


def test_the_connection_form_comes_from_the_hook(found: dict[str, Any]) -> None:
    assert found["form"] == sorted(f"extra__cirrus__{name}" for name in CONNECTION_FIELDS)
    assert found["behaviour"]["relabeling"]["password"] == "API token"
