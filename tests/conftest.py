"""What all tests share: an Airflow of their own, and a sandbox."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
