"""One real Airflow and one sandbox for all system tests of a session."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parent.parent / "example_dags"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Called with the items of the whole session, not only with ours.
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The Cirrus that `cirrus_default` leads to; tests call `sandbox.reset()` first."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Airflow reads its DAG files: the examples, and what tests copy there."""
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLE_DAGS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, dags_folder: Path, sandbox: Sandbox
) -> Iterator[LocalAirflow]:
    env = {"AIRFLOW_CONN_CIRRUS_DEFAULT": sandbox.connection_uri}
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags_folder, env=env) as airflow:
        yield airflow
