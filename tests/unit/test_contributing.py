"""What contributors and machines are told about this repository: it names what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_provider_cirrus

# The same on every line of Airflow.
pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Written in two halves, as this file is looked through, too.
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def targets() -> set[str]:
    return set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def sections() -> dict[str, str]:
    """What CONTRIBUTING.md says about each thing that can be added."""
    adding = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where to add what")[2].partition("\n## ")[0]
    return dict(re.findall(r"^### An? (.+?)\n(.*?)(?=^### |\Z)", adding, re.MULTILINE | re.DOTALL))


def test_contributors_learn_where_everything_usual_goes() -> None:
    assert list(sections()) == [
        "ledger backend",
        "suppression source",
        "report column",
        "rule",
        "outcome",
        "audience format",
        "button kind",
        "sandbox fault",
    ]


@pytest.mark.parametrize("what", sections())
def test_what_is_to_be_changed_is_there(what: str) -> None:
    steps = re.split(r"^(?=\d\. )", sections()[what], flags=re.MULTILINE)
    files = 0
    for step in steps:
        paths = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|pyproject\.toml)`", step)
        files += len(paths)
        assert [path for path in paths if not (ROOT / path).exists()] == []
        names = [name for name in re.findall(r"`([A-Za-z_][\w.]*)`", step) if "." not in name.rstrip(".")]
        # A name may be that of something in a file that another step of the same section tells of.
        texts = [
            (ROOT / path).read_text()
            for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.py)`", sections()[what])
            if (ROOT / path).is_file()
        ]
        assert [name for name in names if not any(re.search(rf"\b{name}\b", text) for text in texts)] == []
    assert files >= 3


@pytest.mark.parametrize("what", sections())
def test_what_is_usual_touches_three_files_at_most(what: str) -> None:
    steps = re.split(r"^(?=\d\. )", sections()[what], flags=re.MULTILINE)
    # "Where it is unusual: …"
    usual = "".join(step for step in steps if not re.match(r"\d\. (Where|Tests:)", step))
    modules = set(re.findall(r"`(airflow_provider_cirrus/[\w/]+\.py)`", usual))
    assert 1 <= len(modules) <= 3


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", ".github/workflows/ci.yml", ".github/workflows/publish.yml"])
def test_every_make_target_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"(?:^|`|run: )make ([a-z][\w.-]*)", (ROOT / page).read_text(), re.MULTILINE))
    assert named
    assert named <= targets()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_a_workflow_may_do_no_more_than_it_says(path: Path) -> None:
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert granted == ({"publish": {"id-token": "write"}} if path.stem == "publish" else {})


def test_every_supported_python_is_tried() -> None:
    matrix = loaded(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("path", [form for form in FORMS if form.stem != "config"], ids=lambda path: str(path.stem))
def test_a_form_asks_each_thing_once(path: Path) -> None:
    form = loaded(path)
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    if path.stem == "bug":
        assert {"provider", "airflow", "python", "ledger"} <= set(ids)


def test_hooks_that_come_from_elsewhere_are_pinned() -> None:
    elsewhere = [one for one in loaded(ROOT / ".pre-commit-config.yaml")["repos"] if one["repo"] != "local"]
    assert {hook["id"] for one in elsewhere for hook in one["hooks"]} == {"codespell", "detect-private-key"}
    assert all(one["repo"].startswith("https://github.com/") for one in elsewhere)
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", one["rev"]) for one in elsewhere)


def test_no_registry_is_named() -> None:
    # Which index is used is the business of whoever installs.
    files = [
        *FORMS,
        *WORKFLOWS,
        ROOT / ".pre-commit-config.yaml",
        *ROOT.glob("*.md"),
        ROOT / "pyproject.toml",
        Path(__file__),
    ]
    assert [path.name for path in files for host in REGISTRIES if host in path.read_text()] == []


def test_the_changelog_knows_the_version() -> None:
    version = re.escape(airflow_provider_cirrus.__version__)
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {version} \(\d{{4}}-\d\d-\d\d\)$", text, re.MULTILINE)
