"""One real Airflow and one sandbox for all system tests of a session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parent.parent / "example_dags"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Called with the items of the whole session, not only with ours.
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    """A sandbox of their own: the Airflow of a session goes on asking it while other tests run."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def process_ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks leave the id of their process."""
    return tmp_path_factory.mktemp("pids")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox, process_ids: Path) -> Iterator[LocalAirflow]:
    """An Airflow with the examples and the DAGs of these tests, whose ``cirrus_default`` leads to the sandbox."""
    dags = tmp_path_factory.mktemp("dags")
    for source in (EXAMPLE_DAGS, HERE / "dags"):
        shutil.copytree(source, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        **PARSE_ONCE,
        "CIRRUS_TEST_PIDS": str(process_ids),
    }
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, env=env) as airflow:
        yield airflow
