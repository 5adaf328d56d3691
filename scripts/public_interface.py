"""
Print the public names of the package with their signatures, as sorted text, or how they changed since a release.

    python -m scripts.public_interface             # of the working tree
    python -m scripts.public_interface REVISION    # of a revision, as git names it
    python -m scripts.public_interface --changes   # what changed since the last tag v*

Nothing is imported: the source is read, so it can also be that of an earlier version. Standard library only.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_cirrus"

#: The packages and modules that docs/compatibility.md speaks of. What is inside the sandbox and the command line is
#: left out: these are used by what they take and print.
PUBLIC = (
    "api",
    "delivery",
    "hooks",
    "links",
    "notifications",
    "operators",
    "retries",
    "sandbox.server",
    "sensors",
    "templates",
    "transfers",
    "triggers",
)

_RELEASES = "v[0-9]*"
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def sources_of_tree(root: Path) -> dict[str, str]:
    """Return the text of the package's modules in the working tree, by their paths."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in (root / PACKAGE).rglob("*.py")
        if path.is_file()
    }


def sources_of_revision(root: Path, revision: str) -> dict[str, str]:
    """Return the same as it was in a revision."""
    # One process for all files, where `git show` would take one for each.
    archive = _git(root, "archive", "--format=tar", revision, "--", PACKAGE)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.name.endswith(".py") and (file := tar.extractfile(member)) is not None:
                found[member.name] = file.read().decode()
    return found


def last_release(root: Path) -> str | None:
    """Return the last tag of a release that the checked out commit comes after; None where there is none."""
    tags = _git(root, "tag", "--merged", "HEAD", "--sort=-version:refname", "--list", _RELEASES).decode().split()
    return tags[0] if tags else None


def public_interface(sources: Mapping[str, str]) -> list[str]:
    """
    Return a line for each public name, sorted.

    :param sources: the text of modules by their paths
    """
    found: set[tuple[str, str]] = set()
    for path, text in sources.items():
        parts = Path(path).with_suffix("").parts
        module = parts[:-1] if parts[-1] == "__init__" else parts
        if not _is_listed(module[1:]):
            continue
        found |= set(_of_module(".".join(module), ast.parse(text, path)))
    # By name first, so that a class comes before its members.
    return [f"{name}{rest}" for name, rest in sorted(found)]


def changes(root: Path) -> str:
    """Return what changed of the public interface since the last release, as a diff, or that nothing did."""
    release = last_release(root)
    if release is None:
        return "No release is tagged yet: there is nothing to compare the public interface with."
    before = public_interface(sources_of_revision(root, release))
    now = public_interface(sources_of_tree(root))
    lines = list(difflib.unified_diff(before, now, release, "now", n=0, lineterm=""))
    # Each line names what it is about; where it stands in the list tells nothing.
    shown = [line for line in lines if not line.startswith("@@")]
    return "\n".join(shown) if shown else f"The public interface is that of {release}."


def _is_listed(module: Sequence[str]) -> bool:
    """Return whether a module's names are listed; an empty one is the package itself."""
    name = ".".join(module)
    return not name or (
        any(f"{name}.".startswith(f"{public}.") for public in PUBLIC)
        and not any(part.startswith("_") for part in module)
    )


def _of_module(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    exported = _literal_all(tree)
    for node in _statements(tree.body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                # An explicit re-export: listed in __all__, or imported under its own name, as type checkers have it.
                if alias.name in exported or (alias.asname == alias.name and _is_public(alias.name)):
                    yield f"{module}.{alias.name}", f" from {node.module}"
        else:
            yield from _of_statement(module, node)


def _literal_all(tree: ast.Module) -> frozenset[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            try:
                return frozenset(ast.literal_eval(node.value))
            except ValueError:
                return frozenset()
    return frozenset()


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, also those under a condition: a name may be made in another way on another Airflow."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _statements([*node.body, *node.orelse, *(step for one in node.handlers for step in one.body)])
        else:
            yield node


def _of_statement(owner: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if _is_public(node.name) or node.name == "__init__":
            yield f"{owner}.{node.name}", _signature(node)
        case ast.ClassDef() if _is_public(node.name):
            name = f"{owner}.{node.name}"
            given = [ast.unparse(one) for one in (*node.bases, *node.keywords)]
            yield name, f": class({', '.join(given)}){_decorators(node)}"
            for member in _statements(node.body):
                yield from _of_statement(name, member)
        case ast.AnnAssign(target=ast.Name(id=name)) if _is_public(name):
            value = "" if node.value is None else f" = {ast.unparse(node.value)}"
            yield f"{owner}.{name}", f": {ast.unparse(node.annotation)}{value}"
        case ast.Assign():
            for target in node.targets:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(one, ast.Name) and _is_public(one.id):
                        yield f"{owner}.{one.id}", f" = {ast.unparse(node.value)}"


def _signature(node: _Function) -> str:
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    is_async = " async" if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"({ast.unparse(node.args)}){returns}{is_async}{_decorators(node)}"


def _decorators(node: _Function | ast.ClassDef) -> str:
    return "".join(f" @{ast.unparse(one)}" for one in node.decorator_list)


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)  # noqa: S607  (wherever git is)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.public_interface", description=__doc__.splitlines()[1])
    parser.add_argument("revision", nargs="?", help="as git names it; without it: the working tree")
    parser.add_argument("--changes", action="store_true", help="what changed since the last tag of a release")
    options = parser.parse_args(arguments)
    if options.changes:
        print(changes(root))
        return
    sources = sources_of_tree(root) if options.revision is None else sources_of_revision(root, options.revision)
    print("\n".join(public_interface(sources)))


if __name__ == "__main__":
    main()
