"""How the package is built: who looks at whom, and how long a room is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# The same on every line of Airflow.
pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_cirrus"
# Lines of a module that says no reason for more, and of a function.
MODULE, FUNCTION = 400, 60


def modules() -> dict[str, Path]:
    """Path by dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


MODULES = modules()


def looks_at(name: str) -> set[str]:
    """The modules that a module imports, wherever: late imports and those for types alone are included."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            inner = {f"{node.module}.{one.name}" for one in node.names}
            found |= {one if one in MODULES else node.module for one in inner}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.startswith(PACKAGE)}
    return found & set(MODULES)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Ways that come back to where they began, shortest first."""
    found: list[list[str]] = []
    for start in arrows:
        ways, seen = [[start]], {start}
        while ways:
            way = ways.pop(0)
            for after in sorted(arrows.get(way[-1], ())):
                if after == start:
                    found.append([*way, after])
                elif after not in seen:
                    seen.add(after)
                    ways.append([*way, after])
    return sorted(found, key=len)


def room_of(name: str) -> str:
    """The package below ``delivery`` that a module belongs to, or the module itself."""
    parts = name.split(".")
    return ".".join(parts[:3])


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0] == ["a", "b", "c", "a"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_looks_back_at_one_that_looks_at_it() -> None:
    arrows = {name: looks_at(name) - {name} for name in MODULES}
    assert len(arrows) > 120
    assert sum(map(len, arrows.values())) > 400
    # The package's root lists what it exports, and is asked for its version by what is below.
    del arrows[PACKAGE]
    assert circles(arrows) == []


def test_no_room_of_delivery_looks_back_at_one_that_looks_at_it() -> None:
    arrows: dict[str, set[str]] = {}
    for name in MODULES:
        if name.startswith(f"{PACKAGE}.delivery."):
            below = {room_of(one) for one in looks_at(name) if one.startswith(f"{PACKAGE}.delivery.")}
            arrows.setdefault(room_of(name), set()).update(below - {room_of(name)})
    assert len(arrows) > 10
    assert circles(arrows) == []


@pytest.mark.parametrize(
    "name", [name for name, path in MODULES.items() if len(path.read_text().splitlines()) > MODULE]
)
def test_a_long_module_says_why(name: str) -> None:
    text = ast.get_docstring(ast.parse(MODULES[name].read_text())) or ""
    assert "One room" in text.partition("\n\n")[0], f"{name} is long: split it, or say why in its first paragraph"


def functions() -> Iterator[tuple[str, int]]:
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_functions_are_short() -> None:
    found = dict(functions())
    assert len(found) > 1000
    # The operators' arguments are described at their classes.
    assert {name: lines for name, lines in found.items() if lines > FUNCTION} == {}
