from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery import sql_store
from airflow_provider_cirrus.delivery.ledger.base import CUT_OFF, Entry, LedgerError, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger, _ledger, ddl
from airflow_provider_cirrus.delivery.sql_store import engine_for, insert_or_ignore, upsert

SENT = Entry(Outcome.ACCEPTED, "m1", "o1", None, None, 2, 1_700_000_000.25)
UNSENT = Entry(Outcome.UNSENT, reason="stopped", attempt=1, time=1.0)
PERSON = person_of("447700900101")


def is_global(key: bytes) -> bool:
    return key[0] == 1


def scoped(number: int) -> bytes:
    return b"\0" + number.to_bytes(11, "big")


def everywhere(number: int) -> bytes:
    return b"\1" + number.to_bytes(11, "big")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def opened(engine: Engine, scope: str = "dag/run/task/-1", owner: str = "try1", **rest: Any) -> SqlLedger:
    return SqlLedger(engine, scope, owner, is_global=is_global, **rest)


def whose(engine: Engine) -> dict[str, str | None]:
    """The messages of the ledger, and whose they are."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(_ledger.c.message_key, _ledger.c.person))
        return {row.message_key: row.person for row in rows}


def test_what_was_recorded_is_there_for_the_next_try(engine: Engine) -> None:
    first = opened(engine)
    keys = [scoped(1), scoped(2), everywhere(3)]
    assert first.commit(keys, []) == {}
    odd = Entry(Outcome.REJECTED, None, None, 131026, "caf\u00e9 \U0001f600 \0\ud800", 1, 2.5)
    assert first.commit([], [(keys[0], SENT), (keys[1], odd)]) == {}
    known = dict(opened(engine, owner="try2").load())
    assert known.pop(keys[1]).reason == "caf\u00e9 \U0001f600 ?"
    assert known == {keys[0]: SENT, keys[2]: CUT_OFF}


def test_scopes_are_apart_but_for_global_keys(engine: Engine) -> None:
    one, two = opened(engine), opened(engine, "dag/run2/task/-1", "other")
    keys = [scoped(1), everywhere(1)]
    one.commit(keys, [])
    held = two.commit(keys, [])
    assert {key: entry.outcome for key, entry in held.items()} == {everywhere(1): Outcome.UNKNOWN}
    one.commit([], [(everywhere(1), SENT)])
    assert two.commit([everywhere(1)], []) == {everywhere(1): SENT}
    assert [key for key, _ in two.load()] == [scoped(1)]


def test_what_another_left_unsent_may_be_claimed_once(engine: Engine) -> None:
    holder, *others = (opened(engine, f"dag/run{n}/task/-1", f"o{n}") for n in range(3))
    holder.commit([everywhere(1)], [])
    holder.commit([], [(everywhere(1), UNSENT)])
    assert others[0].commit([everywhere(1)], []) == {}
    assert others[1].commit([everywhere(1)], [])[everywhere(1)].outcome is Outcome.UNKNOWN
    assert holder.commit([everywhere(1)], [])[everywhere(1)].outcome is Outcome.UNKNOWN
    others[0].commit([], [(everywhere(1), SENT)])
    assert dict(others[0].load()) == {everywhere(1): SENT}


@pytest.mark.parametrize("left", [UNSENT, Entry(Outcome.UNKNOWN), None])
def test_what_this_task_left_open_may_be_claimed_again(engine: Engine, left: Entry | None) -> None:
    opened(engine).commit([scoped(1)], [])
    if left:
        opened(engine).commit([], [(scoped(1), left)])
    again = opened(engine, owner="try2")
    assert again.commit([scoped(1)], []) == {}
    assert dict(again.load()) == {scoped(1): CUT_OFF}


def test_what_this_task_settled_is_not_claimed_again(engine: Engine) -> None:
    ledger = opened(engine)
    ledger.commit([scoped(1)], [])
    assert ledger.commit([scoped(1)], [(scoped(1), SENT)]) == {scoped(1): SENT}


def test_a_superseded_try_writes_nothing(engine: Engine) -> None:
    old = opened(engine)
    old.commit([scoped(1)], [])
    new = opened(engine, owner="try2")
    with pytest.raises(LedgerError, match="newer try"):
        old.commit([scoped(2)], [(scoped(1), SENT)])
    with pytest.raises(LedgerError, match="newer try"):
        old.forget()
    assert dict(new.load()) == {scoped(1): CUT_OFF}


def test_a_take_over_amid_commits_lets_no_later_one_through(engine: Engine) -> None:
    old = opened(engine)
    done: list[int] = []

    def commit_on() -> None:
        for number in range(10_000):
            old.commit([scoped(number)], [])
            done.append(number)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(commit_on)
        while len(done) < 20:
            pass
        new = opened(engine, owner="try2")
        seen = {key for key, _ in new.load()}
        with pytest.raises(LedgerError, match="newer try"):
            running.result(60)
    # What the new try saw is all there ever will be, and nothing that was confirmed is missing from it.
    assert seen == {key for key, _ in new.load()} == {scoped(number) for number in done}


def test_forgetting_leaves_what_others_hold(engine: Engine) -> None:
    one, two = opened(engine), opened(engine, "other", "other")
    one.commit([scoped(1), everywhere(1)], [])
    two.commit([scoped(1), everywhere(2)], [])
    one.forget()
    assert list(one.load()) == []
    assert {key for key, _ in two.load()} == {scoped(1), everywhere(2)}
    assert two.commit([everywhere(1)], []) == {}


def test_of_two_that_race_for_a_key_one_wins(engine: Engine) -> None:
    ledgers = [opened(engine, f"run{n}", f"o{n}") for n in range(2)]
    rounds = 10 if engine.dialect.name == "sqlite" else 40
    start = Barrier(2)

    def race(mine: int) -> list[set[bytes]]:
        won, before = [], []
        for number in range(rounds):
            keys = [everywhere(number * 500 + place) for place in range(500)]
            start.wait(60)
            # One backwards: the order in which they are asked for must not matter.
            held = ledgers[mine].commit(keys[:: -1 if mine else 1], before)
            won.append(set(keys) - set(held))
            before = [(key, UNSENT if key[-1] % 2 else SENT) for key in won[-1]]
        return won

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(race, range(2))
    for number in range(rounds):
        assert not first[number] & second[number]
        assert len(first[number] | second[number]) == 500


def test_of_two_that_race_for_what_was_left_unsent_one_wins(engine: Engine) -> None:
    keys = [everywhere(number) for number in range(500)]
    for number in range(10):
        holder = opened(engine, f"holder{number}", "h")
        mine = [key[:-4] + number.to_bytes(2, "big") + key[-2:] for key in keys]
        holder.commit(mine, [])
        holder.commit([], [(key, UNSENT) for key in mine])
        ledgers = [opened(engine, f"run{number}-{n}", f"o{n}") for n in range(2)]
        with ThreadPoolExecutor(2) as pool:
            won = [
                set(mine) - set(held) for held in pool.map(lambda ledger, mine=mine: ledger.commit(mine, []), ledgers)
            ]
        assert not won[0] & won[1]
        assert len(won[0] | won[1]) == 500


def test_a_format_of_the_future_is_not_guessed_at(engine: Engine) -> None:
    opened(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE cirrus_meta SET value = '2'"))
    with pytest.raises(LedgerError, match="format 2"):
        opened(engine)


def without_persons(engine: Engine) -> None:
    """Make the ledger one of an earlier version, which did not know whose messages it holds."""
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE cirrus_ledger DROP COLUMN person"))


def test_the_ledger_of_an_earlier_version_goes_on(engine: Engine) -> None:
    first = opened(engine)
    first.commit([scoped(1), scoped(2)], [])
    first.commit([], [(scoped(1), SENT)])
    without_persons(engine)
    again = opened(engine, owner="try2")
    assert dict(again.load()) == {scoped(1): SENT, scoped(2): CUT_OFF}
    assert again.commit([scoped(3)], [], {scoped(3): PERSON}) == {}
    assert whose(engine) == {scoped(1).hex(): None, scoped(2).hex(): None, scoped(3).hex(): PERSON.hex()}


def test_many_may_mend_the_ledger_of_an_earlier_version_at_once(engine: Engine) -> None:
    opened(engine)
    without_persons(engine)
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda number: opened(engine, f"run{number}"), range(8)))
    for number, ledger in enumerate(ledgers):
        assert ledger.commit([scoped(number)], [], {scoped(number): PERSON}) == {}
    assert set(whose(engine).values()) == {PERSON.hex()}


def test_without_the_right_to_mend_it_the_statement_is_shown_and_works(engine: Engine) -> None:
    opened(engine)
    without_persons(engine)
    with pytest.raises(LedgerError, match=r"ALTER TABLE cirrus_ledger ADD COLUMN person") as caught:
        opened(engine, create=False)
    statements = str(caught.value).partition("run:\n")[2]
    assert "CREATE" not in statements
    with engine.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(sa.text(statement))
    assert opened(engine, create=False).commit([scoped(1)], [], {scoped(1): PERSON}) == {}


def test_whose_a_message_is_stays_when_its_outcome_comes(engine: Engine) -> None:
    ledger = opened(engine)
    ledger.commit([scoped(1), everywhere(2)], [], {scoped(1): PERSON})
    ledger.commit([], [(scoped(1), UNSENT), (everywhere(2), SENT)])
    opened(engine, owner="try2").commit([scoped(1)], [], {scoped(1): PERSON})
    assert whose(engine) == {scoped(1).hex(): PERSON.hex(), everywhere(2).hex(): None}


def test_without_tables_and_without_create_the_ddl_is_shown_and_works(engine: Engine) -> None:
    with pytest.raises(LedgerError, match="CREATE TABLE cirrus_ledger"):
        opened(engine, create=False)
    with engine.begin() as connection:
        for statement in filter(str.strip, ddl(engine.dialect.name).split(";")):
            connection.execute(sa.text(statement))
    assert opened(engine, create=False).commit([scoped(1)], []) == {}


def test_many_may_open_at_once(uri: str) -> None:
    start = Barrier(8)

    def go(number: int) -> int:
        mine = engine_for(uri)
        start.wait(60)
        ledger = opened(mine, f"run{number}", "o")
        for step in range(20):
            ledger.commit([scoped(step)], [])
        mine.dispose()
        return 20

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(go, range(8))) == 160


def test_loading_takes_no_more_memory_for_more(engine: Engine) -> None:
    ledger = opened(engine)
    for start in range(0, 100_000, 10_000):
        ledger.commit([scoped(number) for number in range(start, start + 10_000)], [])
    tracemalloc.start()
    try:
        assert sum(1 for _ in ledger.load()) == 100_000
        # A page of 5,000 rows; all of them at once take ten times as much.
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


PROGRAM = """
import sys
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql_store import engine_for
ledger = SqlLedger(engine_for(sys.argv[1]), "dag/run/task/-1", "killed")
for number in range(1_000_000):
    ledger.commit([b"\\0" + number.to_bytes(11, "big")], [])
    print(number, flush=True)
