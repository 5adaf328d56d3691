from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry, TaskTry, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger, _ledger, ddl
from airflow_provider_cirrus.delivery.sql import store as sql_store
from airflow_provider_cirrus.delivery.sql.statements import insert_or_ignore, upsert
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.lines import POSTGRES_DRIVERS

SENT = Entry(Outcome.ACCEPTED, "m1", "o1", None, None, 2, 1_700_000_000.25)
UNSENT = Entry(Outcome.UNSENT, reason="stopped", attempt=1, time=1.0)
PERSON = person_of("447700900101")
FIRST = TaskTry()
BEING_SENT = Entry(Outcome.DUPLICATE, reason="another task is sending it")


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


def opened(
    engine: Engine, task: str = "dag/run/task", owner: str = "try1", of: TaskTry = FIRST, **rest: Any
) -> SqlLedger:
    ledger = SqlLedger(engine, task, owner, is_global=is_global, **rest)
    ledger.open(of)
    return ledger


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
    assert known == {keys[0]: SENT, keys[2]: INTERRUPTED}


def test_scopes_are_apart_but_for_global_keys(engine: Engine) -> None:
    one, two = opened(engine), opened(engine, "dag/run2/task", "other")
    keys = [scoped(1), everywhere(1)]
    one.commit(keys, [])
    held = two.commit(keys, [])
    assert held == {everywhere(1): BEING_SENT}
    one.commit([], [(everywhere(1), SENT)])
    known = SENT._replace(outcome=Outcome.DUPLICATE, reason="another task sent it: accepted")
    assert two.commit([everywhere(1)], []) == {everywhere(1): known}
    assert [key for key, _ in two.load()] == [scoped(1)]


def test_what_another_left_unsent_may_be_claimed_once(engine: Engine) -> None:
    holder, *others = (opened(engine, f"dag/run{n}/task", f"o{n}") for n in range(3))
    holder.commit([everywhere(1)], [])
    holder.commit([], [(everywhere(1), UNSENT)])
    assert others[0].commit([everywhere(1)], []) == {}
    assert others[1].commit([everywhere(1)], []) == {everywhere(1): BEING_SENT}
    assert holder.commit([everywhere(1)], []) == {everywhere(1): BEING_SENT}
    others[0].commit([], [(everywhere(1), SENT)])
    assert dict(others[0].load()) == {everywhere(1): SENT}


@pytest.mark.parametrize("left", [UNSENT, Entry(Outcome.UNKNOWN), None])
def test_what_this_task_left_open_may_be_claimed_again(engine: Engine, left: Entry | None) -> None:
    opened(engine).commit([scoped(1)], [])
    if left:
        opened(engine).commit([], [(scoped(1), left)])
    again = opened(engine, owner="try2")
    assert again.commit([scoped(1)], []) == {}
    assert dict(again.load()) == {scoped(1): INTERRUPTED}


def test_what_this_task_settled_is_not_claimed_again(engine: Engine) -> None:
    ledger = opened(engine)
    ledger.commit([scoped(1)], [])
    assert ledger.commit([scoped(1)], [(scoped(1), SENT)]) == {scoped(1): SENT}


def test_a_superseded_try_writes_nothing(engine: Engine) -> None:
    old = opened(engine)
    old.commit([scoped(1)], [])
    new = opened(engine, owner="try2")
    with pytest.raises(LedgerSuperseded, match="newer try"):
        old.commit([scoped(2)], [(scoped(1), SENT)])
    assert dict(new.load()) == {scoped(1): INTERRUPTED}


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


def cleared(times: int, **rest: Any) -> TaskTry:
    """The first try after the task was cleared so many times, without retries of its own."""
    return TaskTry(try_number=times + 1, max_tries=times, **rest)


