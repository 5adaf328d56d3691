"""The documentation site: ``make docs`` builds it into site/, and takes no warning."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pygments.lexers.python import PythonLexer
from pygments.token import Comment
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from airflow_provider_cirrus import __version__
from airflow_provider_cirrus.api.results import Answer

project = "airflow-provider-cirrus"
author = "The authors of airflow-provider-cirrus"
release = __version__
html_title = f"{project} {release}"
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
# The pages are on GitHub; another copy of each would be one more thing to be out of date.
html_copy_source = False

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# A group of the map on the front page, and a page in it.
_MAP = re.compile(r"^### (?P<group>.+)$|^- \[(?P<title>[^]]+)\]\((?P<page>[\w/]+)\.md\)", re.MULTILINE)
# The only kind of diagram that the pages hold, and an arrow in it.
_DIAGRAM = re.compile(r"^```mermaid\nstateDiagram-v2\n(?P<arrows>.*?)^```$", re.MULTILINE | re.DOTALL)
_ARROW = re.compile(r"^\s*(?P<start>\S+) --> (?P<end>[^\s:]+)(?:: (?P<reason>.+))?$", re.MULTILINE)


class PythonWithGaps(PythonLexer):
    """Python in which … stands for what is left out."""

    tokens = {**PythonLexer.tokens, "expr": [("…", Comment), *PythonLexer.tokens["expr"]]}  # noqa: RUF012


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Make the navigation out of the map on the front page, so that there is one list of pages and not two."""
    if page != "index":
        return
    groups: dict[str, list[str]] = {}
    for found in _MAP.finditer(source[0]):
        if found["group"]:
            pages = groups.setdefault(found["group"], [])
        else:
            pages.append(f"{found['title']} <{found['page']}>")
    for group, pages in groups.items():
        listed = "\n".join(pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {group}\n\n{listed}\n```\n"


def spell_out_diagrams(app: Sphinx, page: str, source: list[str]) -> None:
    """Show a state diagram as a table: what would draw it is loaded from another host."""
    source[0] = _DIAGRAM.sub(_as_table, source[0])


def _as_table(diagram: re.Match[str]) -> str:
    rows = [
        f"| {_state(arrow['start'], 'begin')} | {_state(arrow['end'], 'end')} | {arrow['reason'] or ''} |"
        for arrow in _ARROW.finditer(diagram["arrows"])
    ]
    return "\n".join(["| From | To | When |", "|---|---|---|", *rows])


def _state(name: str, edge: str) -> str:
    return edge if name == "[*]" else f"`{name}`"


def link_pages(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the names of pages in docstrings, such as docs/sending.md, into links."""
    lines[:] = [re.sub(r"\bdocs/(\w+)\.md", r":doc:`/\1`", line) for line in lines]


def write_out_arguments(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, result: str
) -> tuple[str, str] | None:
    """Write arguments as a user gives them."""
    if what not in ("class", "exception", "function") or not signature:
        return None
    if isinstance(obj, type) and not _is_made_by_users(obj):
        return "", result
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        # Their annotations hold the validators, and are longer than what they tell.
        arguments = [_untyped(parameter) for parameter in inspect.signature(obj).parameters.values()]
    elif "**kwargs" in signature and isinstance(obj, type):
        arguments = _with_those_of_bases(obj)
    else:
        arguments = list(inspect.signature(obj).parameters.values())
    found = inspect.Signature([_speakable(argument) for argument in arguments])
    return stringify_signature(found, unqualified_typehints=True), result


def _is_made_by_users(cls: type) -> bool:
    """Return whether a class has arguments of its own that a reader could want to give."""
    if issubclass(cls, Answer | Enum) or getattr(cls, "_is_protocol", False):
        return False
    return issubclass(cls, BaseModel) or "__init__" in vars(cls)


def _with_those_of_bases(cls: type) -> list[inspect.Parameter]:
    """Return a class's arguments and those of its bases of ours, in its docstring's order; kwargs are Airflow's."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("airflow_provider_cirrus.") and "__init__" in vars(base):
            for parameter in list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]:
                found.setdefault(parameter.name, parameter)
    # "Any" tells a reader nothing.
    plain = [_untyped(parameter) if parameter.annotation == "Any" else parameter for parameter in found.values()]
    described = re.findall(r":param (\w+):", cls.__doc__ or "")
    order = {name: place for place, name in enumerate(described)}
    return sorted(plain, key=lambda parameter: (parameter.kind, order.get(parameter.name, len(order))))


def _untyped(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(annotation=parameter.empty)


def _speakable(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose default, where it is a function or a factory, is written as ``...``."""
    default = parameter.default
    if default is parameter.empty or isinstance(default, str | int | float | tuple | timedelta | None):
        return parameter
    return parameter.replace(default=_LeftOut())


class _LeftOut:
    def __repr__(self) -> str:
        return "..."


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.add_lexer("python", PythonWithGaps)
    app.connect("source-read", add_navigation)
    app.connect("source-read", spell_out_diagrams)
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("autodoc-process-signature", write_out_arguments)
