"""What importing costs: every DAG file that uses an operator pays it at every parse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lines import AIRFLOW

PACKAGE = Path(__file__).parents[2] / "airflow_provider_cirrus"
HEAVY = {"requests", "aiohttp", "pandas", "pyarrow", "phonenumbers"}


def modules_after(*statements: str) -> list[str]:
    """The names of the modules that the last statement adds to those before it, in a fresh process."""
    *preparing, measured = statements
    lines = [
        "import sys, json",
        *preparing,
        "before = set(sys.modules)",
        measured,
        "print(json.dumps(sorted(set(sys.modules) - before)))",
    ]
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def files_of(package: str) -> list[Path]:
    """Its modules, those in folders below it, too."""
    found = sorted((PACKAGE / package).rglob("*.py"))
    assert any(path.parent != PACKAGE / package for path in found) == (package in ("delivery", "sandbox")), found
    assert len(found) > 2
    return found


@pytest.mark.parametrize(
    "name",
    [
        "hooks.cirrus",
        "notifications.cirrus",
        "operators.campaign",
        "operators.cirrus",
        "sensors.cirrus",
        "transfers.sql_to_cirrus",
        "triggers.cirrus",
    ],
)
@pytest.mark.skipif(AIRFLOW not in ((3, 2), (3, 3)), reason="what airflow.sdk itself imports differs in other lines")
def test_importing_adds_few_modules_to_airflows_own(name: str) -> None:
    added = modules_after("import airflow.sdk", f"import airflow_provider_cirrus.{name}")
    assert len(added) <= 30, added
    assert {module.partition(".")[0] for module in added} & HEAVY == set()
    assert not [module for module in added if module.startswith("airflow_provider_cirrus.templates")]


def test_the_provider_info_needs_no_airflow() -> None:
    added = modules_after("import airflow_provider_cirrus.get_provider_info")
    assert not any(module.partition(".")[0] == "airflow" for module in added)


@pytest.mark.parametrize("package", ["api", "delivery", "sandbox", "templates"])
def test_what_lies_below_the_hook_works_without_airflow(package: str) -> None:
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in files_of(package)
        if path.stem not in ("__init__", "__main__")
    ]
    added = modules_after("\n".join(f"import {name}" for name in names))
    assert not any(module.partition(".")[0] == "airflow" for module in added)


@pytest.mark.parametrize("package", ["api", "delivery", "templates"])
def test_arrows_point_down_only(package: str) -> None:
    above = {"cli", "hooks", "links", "notifications", "operators", "sandbox", "sensors", "transfers", "triggers"}
    above |= {"api": {"delivery", "templates"}, "templates": {"delivery"}}.get(package, set())
    for path in files_of(package):
        for layer in above:
            assert f"airflow_provider_cirrus.{layer}" not in path.read_text(), f"{path.name} reaches up to {layer}"