def test_resend_forgets_once_for_each_clear_and_leaves_what_others_hold(engine: Engine) -> None:
    two = opened(engine, "other", "other")
    two.commit([scoped(1), everywhere(2)], [])
    one = opened(engine)
    one.commit([scoped(1), everywhere(1)], [])
    one.commit([], [(scoped(1), SENT), (everywhere(1), SENT)])
    again = cleared(1, resend=True)
    one = opened(engine, owner="try2", of=again)
    assert list(one.load()) == []
    assert {key for key, _ in two.load()} == {scoped(1), everywhere(2)}
    assert two.commit([everywhere(1)], []) == {}
    assert one.commit([scoped(1)], [(scoped(1), SENT)]) == {scoped(1): SENT}
    # A retry of the cleared task, and what goes on after quiet hours, come with the same clear.
    retried = TaskTry(try_number=3, max_tries=1, resend=True)
    assert dict(opened(engine, owner="try3", of=retried).load()) == {scoped(1): SENT}
    assert dict(opened(engine, owner="try3b", of=cleared(1, resend=True, resumed=True)).load()) == {scoped(1): SENT}
    assert dict(opened(engine, owner="try4", of=cleared(2, resend=True)).load()) == {}


def test_resend_without_a_clear_forgets_nothing(engine: Engine) -> None:
    opened(engine).commit([scoped(1)], [(scoped(1), SENT)])
    retried = TaskTry(try_number=2, max_tries=2, retries=2, resend=True)
    assert list(opened(engine, owner="try2", of=retried).load()) == [(scoped(1), SENT)]


def test_resend_of_a_mapped_task_leaves_the_others(engine: Engine) -> None:
    for part in range(2):
        opened(engine, owner=f"part{part}", map_index=part).commit([scoped(part)], [(scoped(part), SENT)])
    again = opened(engine, owner="again", map_index=0, of=cleared(1, resend=True))
    assert [key for key, _ in again.load()] == [scoped(1)]


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
    assert dict(again.load()) == {scoped(1): SENT, scoped(2): INTERRUPTED}
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
from airflow_provider_cirrus.delivery.ledger.base import TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql.store import engine_for
ledger = SqlLedger(engine_for(sys.argv[1]), "dag/run/task", "killed")
ledger.open(TaskTry())
for number in range(1_000_000):
    ledger.commit([b"\\0" + number.to_bytes(11, "big")], [])
    print(number, flush=True)