"""


def test_what_was_confirmed_survives_a_kill(engine: Engine, uri: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, uri], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) == 100:
                process.kill()
                break
        confirmed = max([100, *(int(line) for line in process.stdout if line.endswith("\n"))])
    known = {key for key, _ in opened(engine, owner="try2").load()}
    assert known >= {scoped(number) for number in range(confirmed + 1)}
    assert len(known) <= confirmed + 2


def test_the_sql_for_mysql_is_mysqls() -> None:
    ignoring = str(insert_or_ignore(_ledger, "mysql").compile(dialect=mysql.dialect()))
    writing = str(upsert(_ledger, "mysql").compile(dialect=mysql.dialect()))
    assert ignoring.startswith("INSERT IGNORE INTO cirrus_ledger (`key`")
    assert "ON DUPLICATE KEY UPDATE" in writing
    assert "ON CONFLICT" not in ignoring + writing
    assert "ENGINE=InnoDB" in ddl("mysql")


def test_another_database_is_refused() -> None:
    with pytest.raises(LedgerError, match="oracle"):
        ddl("oracle")


@pytest.mark.parametrize(
    ("uri", "installed", "driver"),
    [
        pytest.param("postgresql://u@h/d", {"psycopg2", "psycopg"}, "psycopg2", id="as-always"),
        pytest.param("postgres://u@h/d", {"psycopg"}, "psycopg", id="as-airflow-writes-it"),
        pytest.param("postgresql+psycopg://u@h/d", {"psycopg2", "psycopg"}, "psycopg", id="named"),
    ],
)
def test_the_driver_is_one_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, uri: str, installed: set[str], driver: str
) -> None:
    monkeypatch.setattr(sql_store, "find_spec", lambda name: name in installed or None)
    assert engine_for(uri).driver == driver


def test_without_a_driver_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_store, "find_spec", lambda name: None)
    with pytest.raises(LedgerError, match="apache-airflow-providers-postgres"):
        engine_for("postgresql://u@h/d")
