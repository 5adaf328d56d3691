"""The distributions as a user gets them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

# The same on every line of Airflow.
pytestmark = pytest.mark.source

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


def test_the_wheel_says_where_the_project_lives(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    links = dict(re.findall(r"^Project-URL: (\w+), (\S+)$", metadata, re.MULTILINE))
    assert set(links) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(
        link.startswith("https://github.com/cirrus-messaging/airflow-provider-cirrus") for link in links.values()
    )
    # What is shown of the repository's main branch has to be there.
    shown = [link.partition("/blob/main/")[2] for link in links.values() if "/blob/" in link]
    assert [path for path in shown if (ROOT / path).is_file()] == shown


def test_the_source_distribution_has_examples_and_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "example_dags/example_cirrus_send_template.py" in names
    assert "LICENSE" in names
    assert not [name for name in names if name.startswith("tests")]
