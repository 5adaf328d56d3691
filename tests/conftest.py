"""What all tests share: an Airflow of their own, and a sandbox."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports Airflow: it reads these once, and writes a configuration into its home.
_HOME = tempfile.TemporaryDirectory(prefix="cirrus-tests-")
_DAGS = Path(_HOME.name) / "dags"
_DAGS.mkdir()
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

from airflow_provider_cirrus.sandbox import Sandbox  # noqa: E402
from tests.mariadb import mariadb as mariadb  # noqa: E402
from tests.postgres import postgres as postgres  # noqa: E402

# System tests that start an Airflow of their own and take about half of the time; the others are in one worker, too.
_OWN = ("airflow_2_11", "airflow_3_4", "kills", "ledgers", "steering")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """
    Hand tests to workers: those that share an Airflow, or a database that takes long to make, to one and the same.

    By their files, as the marks that pytest-xdist goes by are lost on their way with pytest 9.2.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByWhatTheyShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            if path.parent.name == "system":
                # Both mostly wait.
                return "own-airflow" if path.stem.removeprefix("test_") in _OWN else "system"
            return "integration" if path.parent.name == "integration" else nodeid

    return ByWhatTheyShare(config, log)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    return Path(_HOME.name)


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """A local Cirrus that nothing was sent to yet."""
    _sandbox.reset()
    return _sandbox


@pytest.fixture
def cirrus_default(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The connection ``cirrus_default``, which leads to the sandbox."""
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri)
    return sandbox
