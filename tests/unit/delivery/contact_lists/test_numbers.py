from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.phone import account_of, spellings_of
from airflow_provider_cirrus.delivery.contact_lists.open import open_numbers
from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord, FileNumbers, SqlNumbers
from airflow_provider_cirrus.delivery.errors import QueryFailed, QueryRefused
from airflow_provider_cirrus.delivery.rules.consent import Consent, Suppression
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.unit.delivery.people import (
    ANN,
    ARGENTINA,
    BOB,
    BRAZIL,
    CAT,
    MEXICO,
    NONE,
    TWO_SPELLINGS,
    Connect,
    checked,
    written,
)

# The same examples in every run, and no file kept of them.
repeatable = settings(max_examples=200, deadline=None, derandomize=True, database=None)


# ---- spellings


@repeatable
@given(st.sampled_from(["52", "54", "55", "521", "549", "5511", "44", "1", "49"]), st.integers(10**8, 10**11))
def test_all_spellings_are_one_account_and_no_other(prefix: str, rest: int) -> None:
    digits = f"{prefix}{rest}"
    spellings = spellings_of(digits)
    assert digits in spellings
    assert {account_of(spelling) for spelling in spellings} == {account_of(digits)}
    assert all(spellings_of(spelling) == spellings for spelling in spellings)


@repeatable
@given(
    st.lists(st.sampled_from([*MEXICO, *ARGENTINA, *BRAZIL, ANN, BOB]), max_size=4),
    st.lists(st.sampled_from([*MEXICO, *ARGENTINA, *BRAZIL, ANN, CAT]), max_size=6),
)
def test_a_list_a_file_and_a_function_hold_the_same_accounts(held: list[str], asked: list[str]) -> None:
    accounts = {account_of(number) for number in held}
    expected = {number for number in asked if account_of(number) in accounts}
    assert set(open_numbers(held, "x").find(asked)) == expected
    assert set(open_numbers(lambda digits: digits in held, "x").find(asked)) == expected


@pytest.mark.parametrize(("one", "other"), [*TWO_SPELLINGS, *[pair[::-1] for pair in TWO_SPELLINGS]])
def test_files_and_databases_are_matched_over_spellings(tmp_path: Path, one: str, other: str) -> None:
    path = written(tmp_path / "list.txt", f"+{one}")
    assert checked(Consent(suppression=path), other, ANN) == ["suppression: on the list", ConsentRecord()]
    engine = engine_for(f"sqlite:///{tmp_path}/list.db")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE list (phone TEXT)"))
        connection.execute(sa.text("INSERT INTO list VALUES (:one)"), {"one": one})
    assert checked(Consent(SqlNumbers("SELECT phone FROM list", "c"), connect=lambda _: engine), other, ANN) == [
        ConsentRecord(),
        NONE,
    ]


# ---- files


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        pytest.param("a.csv", ["name,Phone,src,at", "Ann,+44 7700 900101,fair,2026-03-01", f"Bob,{BOB},,"], id="csv"),
        pytest.param(
            "a.jsonl", [json.dumps({"Phone": int(ANN), "src": "fair", "at": "2026-03-01"}), json.dumps({"Phone": BOB})]
        ),
    ],
)  # fmt: skip
def test_a_file_tells_who_and_since_when(tmp_path: Path, name: str, lines: list[str]) -> None:
    path = written(tmp_path / name, *lines)
    given = {"path": path, "source_column": "src", "time_column": "at", "version": "v1"}
    found = checked(Consent(given), ANN, BOB, CAT)
    assert found == [ConsentRecord("fair", "2026-03-01", "v1"), ConsentRecord(version="v1"), NONE]
    found = checked(Consent(suppression=FileNumbers(path, source_column="src", time_column="at")), ANN, BOB)
    assert found == ["suppression: on the list (fair, since 2026-03-01)", "suppression: on the list"]


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    parquet.write_table(pa.table({"msisdn": [int(ANN)], "other": [1]}), tmp_path / "a.parquet")
    assert checked(Consent(tmp_path / "a.parquet"), ANN, BOB) == [ConsentRecord(), NONE]
    parquet.write_table(pa.table({"other": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    assert checked(Consent(suppression=tmp_path / "none.parquet"), ANN) == [ConsentRecord()]


def test_of_several_entries_of_one_account_the_last_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "phone,source", f"{MEXICO[0]},old", f"{MEXICO[1]},new")
    assert checked(Consent(FileNumbers(path, source_column="source")), MEXICO[0]) == [ConsentRecord("new")]


def test_a_suppression_that_cannot_be_read_stops_the_send(tmp_path: Path) -> None:
    path = written(tmp_path / "gone.csv", "phone", ANN, "07700 900123", '""', "call 447700900199 first")
    with pytest.raises(InvalidInput, match=r"suppression: 3 rows of .*row 2 .*row 3 .*row 4") as caught:
        Consent(suppression=path)
    assert "447700900199" not in str(caught.value)
    lenient = Suppression(path, strict=False)
    assert checked(Consent(suppression=lenient), ANN, BOB) == ["suppression: on the list", ConsentRecord()]


def test_an_opt_in_that_cannot_be_read_is_nobodys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "yes.txt", ANN, "07700 900123")
    assert checked(Consent(path), ANN, BOB) == [ConsentRecord(), NONE]
    assert "1 rows of" in caplog.text
    assert "row 2" in caplog.text


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        pytest.param("a.csv", [ANN, BOB], "does not begin with the names", id="no-header"),
        pytest.param("a.csv", [ANN], "does not begin with the names", id="one-line"),
        pytest.param("a.csv", ["name,tel", f"Ann,{ANN}"], "there are name, tel", id="no-known-column"),
        pytest.param("a.xls", [ANN], "must end in .txt, .csv", id="unknown-kind"),
    ],
)
def test_a_list_whose_numbers_would_be_lost_is_refused(
    tmp_path: Path, name: str, lines: list[str], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=f"(?s)suppression.*{problem}") as caught:
        Consent(suppression=written(tmp_path / name, *lines))
    assert ANN not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    for name in ("a.csv", "a.txt"):
        with pytest.raises(InvalidInput, match="suppression: there is no file"):
            Consent(suppression=tmp_path / name)


