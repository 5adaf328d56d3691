"""The distributions as a user gets them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_wheel_holds_the_package_whole_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    tracked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "airflow_provider_cirrus").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == tracked
    assert "airflow_provider_cirrus/py.typed" in packaged
    assert any(name.startswith("airflow_provider_cirrus/sandbox/") and not name.endswith(".py") for name in packaged)


def test_the_wheel_announces_the_provider(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "[apache_airflow_provider]" in wheel.read(entry_points).decode()


def test_the_source_distribution_has_examples_and_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "example_dags/example_cirrus_send_template.py" in names
    assert "LICENSE" in names
    assert not [name for name in names if name.startswith("tests")]
