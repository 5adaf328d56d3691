"""The list of public names: what is in it, and that a change since the last release is seen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.public_interface import (
    PACKAGE,
    ROOT,
    changes,
    main,
    public_interface,
    sources_of_revision,
    sources_of_tree,
)

# The same on every line of Airflow.
pytestmark = pytest.mark.source

MODULE = f"{PACKAGE}/api/client.py"
TEXT = '''\
"""A client."""

import json
from typing import TYPE_CHECKING

from elsewhere import helper

LIMIT: int = 20
_SECRET = 1

if TYPE_CHECKING:
    from elsewhere import Shown as Shown


class Client(Base, frozen=True):
    """A client."""

    timeout = 30

    def __init__(self, token: str, *, stream: str | None = None) -> None:
        self.token = token

    @property
    def address(self) -> str:
        return ""

    def _private(self) -> None: ...


class _Hidden:
    def seen(self) -> None: ...


async def send(*messages: str, limit: int = LIMIT) -> list[str]: ...
'''


def git(repository: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, and no release yet."""
    module = tmp_path / MODULE
    module.parent.mkdir(parents=True)
    module.write_text(TEXT)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def release(repository: Path, tag: str) -> None:
    git(repository, "commit", "--quiet", "--all", "--allow-empty", "--message", tag)
    git(repository, "tag", tag)


def change(repository: Path, old: str, new: str) -> None:
    text = (repository / MODULE).read_text()
    assert old in text
    (repository / MODULE).write_text(text.replace(old, new))


def test_public_names_are_listed_with_their_signatures() -> None:
    where = f"{PACKAGE}.api.client"
    assert public_interface({MODULE: TEXT}) == [
        f"{where}.Client: class(Base, frozen=True)",
        f"{where}.Client.__init__(self, token: str, *, stream: str | None=None) -> None",
        f"{where}.Client.address(self) -> str @property",
        f"{where}.Client.timeout = 30",
        f"{where}.LIMIT: int = 20",
        f"{where}.Shown from elsewhere",
        f"{where}.send(*messages: str, limit: int=LIMIT) -> list[str] async",
    ]


def test_what_a_package_exports_by_all_is_listed() -> None:
    text = 'from a.b import One, Two\n__all__ = ["One"]\n'
    assert public_interface({f"{PACKAGE}/delivery/ledger/__init__.py": text}) == [
        f"{PACKAGE}.delivery.ledger.One from a.b"
    ]


@pytest.mark.parametrize("path", ["cli/send.py", "sandbox/store.py", "api/_inner.py", "arguments.py"])
def test_what_is_nobody_elses_business_is_not_listed(path: str) -> None:
    assert public_interface({f"{PACKAGE}/{path}": "def something(): ...\n"}) == []


def test_the_order_of_the_source_does_not_matter() -> None:
    both = "def a(): ...\n", "def b(): ...\n"
    assert public_interface({MODULE: "".join(both)}) == public_interface({MODULE: "".join(reversed(both))})


def test_a_revision_is_listed_as_it_was(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = public_interface(sources_of_tree(repository))
    change(repository, "timeout = 30", "timeout = 60")
    assert public_interface(sources_of_revision(repository, "HEAD")) == before
    main(["HEAD"], repository)
    assert capsys.readouterr().out.splitlines() == before
    main([], repository)
    assert f"{PACKAGE}.api.client.Client.timeout = 60" in capsys.readouterr().out


def test_a_change_since_the_last_release_is_shown_and_nothing_else(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(repository, "v0.9.0")
    change(repository, "timeout = 30", "timeout = 60")
    # 10 is after 9, whatever the letters say.
    release(repository, "v0.10.0")
    change(repository, "stream: str | None = None", "stream: str")
    change(repository, "_SECRET = 1", "_SECRET = 2")
    main(["--changes"], repository)
    where = f"{PACKAGE}.api.client.Client.__init__"
    assert capsys.readouterr().out.splitlines() == [
        "--- v0.10.0",
        "+++ now",
        f"-{where}(self, token: str, *, stream: str | None=None) -> None",
        f"+{where}(self, token: str, *, stream: str) -> None",
    ]


def test_no_change_and_no_release_are_said_plainly(repository: Path) -> None:
    assert changes(repository).startswith("No release is tagged yet")
    release(repository, "v1.0.0")
    git(repository, "tag", "nightly")
    change(repository, "_SECRET = 1", "_SECRET = 2")
    assert changes(repository) == "The public interface is that of v1.0.0."


def test_a_revision_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(SystemExit, match=r"git archive: .*nowhere"):
        main(["nowhere"], repository)


def test_this_package_has_an_interface() -> None:
    found = public_interface(sources_of_tree(ROOT))
    for name in (
        "api.CirrusClient from",
        "operators.cirrus.SendTemplateOperator: class",
        "sandbox.server.Sandbox: class",
    ):
        assert any(line.startswith(f"{PACKAGE}.{name}") for line in found), name
