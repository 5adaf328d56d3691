from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from airflow_provider_cirrus.delivery.alert_dedupe import (
    AlertDedupe,
    FileAlertDedupe,
    SqlAlertDedupe,
    _notices,
    dedupe_name,
    default_folder,
)
from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.store import engine_for

KEY, OTHER = dedupe_name(["dag", "447700900123"]), dedupe_name(["dag", "447700900124"])


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["files", "sql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Callable[[], AlertDedupe]]:
    """Opens the same memory again, as another process does."""
    made: list[AlertDedupe] = []
    uri = request.getfixturevalue("uri") if request.param == "sql" else ""

    def open_it() -> AlertDedupe:
        if request.param == "files":
            made.append(FileAlertDedupe(tmp_path / "notices", clock=clock))
        else:
            made.append(SqlAlertDedupe(engine_for(uri), clock=clock))
        return made[-1]

    yield open_it
    for notices in made:
        notices.close()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/notices.db"


def test_a_claim_holds_for_its_window_and_for_its_key(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    assert opened().claim(KEY, 600) == (clock.now, ANY)
    assert opened().claim(KEY, 600) is None
    assert opened().claim(OTHER, 600) == (clock.now, 0)
    clock.now += 599
    assert opened().claim(KEY, 600) is None
    clock.now += 1
    assert opened().claim(KEY, 600) == (clock.now, ANY)
    assert opened().claim(KEY, 600) is None


def test_what_was_given_back_may_be_claimed_again(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    first = opened().claim(KEY, 600)
    assert first is not None
    opened().release(KEY, first)
    clock.now += 1
    assert opened().claim(KEY, 600) == (clock.now, ANY)
    opened().release(KEY, first)
    assert opened().claim(KEY, 600) is None, "somebody else's claim was given back"


def test_a_clock_that_was_wrong_does_not_hold_for_years(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    clock.now += 1e9
    opened().claim(KEY, 600)
    clock.now -= 1e9
    assert opened().claim(KEY, 600) == (clock.now, ANY)


def test_of_many_threads_one_gets_it(opened: Callable[[], AlertDedupe]) -> None:
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda _: opened().claim(KEY, 600), range(48)))
    assert sum(claim is not None for claim in claims) == 1


def test_the_next_claim_says_how_many_were_held_back(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    assert opened().claim(KEY, 600) == (clock.now, 0)
    for _ in range(3):
        assert opened().claim(KEY, 600) is None
    clock.now += 600
    assert opened().claim(KEY, 600) == (clock.now, 3)
    clock.now += 600
    assert opened().claim(KEY, 600) == (clock.now, 0)


def test_what_was_given_back_counts_as_held_back(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    opened().claim(KEY, 600)
    opened().claim(KEY, 600)
    clock.now += 600
    failed = opened().claim(KEY, 600)
    assert failed == (clock.now, 1)
    opened().claim(KEY, 600)
    opened().release(KEY, failed)
    assert opened().claim(KEY, 600) == (clock.now, 3)


def test_what_is_over_is_told_once_and_begins_anew(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    assert opened().end(KEY) is None
    first = opened().claim(KEY, 600)
    opened().claim(KEY, 600)
    assert first is not None
    assert opened().end(KEY) == (first.at, 1)
    assert opened().end(KEY) is None
    assert opened().claim(KEY, 600) == (clock.now, 0)


def test_what_was_not_told_to_be_over_is_not(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    opened().claim(KEY, 600)
    ended = opened().end(KEY)
    assert ended is not None
    opened().restore(KEY, ended)
    assert opened().claim(KEY, 600) is None
    assert opened().end(KEY) == (clock.now, 1)
    # Another one was sent meanwhile.
    clock.now += 1
    opened().claim(KEY, 600)
    opened().restore(KEY, ended)
    assert opened().end(KEY) == (clock.now, 0)


def test_what_was_given_back_was_never_told_and_is_not_over(opened: Callable[[], AlertDedupe]) -> None:
    claim = opened().claim(KEY, 600)
    assert claim is not None
    opened().release(KEY, claim)
    assert opened().end(KEY) is None


def test_of_many_threads_one_tells_that_it_is_over(opened: Callable[[], AlertDedupe]) -> None:
    opened().claim(KEY, 600)
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: opened().end(KEY), range(24)))
    assert sum(end is not None for end in ends) == 1


def test_of_many_threads_each_is_counted(opened: Callable[[], AlertDedupe], clock: Clock) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: opened().claim(KEY, 600), range(25)))
    clock.now += 600
    assert opened().claim(KEY, 600) == (clock.now, 24)


@pytest.mark.parametrize("kind", ["files", "sql"])
def test_of_many_processes_one_gets_it(kind: str, tmp_path: Path, uri: str) -> None:
    program = f"""
import sys
from pathlib import Path
from airflow_provider_cirrus.delivery.alert_dedupe import FileAlertDedupe, SqlAlertDedupe
from airflow_provider_cirrus.delivery.sql.store import engine_for
print("ready", flush=True)
sys.stdin.readline()
folder = Path({str(tmp_path / "notices")!r})
notices = FileAlertDedupe(folder) if {kind!r} == "files" else SqlAlertDedupe(engine_for({uri!r}))
print(sum(notices.claim(f"{{key:032x}}", 600) is not None for key in range(50)))
notices.close()
"""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 4
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in running) == 50


def test_neither_numbers_nor_anything_else_can_be_read(tmp_path: Path, opened: Callable[[], AlertDedupe]) -> None:
    opened().claim(KEY, 600)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"900123" in str(path).encode() + path.read_bytes() for path in kept)


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    FileAlertDedupe(tmp_path / "notices").claim(KEY, 600)
    assert (tmp_path / "notices").stat().st_mode & 0o777 == 0o700
    assert str(os.geteuid()) in default_folder().name


@pytest.mark.parametrize("how", ["open-to-others", "link", "file", "somebody-elses"])
def test_a_folder_that_others_could_write_to_is_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notices"
    if how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif how == "file":
        folder.touch(mode=0o600)
    else:
        folder.mkdir(mode=0o700)
    if how == "open-to-others":
        folder.chmod(0o770)
    if how == "somebody-elses":
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(LedgerError, match=r"(belongs to this user alone|cannot be used).* ledger_conn_id"):
        FileAlertDedupe(folder)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"cannot be used \(No such file"):
        FileAlertDedupe(tmp_path / "nowhere" / "notices")


def test_without_the_right_to_create_the_ddl_is_shown(uri: str) -> None:
    engine = engine_for(uri)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()
    read_only = sa.create_engine(uri.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true")
    with pytest.raises(LedgerError, match=r"(?s)could not be created.*CREATE TABLE cirrus_notices"):
        SqlAlertDedupe(read_only)
    read_only.dispose()


def test_a_database_that_fails_lets_nothing_pass(uri: str, clock: Any) -> None:
    engine = engine_for(uri)
    notices = SqlAlertDedupe(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE cirrus_notices"))
    with pytest.raises(LedgerError, match="none is sent"):
        notices.claim(KEY, 600)
    notices.close()
    with pytest.raises(LedgerError, match="none is sent"):
        SqlAlertDedupe(engine_for("sqlite:////nowhere/to/be/found.db"))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_the_ddl_is_there_for_every_database(dialect: str) -> None:
    made = str(CreateTable(_notices).compile(dialect=import_module(f"sqlalchemy.dialects.{dialect}").dialect()))
    assert made.strip().startswith("CREATE TABLE cirrus_notices")
