from __future__ import annotations

import csv
import json
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.models import Message, Template
from airflow_provider_cirrus.api.phone import account_of, spellings_of
from airflow_provider_cirrus.delivery.contact_lists.open import open_numbers, open_rejects
from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
from airflow_provider_cirrus.delivery.contact_lists.spec import ConsentRecord, FileNumbers, SqlNumbers
from airflow_provider_cirrus.delivery.errors import LookupFailed, QueryFailed, QueryRefused
from airflow_provider_cirrus.delivery.rules.consent import Consent, OptIn, Suppression
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox import Sandbox

ANN, BOB, CAT = "447700900101", "447700900102", "447700900103"
MEXICO, ARGENTINA, BRAZIL = ("525512345678", "5215512345678"), ("541112345678", "5491112345678"), (
    "551187654321",
    "5511987654321",
)  # fmt: skip
TWO_SPELLINGS = [MEXICO, ARGENTINA, BRAZIL]
NONE = "opt_in: no opt-in on record"
Connect = Callable[[str], Engine]

# The same examples in every run, and no file kept of them.
repeatable = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def checked(consent: Consent, *numbers: str, **row: Any) -> list[ConsentRecord | str]:
    with consent:
        return consent.check([(number, row) for number in numbers])


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(params=["sqlite", "psycopg2", "psycopg"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Leads to a database with the tables ``people`` and ``gone``."""
    uri = f"sqlite:///{tmp_path}/crm.db"
    if request.param != "sqlite":
        uri = request.getfixturevalue("postgres").replace("psycopg2", request.param)
    engine = engine_for(uri)
    with engine.begin() as connection:
        for name in ("people", "gone", "do_not_message"):
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
        connection.execute(sa.text('CREATE TABLE people (phone varchar(20), "Where" text, at text, wording text)'))
        connection.execute(sa.text("CREATE TABLE gone (phone bigint)"))
        connection.execute(
            sa.text("INSERT INTO people VALUES (:a, 'fair; 50%', '2026-03-01', 'v2'), (:b, NULL, NULL, NULL)"),
            {"a": f"+{ANN}", "b": MEXICO[1]},
        )
        connection.execute(sa.text("INSERT INTO gone VALUES (:a), (:b)"), {"a": int(ANN), "b": int(BRAZIL[0])})
    made = [engine]

    def connect_to(conn_id: str) -> Engine:
        made.append(engine_for(uri))
        return made[-1]

    yield connect_to
    for one in made:
        one.dispose()


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


# ---- lists, functions


def test_suppression_goes_before_opt_in() -> None:
    found = checked(Consent([ANN, BOB], {BOB, CAT}), ANN, BOB, CAT, "447700900104")
    assert found == [ConsentRecord(), "suppression: on the list", "suppression: on the list", NONE]


def test_without_any_rule_everybody_passes() -> None:
    assert checked(Consent(), ANN) == [ConsentRecord()]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        pytest.param([ANN, "07700 900123"], r"opt_in\[1\]: has no country code.*\+07", id="list"),
        pytest.param({"nobody"}, "opt_in, an entry: holds a letter", id="set"),
        pytest.param(True, "opt_in: is of type bool", id="bool"),
        pytest.param("", "opt_in: is empty", id="empty-path"),
        pytest.param({"sql": "SELECT 1"}, "opt_in.conn_id: is missing", id="no-connection"),
        pytest.param({"colum": "agreed"}, "opt_in: has no 'colum'", id="slip"),
        pytest.param({"path": "a.csv", "phone": "x"}, "opt_in: has no 'phone'", id="slip-in-file"),
        pytest.param({}, "exactly one of numbers, column, by_category", id="nothing"),
        pytest.param({"marketing": {"utility": [ANN]}}, "another dict by category", id="nested"),
        pytest.param({"numbers": [ANN], "time_column": "at"}, "goes with column", id="column-of-no-row"),
    ],
)
def test_a_value_that_is_no_opt_in(value: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        OptIn.of(value)


def test_no_number_stands_in_the_text_of_a_value() -> None:
    assert ANN not in repr(OptIn.of([ANN])) + repr(Suppression.of({ANN})) + repr(
        OptIn.of({"sql": "SELECT :n AS phone", "conn_id": "c", "parameters": {"n": ANN}})
    )


def test_a_function_answers_with_a_bool_or_a_proof() -> None:
    answers = {ANN: True, BOB: {"source": "call", "time": date(2026, 3, 1)}, CAT: None}
    assert checked(Consent(answers.get), ANN, BOB, CAT) == [ConsentRecord(), ConsentRecord("call", "2026-03-01"), NONE]


@pytest.mark.parametrize("answer", ["no", 0, {}, {"src": "x"}])
def test_any_other_answer_of_a_function_is_an_error(answer: Any) -> None:
    with pytest.raises(InvalidInput, match=r"returns a value of type \w+ for \+44\*+0101"):
        checked(Consent(lambda digits: answer), ANN)


def test_a_function_that_fails_lets_nobody_pass_and_names_nobody() -> None:
    def ask(digits: str) -> bool:
        raise KeyError(digits)

    with pytest.raises(LookupFailed, match=r"for \+44\*+0101 \(KeyError") as caught:
        checked(Consent(suppression=ask), ANN)
    assert ANN not in str(caught.value)
    assert caught.value.__suppress_context__


# ---- columns of the rows


@pytest.mark.parametrize("value", ["yes", " TRUE ", "1", True, 1, 1.0, Decimal(1), "On"])
def test_a_column_says_yes(value: Any) -> None:
    assert checked(Consent({"column": "agreed"}), ANN, agreed=value) == [ConsentRecord()]
    assert checked(Consent(suppression={"column": "gone"}), ANN, gone=value) == [
        "suppression: on the list (column 'gone')"
    ]


@pytest.mark.parametrize("value", ["no", "False", "0", "", " ", None, float("nan"), False, 0])
def test_a_column_says_no(value: Any) -> None:
    assert checked(Consent({"column": "agreed"}), ANN, agreed=value) == [f"{NONE} (column 'agreed')"]
    assert checked(Consent(suppression={"column": "gone"}), ANN, gone=value) == [ConsentRecord()]


@pytest.mark.parametrize("value", ["pending", "2", 2, "20260301", "2026-13-01", [True], ANN, "2999-01-01"])
def test_what_says_neither_holds_the_message_back(value: Any) -> None:
    for consent, rule in ((Consent({"column": "c"}), "opt_in"), (Consent(suppression={"column": "c"}), "suppression")):
        (found,) = checked(consent, ANN, c=value)
        assert isinstance(found, str)
        assert found.startswith(f"{rule}: column 'c' holds a ")
        assert str(value) not in found


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01", "2026-03-01"),
        (datetime(2026, 3, 1, 10, tzinfo=UTC), "2026-03-01T10:00:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
    ],
)
def test_a_time_is_a_yes_and_the_time_of_the_proof(value: Any, time: str) -> None:
    opt_in = OptIn(column="agreed", source="web form", version_column="wording")
    assert checked(Consent(opt_in), ANN, agreed=value, wording=" v2 ") == [ConsentRecord("web form", time, "v2")]


def test_a_row_without_the_column_is_held_back() -> None:
    assert checked(Consent({"column": "agreed"}), ANN) == ["opt_in: the row has no column 'agreed'"]
    assert checked(Consent(suppression={"column": "gone"}), ANN) == ["suppression: the row has no column 'gone'"]


def test_the_columns_that_it_reads_are_known_before_the_rows() -> None:
    with Consent(OptIn(column="agreed", time_column="at"), [Suppression(column="gone"), {"numbers": [ANN]}]) as consent:
        assert consent.needed() == {
            "opt_in.column": ["agreed"],
            "opt_in.time_column": ["at"],
            "suppression.column": ["gone"],
        }


# ---- categories


def test_each_category_has_its_own_source() -> None:
    opt_in = {"MARKETING": [ANN], "utility": {"numbers": [BOB], "source": "order"}}
    assert checked(Consent(opt_in, category="marketing"), ANN, BOB) == [ConsentRecord(), NONE]
    assert checked(Consent(opt_in, category="UTILITY"), ANN, BOB) == [NONE, ConsentRecord("order")]


@pytest.mark.parametrize(
    ("category", "problem"),
    [
        (None, "category: is missing"),
        ("authentication", "nothing for category"),
        ("news", "category: 'news' is unknown"),
    ],
)
def test_a_category_without_a_source_is_an_error(category: str | None, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Consent({"marketing": [ANN], "utility": [ANN]}, category=category)


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


@pytest.mark.parametrize("kind", ["sql", "file"])
def test_a_lookup_costs_little(kind: str, connect: Connect, tmp_path: Path) -> None:
    asked = [(f"4477{number:08d}", {}) for number in range(20_000)]
    held = [number for number, _ in asked[::2]]
    given: Any = {"table": "gone", "conn_id": "crm"}
    if kind == "sql":
        with connect("crm").begin() as connection:
            connection.execute(sa.text("INSERT INTO gone VALUES (:n)"), [{"n": int(number)} for number in held])
            connection.execute(sa.text("CREATE UNIQUE INDEX gone_phone ON gone (phone)"))
        with connect("crm").execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text("ANALYZE gone"))
    else:
        given = written(tmp_path / "held.txt", *held)
    with Consent(given, connect=connect) as consent:
        consent.check(asked[:10])
        # Of this process alone, the best of several, as others share the machine; 10 µs is what is promised.
        best = 1.0
        for start in range(0, 20_000, 2000):
            before = time.process_time()
            consent.check(asked[start : start + 2000])
            best = min(best, (time.process_time() - before) / 2000)
    assert best < 10e-6


# ---- what refused for good


REFUSED = [
    (ANN, 131050, "131050: User has stopped marketing messages"),
    (BOB, 131026, f"undeliverable\nto +{BOB}"),
    (CAT, 131049, "not now"),
    (MEXICO[0], None, "invalid — Not a valid WhatsApp user"),
    ("447700900104", None, "=invalid"),
]


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl"])
def test_who_refused_is_left_alone_by_the_next_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        sink = open_rejects(RejectSink.of(path), clock=lambda: 1_772_000_000)
        assert checked(Consent(suppression=path), CAT) == [ConsentRecord()]
        assert sink.add(REFUSED) == 3
        sink.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = checked(Consent(suppression=path), ANN, BOB, CAT, MEXICO[1])
    since = "since 2026-02-25T06:13:20Z)"
    assert found == [
        f"suppression: on the list (131050: User has stopped marketing messages, {since}",
        f"suppression: on the list (undeliverable to +44******0102, {since}",
        ConsentRecord(),
        f"suppression: on the list (invalid — Not a valid WhatsApp user, {since}",
    ]


def test_who_refused_is_left_alone_by_the_next_run_with_a_table(connect: Connect) -> None:
    given = {"conn_id": "crm", "table": "do_not_message"}
    for spelling in MEXICO:
        sink = open_rejects(RejectSink.of(given), connect)
        assert sink.add([*REFUSED[:3], (spelling, None, REFUSED[3][2])]) == 3
        sink.close()
    with connect("crm").connect() as connection:
        numbers = sorted(connection.execute(sa.text("SELECT number FROM do_not_message")).scalars())
    assert numbers == sorted([ANN, BOB, MEXICO[0]])
    found = checked(
        Consent(suppression=[given, {"numbers": [CAT]}], connect=connect), ANN, CAT, MEXICO[1], "447700900104"
    )
    assert [one if isinstance(one, ConsentRecord) else one[:23] for one in found] == [
        *["suppression: on the lis"] * 3,
        ConsentRecord(),
    ]


def test_a_table_of_ones_own_is_taken_if_it_has_the_columns(connect: Connect) -> None:
    with connect("crm").begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE do_not_message (number bigint, code int, reason text, time timestamp, more text)")
        )
    given = {"conn_id": "crm", "table": "do_not_message"}
    sink = open_rejects(RejectSink.of(given), connect)
    assert [sink.add(REFUSED) for _ in range(2)] == [3, 3]
    sink.close()
    with connect("crm").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM do_not_message")).scalar() == 3
    assert checked(Consent(suppression=given, connect=connect), CAT, MEXICO[1])[0] == ConsentRecord()
    with pytest.raises(InvalidInput, match="'people' has no column number, code, reason, time"):
        open_rejects(RejectSink.of({"conn_id": "crm", "table": "people"}), connect)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("s3://bucket/a.csv", "no files that grow"),
        ("a.parquet", "ends in .parquet"),
        ({"table": "t"}, "either a path, or a conn_id and a table"),
        ({"conn_id": "c", "table": " "}, "is empty or no text"),
        ({"name": "t"}, "other names"),
        (3, "of type int"),
    ],
)
def test_a_value_that_is_no_sink(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"on_reject.*{problem}"):
        RejectSink.of(value)


def test_a_list_of_other_columns_is_not_added_to(tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", "phone", ANN)
    with pytest.raises(InvalidInput, match="other columns than number, code, reason, time"):
        open_rejects(RejectSink.of(path))
    with pytest.raises(InvalidInput, match="cannot be written"):
        open_rejects(RejectSink.of(tmp_path / "nowhere" / "list.csv"))


ADDING = """
import sys
from airflow_provider_cirrus.delivery.contact_lists.open import open_rejects
from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
sink = open_rejects(RejectSink.of(sys.argv[1]))
for number in range(200):
    sink.add([(f"4477{int(sys.argv[2]):04d}{number:04d}", 131050, "stopped, " + "x" * 100)] * 2)
"""


def test_several_processes_may_add_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.csv"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    running = [subprocess.Popen([sys.executable, "-c", ADDING, path, str(n)], env=env) for n in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["number", "code", "reason", "time"]
    assert len({row[0] for row in rows}) == 800
    assert {len(row) for row in rows} == {4}


def test_a_line_that_a_killed_process_left_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"
    path.write_text('{"number": "4477')
    sink = open_rejects(RejectSink.of(path))
    sink.add(REFUSED[:1])
    sink.close()
    with pytest.raises(InvalidInput, match=r"1 rows of .* row 1 is not JSON"):
        Consent(suppression=path)
    assert len(path.read_text().splitlines()) == 2


def test_what_cirrus_refuses_is_not_sent_again(sandbox: Sandbox, tmp_path: Path) -> None:
    ends = {"90": True, "91": True, "92": True, "94": False, "01": False}
    numbers = [f"4477009001{end}" for end in ends]
    template = Template(name="order_update", language="en", body=["7"])
    sink = open_rejects(RejectSink.of(tmp_path / "gone.csv"))
    with CirrusClient(token=sandbox.token, stream_id=sandbox.stream_id, base_url=sandbox.base_url) as client:
        sent = client.send([Message.build(number, template) for number in numbers])
    sink.add([(one.recipient, one.code, one.reason) for one in sent.results if one.reason])
    sink.close()
    found = checked(Consent(suppression=tmp_path / "gone.csv"), *numbers)
    assert [isinstance(one, str) for one in found] == list(ends.values())


def test_naming_sources_in_a_dag_file_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from airflow_provider_cirrus.delivery.rules.consent import OptIn, Suppression\n"
        "from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink\n"
        "OptIn.of({'sql': 'SELECT phone FROM c', 'conn_id': 'crm'}); Suppression.of('a.csv'); RejectSink.of('a.csv')\n"
        "print([name for name in ('sqlalchemy', 'phonenumbers', 'pyarrow', 'airflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_values_are_json(tmp_path: Path) -> None:
    value: Mapping[str, Any] = json.loads(
        json.dumps({"marketing": {"column": "agreed", "source": "web"}, "utility": {"path": "a.csv", "version": "v1"}})
    )
    found = OptIn.of(value)
    assert found.for_category("marketing") == OptIn(column="agreed", source="web")
    assert found.for_category("utility") == OptIn(FileNumbers("a.csv"), version="v1")