"""


def test_what_was_confirmed_survives_a_kill(engine: Engine, uri: str) -> None:
    path = f"{Path(__file__).parents[4]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    env = {**os.environ, "PYTHONPATH": path}
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


KNOWS_PSYCOPG = pytest.mark.skipif("psycopg" not in POSTGRES_DRIVERS, reason="SQLAlchemy 2 and later know psycopg 3")


def test_another_database_is_refused() -> None:
    with pytest.raises(LedgerError, match="oracle"):
        ddl("oracle")


@pytest.mark.parametrize(
    ("uri", "installed", "driver"),
    [
        pytest.param("postgresql://u@h/d", {"psycopg2", "psycopg"}, "psycopg2", id="as-always"),
        pytest.param("postgres://u@h/d", {"psycopg"}, "psycopg", id="as-airflow-writes-it", marks=KNOWS_PSYCOPG),
        pytest.param("postgresql+psycopg://u@h/d", {"psycopg2", "psycopg"}, "psycopg", id="named", marks=KNOWS_PSYCOPG),
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


def statements_of_an_earlier_version(engine: Engine) -> list[str]:
    """Its statements, in the words of this database."""
    text = (Path(__file__).parent / "earlier_ledger.sql").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    if engine.dialect.name == "mysql":
        text = text.replace('"key"', "`key`").replace("FLOAT", "FLOAT(53)")
    return list(filter(str.strip, text.split(";")))


@pytest.fixture
def earlier(engine: Engine) -> Engine:
    """A database that an earlier version has written, with the hashes that it made."""
    with engine.begin() as connection:
        for statement in statements_of_an_earlier_version(engine):
            connection.execute(sa.text(statement))
    return engine


REFUSED = Entry(Outcome.REJECTED, None, None, 131026, "no", 1, 1_700_000_002.5)
STOPPED = Entry(Outcome.UNSENT, reason="stopped", attempt=1, time=1_700_000_001.0)


def left_by(ten: int) -> dict[bytes, Entry]:
    """What the earlier version left of one task."""
    own = [SENT, STOPPED, REFUSED, INTERRUPTED]
    return {scoped(ten + place): entry for place, entry in enumerate(own)} | {
        everywhere(ten + 5): SENT,
        everywhere(ten + 6): INTERRUPTED,
    }


@pytest.mark.parametrize(("map_index", "ten"), [(-1, 10), (0, 20), (1, 30)])
def test_what_an_earlier_version_wrote_is_there(earlier: Engine, map_index: int, ten: int) -> None:
    ledger = opened(earlier, owner="new", map_index=map_index)
    said = {key: entry for key, entry in ledger.load() if key[-1] // 10 == ten // 10}
    assert said == left_by(ten)
    # A retry goes on with what was left open, and with nothing else.
    assert ledger.commit([scoped(ten + 1), scoped(ten + 3), scoped(ten + 9)], []) == {}
    assert ledger.commit([scoped(ten)], []) == {scoped(ten): SENT}
    again = opened(earlier, owner="newer", map_index=map_index)
    assert dict(again.load())[scoped(ten + 1)] == INTERRUPTED
    assert whose(earlier)[scoped(ten).hex()] == bytes(range(16)).hex(), "it can no longer be erased"


def test_an_earlier_version_that_is_still_running_is_shut_out(earlier: Engine) -> None:
    for map_index in (-1, 0):
        opened(earlier, owner="new", map_index=map_index)
    with earlier.connect() as connection:
        owners = list(connection.scalars(sa.text("SELECT owner FROM cirrus_runs ORDER BY owner")))
    assert owners == ["new", "new", "old2"]


def test_resend_forgets_what_an_earlier_version_wrote_of_this_task(earlier: Engine) -> None:
    ledger = opened(earlier, owner="new", map_index=1, of=cleared(1, resend=True))
    assert [key for key, _ in ledger.load() if key[-1] >= 30] == []
    assert scoped(20) in dict(opened(earlier, owner="new", map_index=0).load())


def test_message_keys_that_an_earlier_version_holds(earlier: Engine) -> None:
    ledger = opened(earlier, "another/run/task")
    held = ledger.commit([everywhere(35), everywhere(36)], [])
    assert held[everywhere(35)].reason == "another task sent it: accepted"
    assert held[everywhere(36)].outcome is Outcome.UNKNOWN
    assert ledger.look_up([everywhere(35), everywhere(36), everywhere(37)]) == held


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


UNKNOWN = Entry(Outcome.UNKNOWN, reason="no answer", attempt=1, time=1_700_000_000.0)
SHARDED = TaskTry(audience={"shards": 3})


def sent_by(engine: Engine, part: int, keys: list[bytes], of: TaskTry = FIRST, **rest: Any) -> list[bytes]:
    """Send an audience as a run does: skip what is settled, claim the rest; return who got a message."""
    ledger = opened(engine, owner=f"{uuid.uuid4()}", map_index=part, of=of, **rest)
    known = {key: entry for key, entry in ledger.load() if entry.outcome is not Outcome.UNSENT}
    wanted = [key for key in keys if key not in known]
    held = ledger.commit(wanted, []) if wanted else {}
    sent = [key for key in wanted if key not in held]
    ledger.commit([], [(key, SENT) for key in sent])
    return sent


def test_another_number_of_shards_sends_to_nobody_twice(engine: Engine) -> None:
    people = [scoped(number) for number in range(80)]
    first = [key for part in range(2) for key in sent_by(engine, part, people[part::2], SHARDED)]
    second = [key for part in range(3) for key in sent_by(engine, part, people[part::3], SHARDED)]
    assert (sorted(first), second) == (people, [])


def test_a_file_more_that_comes_first_sends_to_nobody_twice(engine: Engine) -> None:
    files = [[scoped(10 * file + number) for number in range(10)] for file in range(9)]
    first = [key for part, file in enumerate(files[1:]) for key in sent_by(engine, part, file)]
    second = [key for part, file in enumerate(files) for key in sent_by(engine, part, file)]
    assert sorted(first + second) == [key for file in files for key in file]
    assert second == files[0]


def test_of_mapped_tasks_that_race_for_the_same_people_one_sends_to_each(engine: Engine) -> None:
    people = [scoped(number) for number in range(300)]
    ledgers = [opened(engine, owner=f"part{part}", map_index=part) for part in range(3)]
    start = Barrier(3)

    def race(part: int) -> list[bytes]:
        sent = []
        for number in range(0, 300, 20):
            start.wait(60)
            some = people[number : number + 20]
            held = ledgers[part].commit(some[:: -1 if part else 1], [])
            assert all(entry.outcome is Outcome.DUPLICATE for entry in held.values())
            sent += [key for key in some if key not in held]
        return sent

    with ThreadPoolExecutor(3) as pool:
        sent = [key for part in pool.map(race, range(3)) for key in part]
    assert sorted(sent) == people


def other_part(engine: Engine, left: Entry | None, clock: Clock) -> None:
    """Have the first mapped task leave a message in a state; None: as an intent."""
    one = opened(engine, owner="one", map_index=0, clock=clock)
    one.commit([scoped(1)], [])
    if left is not None:
        one.commit([], [(scoped(1), left)])


KNOWN = "another task sent it: "
OVERLAPPING = [
    pytest.param(SENT, False, Outcome.DUPLICATE, KNOWN + "accepted", id="accepted"),
    pytest.param(
        REFUSED, False, Outcome.DUPLICATE, "another task tried it, and it was rejected (131026)", id="rejected"
    ),
    pytest.param(UNSENT, False, None, None, id="unsent"),
    pytest.param(None, False, Outcome.DUPLICATE, "another task is sending it", id="being-sent"),
    pytest.param(None, True, Outcome.UNKNOWN, "another task was cut off while it was sending it", id="dead"),
    pytest.param(UNKNOWN, False, Outcome.UNKNOWN, "another task may have sent it, and does not know", id="unknown"),
]


@pytest.mark.parametrize(("left", "is_dead", "outcome", "reason"), OVERLAPPING)
@pytest.mark.parametrize("dies", ["taken-over", "silent"])
def test_what_another_mapped_task_has_is_no_message_of_this_one(
    engine: Engine, left: Entry | None, is_dead: bool, outcome: Outcome | None, reason: str | None, dies: str
) -> None:
    clock = Clock()
    two = opened(engine, owner="two", map_index=1, clock=clock)
    other_part(engine, left, clock)
    if is_dead and dies == "taken-over":
        opened(engine, owner="one again", map_index=0, clock=clock)
    elif is_dead:
        clock.now += 15 * 60
    looked_up = two.look_up([scoped(1), scoped(2)])
    held = two.commit([scoped(1)], [])
    loaded = dict(opened(engine, owner="three", map_index=2, clock=clock).load())
    if outcome is None:
        assert (looked_up, held) == ({}, {})
        # It is the second's by now.
        assert loaded[scoped(1)].reason == "another task is sending it"
        return
    assert looked_up == held == loaded
    assert (held[scoped(1)].outcome, held[scoped(1)].reason) == (outcome, reason)


@pytest.mark.parametrize(("left", "said"), [(SENT, SENT), (UNSENT, UNSENT), (UNKNOWN, UNKNOWN), (None, INTERRUPTED)])
def test_what_another_shard_left_is_this_messages_outcome(engine: Engine, left: Entry | None, said: Entry) -> None:
    clock = Clock()
    other_part(engine, left, clock)
    two = opened(engine, owner="two", map_index=1, clock=clock, of=SHARDED)
    assert dict(two.load()) == {scoped(1): said}
    assert two.look_up([scoped(1)]) == {}, "load() has told it"


@pytest.mark.parametrize("of", [FIRST, SHARDED])
@pytest.mark.parametrize("left", [UNKNOWN, None])
def test_what_a_mapped_task_left_open_is_repeated_by_another_only_once_it_is_over(
    engine: Engine, of: TaskTry, left: Entry | None
) -> None:
    clock = Clock()
    other_part(engine, left, clock)
    two = opened(engine, owner="two", map_index=1, clock=clock, of=of)
    list(two.load())
    assert set(two.commit([scoped(1)], [])) == {scoped(1)}, "its holder may still be sending it"
    opened(engine, owner="one again", map_index=0, clock=clock)
    three = opened(engine, owner="three", map_index=2, clock=clock, of=of)
    # An at-most-once task does not name it; one that has not seen it cannot mean to repeat it.
    assert set(three.commit([scoped(1)], [])) == {scoped(1)}
    assert dict(three.load())[scoped(1)].outcome is Outcome.UNKNOWN
    assert three.look_up([scoped(1)]) == {}, "it is this task's to decide"
    assert three.commit([scoped(1)], []) == {}
    assert dict(opened(engine, owner="two again", map_index=1, clock=clock).load())[scoped(1)] == BEING_SENT


@pytest.mark.parametrize("is_taken_over", [True, False])
def test_a_message_key_of_a_dead_holder_is_unknown_and_not_a_duplicate_for_ever(
    engine: Engine, is_taken_over: bool
) -> None:
    clock = Clock()
    holder = opened(engine, "dag/run1/task", clock=clock)
    holder.commit([everywhere(1)], [])
    later = opened(engine, "dag/run2/task", clock=clock)
    assert later.commit([everywhere(1)], []) == {everywhere(1): BEING_SENT}
    if is_taken_over:
        opened(engine, "dag/run1/task", "try2", clock=clock)
    else:
        clock.now += 15 * 60
    lost = {everywhere(1): Entry(Outcome.UNKNOWN, reason="another task was cut off while it was sending it")}
    assert later.look_up([everywhere(1)]) == later.commit([everywhere(1)], []) == lost
    list(later.load())
    assert later.commit([everywhere(1)], []) == lost, "only the holder's own task may repeat it"


def test_a_rerun_learns_in_bulk_that_all_is_another_runs(engine: Engine) -> None:
    keys = [everywhere(number) for number in range(1_234)]
    first = opened(engine, "dag/run1/task")
    first.commit(keys, [])
    first.commit([], [(key, SENT) for key in keys])
    second = opened(engine, "dag/run2/task")
    found = second.look_up([*keys, everywhere(5_000), scoped(1)])
    assert set(found) == set(keys)
    assert {entry.outcome for entry in found.values()} == {Outcome.DUPLICATE}
    assert found == second.commit(keys, [])
    assert first.look_up(keys) == {}, "they are its own"


def test_what_may_have_been_sent_never_becomes_unsent(engine: Engine) -> None:
    first = opened(engine)
    first.commit([everywhere(1), everywhere(2), everywhere(3)], [])
    first.commit([], [(everywhere(1), UNKNOWN), (everywhere(3), UNSENT)])
    # At least once, and no connection: this try has certainly not sent it, but the first may have.
    again = opened(engine, owner="try2")
    keys = [everywhere(number) for number in (1, 2, 3)]
    assert again.commit(keys, []) == {}
    again.commit([], [(key, UNSENT) for key in keys])
    third = opened(engine, owner="try3")
    states = {key: entry.outcome for key, entry in third.load()}
    assert states == {keys[0]: Outcome.UNKNOWN, keys[1]: Outcome.UNKNOWN, keys[2]: Outcome.UNSENT}
    assert dict(third.load())[keys[0]].reason == "an earlier try may have sent it"
    another = opened(engine, "dag/run2/task")
    held = another.commit(keys, [])
    assert {key: entry.outcome for key, entry in held.items()} == dict.fromkeys(keys[:2], Outcome.UNKNOWN)
    # Known at last, it is known.
    assert third.commit(keys[:1], []) == {}
    third.commit([], [(keys[0], SENT)])
    assert dict(third.load())[keys[0]] == SENT


@pytest.mark.parametrize("late", [UNSENT, UNKNOWN, REFUSED])
def test_a_late_outcome_takes_nothing_back(engine: Engine, late: Entry) -> None:
    ledger = opened(engine)
    ledger.commit([scoped(1)], [])
    ledger.commit([], [(scoped(1), SENT)])
    ledger.commit([], [(scoped(1), late)])
    assert dict(ledger.load()) == {scoped(1): SENT}


def test_a_late_outcome_leaves_what_another_has_claimed_meanwhile(engine: Engine) -> None:
    first, second, third = (opened(engine, f"dag/run{n}/task", f"o{n}") for n in range(3))
    first.commit([everywhere(1)], [])
    first.commit([], [(everywhere(1), UNSENT)])
    assert second.commit([everywhere(1)], []) == {}
    # The answer to the first's write was lost, so it repeats it.
    first.commit([], [(everywhere(1), UNSENT)])
    assert third.commit([everywhere(1)], []) == {everywhere(1): BEING_SENT}


def test_a_commit_may_be_repeated(engine: Engine) -> None:
    ledger, other = opened(engine), opened(engine, "dag/run2/task")
    other.commit([everywhere(7), everywhere(8)], [])
    other.commit([], [(everywhere(8), UNSENT)])
    ledger.commit([scoped(1), scoped(2), scoped(3)], [])
    intents = [scoped(1), scoped(4), everywhere(7), everywhere(8)]
    outcomes = [(scoped(1), UNSENT), (scoped(2), SENT), (scoped(3), UNKNOWN)]
    once = ledger.commit(intents, outcomes)
    seen = sorted(ledger.load())
    assert ledger.commit(intents, outcomes) == once == {everywhere(7): BEING_SENT}
    assert sorted(ledger.load()) == seen
    assert ledger.commit([], [(scoped(1), UNSENT)]) == {}
    assert dict(ledger.load())[scoped(1)] == UNSENT


class LostAnswer:
    """A driver's connection whose next COMMIT is done, and its answer lost."""

    def __init__(self, engine: Engine) -> None:
        self.is_on = False
        self._engine = engine
        event.listen(engine, "commit", self._commit)

    def _commit(self, connection: Any) -> None:
        if self.is_on:
            self.is_on = False
            connection.connection.dbapi_connection.commit()
            raise OperationalError("COMMIT", None, _driver(self._engine).OperationalError("it is gone"))


