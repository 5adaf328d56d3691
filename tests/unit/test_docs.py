"""The pages of the documentation: none is out of reach, and every link leads somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINKING = [*PAGES, *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"))]

# What stands in a fence or between backticks is no link.
CODE = re.compile(r"^(```+).*?^\1$|(`+)[^`].*?\2", re.MULTILINE | re.DOTALL)
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