def test_a_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "phone", ANN)
    with pytest.raises(InvalidInput, match=r"opt_in\.time_column: there is no column 'at'"):
        Consent(FileNumbers(path, time_column="at"))


GROWTH = """
import sys, random
from airflow_provider_cirrus.delivery.rules.consent import Consent
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
asked = [(f"4477{n:08d}", {}) for n in range(0, 600_000, 20)]
with Consent(suppression=sys.argv[1]) as consent: consent.check(asked)
before = peak()
with Consent(suppression=sys.argv[2]) as consent: held = consent.check(asked)
print(peak() - before, sum(isinstance(one, str) for one in held))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to see its memory")
def test_memory_is_flat_whatever_the_size_of_a_file(tmp_path: Path) -> None:
    numbers = [f"4477{number:08d}" for number in range(300_000)]
    random.Random(1).shuffle(numbers)
    small, large = (written(tmp_path / f"{size}.txt", *numbers[:size]) for size in (1000, 300_000))
    done = subprocess.run([sys.executable, "-c", GROWTH, small, large], capture_output=True, text=True, check=True)
    kilobytes, held = map(int, done.stdout.split())
    assert held == 15_000
    # Measured: 9 MB, and the same for 1,000,000. A set of them takes three times as much.
    assert kilobytes < 15_000


# ---- SQL


def test_a_query_tells_who_and_since_when(connect: Connect) -> None:
    given = SqlNumbers(
        "SELECT phone, \"Where\", at, wording FROM people WHERE phone LIKE '%' AND '\\:x' <> :v; -- all",
        "crm",
        source_column="Where",
        time_column="at",
        version_column="wording",
        parameters={"v": "x'; DROP TABLE people; --"},
    )
    found = checked(Consent(given, connect=connect), ANN, BOB, *MEXICO)
    assert found == [ConsentRecord("fair; 50%", "2026-03-01", "v2"), NONE, ConsentRecord(), ConsentRecord()]


def test_numbers_that_the_database_holds_as_numbers_are_found(connect: Connect) -> None:
    for sql in ("SELECT phone FROM gone", "SELECT CAST(phone AS numeric) AS phone FROM gone"):
        found = checked(Consent(suppression={"sql": sql, "conn_id": "crm"}, connect=connect), ANN, BOB, *BRAZIL)
        assert found == ["suppression: on the list", ConsentRecord(), *["suppression: on the list"] * 2]


def test_a_table_is_asked_without_a_query(connect: Connect) -> None:
    found = checked(Consent({"table": "gone", "conn_id": "crm"}, connect=connect), ANN, BOB)
    assert found == [ConsentRecord(), NONE]


def test_many_are_looked_up_at_once(connect: Connect) -> None:
    asked = [f"4477{number:08d}" for number in range(5000)]
    engine = connect("crm")
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO gone VALUES (:n)"), [{"n": int(number)} for number in asked[::2]])
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    found = checked(Consent({"table": "gone", "conn_id": "crm"}, connect=lambda _: engine), *asked)
    assert found == [ConsentRecord() if place % 2 == 0 else NONE for place in range(5000)]
    assert len(statements) < 50


def test_what_comes_while_it_is_open_is_found(connect: Connect) -> None:
    with connect("crm").begin() as connection:
        connection.execute(sa.text("DELETE FROM gone"))
    with Consent(suppression={"table": "gone", "conn_id": "crm"}, connect=connect) as consent:
        assert consent.check([(ANN, {})]) == [ConsentRecord()]
        with connect("crm").begin() as connection:
            connection.execute(sa.text("INSERT INTO gone VALUES (:n)"), {"n": int(ANN)})
        assert consent.check([(ANN, {})]) == ["suppression: on the list"]


@pytest.mark.parametrize("entry", ["'07700 900101'", "'+44 7700 900101'", "''", "NULL"])
def test_an_entry_that_could_never_be_found_stops_the_send(connect: Connect, entry: str) -> None:
    given = {"sql": f"SELECT phone FROM people UNION ALL SELECT {entry}", "conn_id": "crm"}
    with pytest.raises(InvalidInput, match="suppression: 1 entries of the database are no numbers"):
        Consent(suppression=given, connect=connect)
    assert checked(Consent(suppression={**given, "strict": False}, connect=connect), CAT) == [ConsentRecord()]
    assert checked(Consent(given, connect=connect), CAT) == [NONE]


@pytest.mark.parametrize(
    ("given", "error", "problem"),
    [
        ({"sql": "SELECT phone FROM nowhere"}, QueryRefused, "opt_in: the database refuses the query .*nowhere"),
        ({"sql": "SELECT 1; DROP TABLE people"}, InvalidInput, r"opt_in\.sql: holds several statements"),
        ({"sql": "SELECT phone FROM people WHERE at = :day"}, CirrusError, "opt_in: .*day"),
        ({"sql": "SELECT at, wording FROM people"}, InvalidInput, "number_column: is needed.*there are at, wording"),
        ({"table": "people", "number_column": "tel"}, InvalidInput, "there is no column 'tel'"),
        ({"table": "people", "time_column": "Where", "number_column": "at"}, None, ""),
    ],
)
def test_a_query_that_cannot_be_used(connect: Connect, given: Any, error: Any, problem: str) -> None:
    if error is None:
        Consent({**given, "conn_id": "crm"}, connect=connect).close()
        return
    with pytest.raises(error, match=problem):
        Consent({**given, "conn_id": "crm"}, connect=connect)
    with connect("crm").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM people")).scalar() == 2


def test_a_database_that_breaks_off_lets_nobody_pass(connect: Connect) -> None:
    with Consent(suppression={"table": "gone", "conn_id": "crm"}, connect=connect) as consent:
        with connect("crm").begin() as connection:
            connection.execute(sa.text("DROP TABLE gone"))
        with pytest.raises(QueryRefused, match="suppression: the database refuses"):
            consent.check([(ANN, {})])


def test_a_database_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(QueryFailed) as caught:
        Consent({"table": "t", "conn_id": "c"}, connect=lambda _: engine_for("postgresql://u@127.0.0.1:1/d"))
    assert caught.value.retryable


def test_many_numbers_are_looked_up_in_few_statements_by_the_index(connect: Connect) -> None:
    asked = [(f"4477{number:08d}", {}) for number in range(2_000)]
    with connect("crm").begin() as connection:
        held = [{"n": int(number)} for number, _ in asked[::2]]
        connection.execute(sa.text("INSERT INTO gone VALUES (:n)"), held)
        connection.execute(sa.text("CREATE UNIQUE INDEX gone_phone ON gone (phone)"))
    statements: list[tuple[str, Any]] = []
    engines: list[sa.Engine] = []

    def watched(conn_id: str) -> sa.Engine:
        engine = connect(conn_id)
        sa.event.listen(engine, "before_cursor_execute", lambda *given: statements.append((given[2], given[3])))
        engines.append(engine)
        return engine

    with Consent({"table": "gone", "conn_id": "crm"}, connect=watched) as consent:
        consent.check(asked[:10])
        statements.clear()
        found = consent.check(asked)
        assert sum(isinstance(one, str) for one in found) == 1_000
        # Each number in all of its spellings, with and without the twin of another country.
        assert len(statements) <= 10
        statement, parameters = statements[0]
        if engines[0].dialect.name == "sqlite":
            with engines[0].connect() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            assert any("gone_phone" in str(line) for line in plan)


_HOLDS_A_LIST = """
import sys, time
from airflow_provider_cirrus.delivery.contact_lists.open import open_numbers
held = open_numbers({"path": sys.argv[1]}, "suppression")
print("open", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_no_file_of_a_list(tmp_path: Path) -> None:
    # Many enough to outgrow what is kept in memory.
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("\n".join(f"4479{number:08d}" for number in range(200_000)))
    folder = tmp_path / "temporary"
    folder.mkdir()
    names = ("TMPDIR", "SQLITE_TMPDIR")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4]), **dict.fromkeys(names, str(folder))}
    command = [sys.executable, "-c", _HOLDS_A_LIST, str(numbers)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        finally:
            process.kill()
    assert list(folder.iterdir()) == []