def _driver(engine: Engine) -> Any:
    # SQLAlchemy 1.4, of Airflow before 3.1, has another name for it.
    return getattr(engine.dialect, "loaded_dbapi", None) or engine.dialect.dbapi  # type: ignore[attr-defined]


def test_a_commit_whose_answer_was_lost_is_repeated(engine: Engine) -> None:
    ledger, other = opened(engine), opened(engine, "dag/run2/task")
    other.commit([everywhere(8)], [])
    other.commit([], [(everywhere(8), UNSENT)])
    ledger.commit([scoped(1)], [])
    shim = LostAnswer(engine)
    intents, outcomes = [scoped(2), everywhere(8)], [(scoped(1), SENT)]
    shim.is_on = True
    with pytest.raises(LedgerError):
        ledger.commit(intents, outcomes)
    assert not shim.is_on
    assert dict(ledger.load()) == {scoped(1): SENT, scoped(2): INTERRUPTED, everywhere(8): INTERRUPTED}
    assert ledger.commit(intents, outcomes) == {}
    assert ledger.commit([], [(key, SENT) for key in intents]) == {}
    assert set(dict(opened(engine, owner="try2").load()).values()) == {SENT}


def test_a_take_over_whose_answer_was_lost_is_repeated_and_forgets_once(engine: Engine) -> None:
    old = opened(engine)
    old.commit([scoped(1)], [(scoped(1), SENT)])
    shim = LostAnswer(engine)
    new = SqlLedger(engine, "dag/run/task", "try2", is_global=is_global)
    shim.is_on = True
    with pytest.raises(LedgerError):
        new.open(cleared(1, resend=True))
    new.open(cleared(1, resend=True))
    assert list(new.load()) == []
    assert new.commit([scoped(1)], []) == {}
    new.open(cleared(1, resend=True))
    assert dict(new.load()) == {scoped(1): INTERRUPTED}


