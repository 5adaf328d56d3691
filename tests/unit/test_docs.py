"""The pages of the documentation: none is out of reach, every link leads somewhere, and what is shown can be run."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.sandbox import Sandbox

# The same on every line of Airflow.
pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINKING = [*PAGES, *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"))]

# What stands in a fence or between backticks is no link.
CODE = re.compile(r"^(```+).*?^\1$|(`+)[^`].*?\2", re.MULTILINE | re.DOTALL)
# Python that a page shows, and why it is not executed, where it is not.
SNIPPET = re.compile(
    r"^(?:<!-- not executed: (?P<reason>[^\n]+) -->\n+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\[[^]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def links_in(page: Path) -> list[tuple[str, str]]:
    """The relative links of a page: the path, empty for the page itself, and the heading."""
    return LINK.findall(CODE.sub("", page.read_text()))


def anchors_in(page: Path) -> set[str]:
    """What links to headings of a page may name, as GitHub and the site make it of a heading."""
    headings = re.findall(r"^#{1,6} (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_page_is_in_the_navigation() -> None:
    # docs/conf.py makes the navigation of the map on the front page.
    on_the_map = [
        DOCS / path for path in re.findall(r"^- \[[^]]+\]\(([\w/]+\.md)\)", (DOCS / "index.md").read_text(), re.M)
    ]
    assert len(set(on_the_map)) == len(on_the_map)
    assert sorted(on_the_map) == [page for page in PAGES if page.name != "index.md"], "list it in docs/index.md"


@pytest.mark.parametrize("page", [pytest.param(page, id=named(page)) for page in LINKING])
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    lost = []
    for path, heading in links_in(page):
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors_in(target)):
            lost.append(f"{path}#{heading}" if heading else path)
    assert not lost


def test_docstrings_name_pages_that_exist() -> None:
    modules = (ROOT / "airflow_provider_cirrus").rglob("*.py")
    names = {name: module for module in modules for name in re.findall(r"\bdocs/[\w/]+\.md", module.read_text())}
    assert names
    assert not [f"{named(module)}: {name}" for name, module in names.items() if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", sorted((DOCS / "reference").glob("*.md")), ids=lambda page: str(page.stem))
def test_what_a_reference_shows_exists(page: Path) -> None:
    module = ""
    shown = 0
    for directive, target in re.findall(r"^\.\. (currentmodule|auto\w+):: (\S+)$", page.read_text(), re.MULTILINE):
        if directive == "currentmodule":
            module = target
            continue
        shown += 1
        path = target if target.startswith("airflow_provider_cirrus") else f"{module}.{target}"
        if directive == "automodule":
            importlib.import_module(path)
        else:
            where, _, name = path.rpartition(".")
            assert hasattr(importlib.import_module(where), name), path
    assert shown


def snippets() -> Iterator[Any]:
    for page in [ROOT / "README.md", *PAGES]:
        text = page.read_text()
        for found in SNIPPET.finditer(text):
            line = text.count("\n", 0, found.start("code"))
            yield pytest.param(page, line, found["code"], found["reason"], id=f"{named(page)}:{line}")


@pytest.mark.parametrize(("page", "line", "code", "reason"), snippets())
def test_what_a_page_shows_can_be_run(
    page: Path,
    line: int,
    code: str,
    reason: str | None,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri)
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", f'{{"conn_type": "sqlite", "host": "{tmp_path}/ledger.db"}}')
    # Under the lines that it has on the page.
    compiled = compile("\n" * line + code.replace("http://127.0.0.1:8787", sandbox.base_url), str(page), "exec")
    if reason is None:
        names: dict[str, Any] = {"__name__": "snippet"}
        with DAG("snippet"):
            exec(compiled, names)


def test_every_snippet_is_found() -> None:
    shown = sum(page.read_text().count("```python") for page in [ROOT / "README.md", *PAGES])
    assert shown == len(list(snippets()))