def test_there_is_nothing_to_tidy(engine: Engine) -> None:
    assert opened(engine).tidy() is False


def test_a_table_that_is_gone_does_not_pass(engine: Engine) -> None:
    ledger = opened(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE cirrus_ledger"))
    with pytest.raises(LedgerError, match="nothing more is sent") as caught:
        ledger.commit([scoped(1)], [])
    assert not caught.value.retryable


DAY = 86_400.0
LATER = Entry(Outcome.REJECTED, code=131049, reason="(#131049) not now", attempt=1, time=1_000.0)


def patient(engine: Engine, run: str, now: float) -> SqlLedger:
    task = TaskTry(retry_rejected_after=DAY)
    return opened(engine, f"dag/{run}/task", f"of {run}", task, clock=lambda: now)


def settle(ledger: SqlLedger, key: bytes, entry: Entry) -> None:
    assert ledger.commit([key], []) == {}
    ledger.commit([], [(key, entry)])


def test_what_was_refused_for_a_day_is_tried_again_by_a_run_after_that_day(engine: Engine) -> None:
    settle(opened(engine, "dag/run1/task"), everywhere(1), LATER)
    early, late = patient(engine, "run2", 1_000.0 + DAY - 1), patient(engine, "run3", 1_000.0 + DAY)
    for held in (early.look_up([everywhere(1)]), early.commit([everywhere(1)], [])):
        (entry,) = held.values()
        assert entry.outcome is Outcome.DUPLICATE
        assert "rejected (131049), which passes" in str(entry.reason)
    assert late.look_up([everywhere(1)]) == {}
    settle(late, everywhere(1), SENT)
    (entry,) = patient(engine, "run4", 9 * DAY).commit([everywhere(1)], []).values()
    assert entry.reason == "another task sent it: accepted"


def test_each_run_tries_it_once(engine: Engine) -> None:
    settle(opened(engine, "dag/run1/task"), everywhere(1), LATER)
    second = patient(engine, "run2", 1_000.0 + DAY)
    settle(second, everywhere(1), LATER._replace(time=1_000.0 + DAY))
    assert dict(patient(engine, "run2", 9 * DAY).load())[everywhere(1)].outcome is Outcome.REJECTED
    assert len(patient(engine, "run3", 1_000.0 + 2 * DAY - 1).commit([everywhere(1)], [])) == 1
    assert patient(engine, "run4", 1_000.0 + 2 * DAY).commit([everywhere(1)], []) == {}


def test_of_two_runs_that_try_it_again_one_does(engine: Engine) -> None:
    settle(opened(engine, "dag/run1/task"), everywhere(1), LATER)
    second, third = patient(engine, "run2", 9 * DAY), patient(engine, "run3", 9 * DAY)
    assert second.look_up([everywhere(1)]) == third.look_up([everywhere(1)]) == {}
    assert second.commit([everywhere(1)], []) == {}
    assert third.commit([everywhere(1)], []) == {everywhere(1): BEING_SENT}


@pytest.mark.parametrize("code", [131026, 131050, None])
def test_what_was_refused_for_good_or_unasked_stays_refused(engine: Engine, code: int | None) -> None:
    settle(opened(engine, "dag/run1/task"), everywhere(1), LATER._replace(code=code))
    settle(opened(engine, "dag/run1/task"), everywhere(2), LATER)
    assert len(patient(engine, "run2", 99 * DAY).commit([everywhere(1)], [])) == 1
    assert len(opened(engine, "dag/run3/task", "try1", clock=lambda: 99 * DAY).commit([everywhere(2)], [])) == 1
