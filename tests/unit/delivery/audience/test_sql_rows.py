"""Queries on SQLite, and on PostgreSQL with both of its drivers."""

from __future__ import annotations

import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience
from airflow_provider_cirrus.delivery.audience.rows import count_hint
from airflow_provider_cirrus.delivery.audience.sql_rows import Query
from airflow_provider_cirrus.delivery.errors import QueryFailed, QueryRefused

COMMON = {"template": "order_update", "language": "en"}
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i AS number FROM n"


def _sqlite(_request: pytest.FixtureRequest) -> Callable[[], Any]:
    return lambda: sqlite3.connect(":memory:")


def _psycopg2(request: pytest.FixtureRequest) -> Callable[[], Any]:
    import psycopg2

    uri = request.getfixturevalue("postgres").replace("+psycopg2", "")
    return lambda: psycopg2.connect(uri)


def _psycopg(request: pytest.FixtureRequest) -> Callable[[], Any]:
    import psycopg

    uri = request.getfixturevalue("postgres").replace("+psycopg2", "")
    return lambda: psycopg.connect(uri)


@pytest.fixture(params=[_sqlite, _psycopg2, _psycopg], ids=["sqlite3", "psycopg2", "psycopg"])
def connect(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Opens connections with one of the drivers."""
    found: Callable[[], Any] = request.param(request)
    return found


@pytest.fixture
def connection(connect: Callable[[], Any]) -> Iterator[Any]:
    with closing(connect()) as opened:
        yield opened


@pytest.fixture(params=[_psycopg2, _psycopg], ids=["psycopg2", "psycopg"])
def on_postgres(request: pytest.FixtureRequest) -> Iterator[Any]:
    with closing(request.param(request)()) as opened:
        yield opened


def test_rows_come_as_dicts_beyond_the_first_batch(connection: Any) -> None:
    query = Query(connection, MANY)
    assert not query.is_empty
    assert query.columns == ["number"]
    assert [row["number"] for row in query] == list(range(1, 3001))  # type: ignore[index]


def test_the_database_keeps_the_rows_until_they_are_needed(connection: Any) -> None:
    # Of so many rows a client would take minutes and gigabytes.
    endless = MANY.replace("3000", "1000000000") if isinstance(connection, sqlite3.Connection) else None
    rows = iter(Query(connection, endless or "SELECT * FROM generate_series(1, 20000000) AS number"))
    assert next(rows) == {"number": 1}


def test_no_rows_still_have_columns(connection: Any) -> None:
    query = Query(connection, "SELECT 1 AS phone, 2 AS name WHERE 1 = 0")
    assert query.is_empty
    assert query.columns == ["phone", "name"]
    assert list(query) == []
    with pytest.raises(InvalidInput, match="did you mean 'phone'"):
        read_audience(query, Columns(to="Phone"), COMMON)


def test_a_column_that_stands_twice_is_refused_where_it_is_used(connection: Any) -> None:
    with pytest.raises(InvalidInput, match=r"columns\.to: there are 2 columns 'phone'"):
        read_audience(Query(connection, "SELECT 1 AS phone, 2 AS phone"), Columns(to="phone"), COMMON)


def test_parameters_go_to_the_driver_and_never_into_the_text(connection: Any) -> None:
    value = "x'; DROP TABLE orders; --{{ 1/0 }}%s"
    placeholder = ":v" if isinstance(connection, sqlite3.Connection) else "%(v)s"
    assert list(Query(connection, f"SELECT CAST({placeholder} AS text) AS v", {"v": value})) == [{"v": value}]
    placeholder = "?" if isinstance(connection, sqlite3.Connection) else "%s"
    assert list(Query(connection, f"SELECT CAST({placeholder} AS text) AS v", [value])) == [{"v": value}]


def test_without_parameters_a_percent_sign_is_one(connection: Any) -> None:
    assert list(Query(connection, "SELECT 'a' AS v WHERE 'abc' LIKE 'a%'", {})) == [{"v": "a"}]


@pytest.mark.parametrize("sql", ["SELECT 1 AS v;", "SELECT 1 AS v; -- done\n", "/* ; */ SELECT 1 AS v -- ;"])
def test_one_statement_may_end_and_be_commented(connection: Any, sql: str) -> None:
    assert list(Query(connection, sql)) == [{"v": 1}]


def test_several_statements_are_refused_before_any_runs(connection: Any) -> None:
    with pytest.raises(InvalidInput, match="several statements"):
        Query(connection, "SELECT 1; DROP TABLE orders")


def test_a_semicolon_in_a_text_ends_nothing(connection: Any) -> None:
    assert list(Query(connection, "SELECT 'a;b' AS v")) == [{"v": "a;b"}]


def test_a_list_of_many_values_is_no_obstacle(connection: Any) -> None:
    many = ",".join(map(str, range(20_000)))
    assert list(Query(connection, f"SELECT 1 AS v WHERE 5 IN ({many})")) == [{"v": 1}]


def test_nothing_is_written(connect: Callable[[], Any], connection: Any) -> None:
    name = f"t{uuid.uuid4().hex}"
    with pytest.raises((InvalidInput, QueryRefused)):
        Query(connection, f"CREATE TABLE {name} (i int)")
    if not isinstance(connection, sqlite3.Connection):
        connection.rollback()
        assert list(Query(connection, f"SELECT to_regclass('{name}') AS v")) == [{"v": None}]


def test_a_query_that_the_database_does_not_take(connection: Any) -> None:
    with pytest.raises(QueryRefused, match=r"sql: the database refuses the query \(.*nowhere"):
        Query(connection, "SELECT * FROM nowhere")


def test_a_number_in_the_databases_words_is_masked(on_postgres: Any) -> None:
    with pytest.raises(QueryRefused) as caught:
        Query(on_postgres, "SELECT CAST(v AS date) AS v FROM (SELECT '+44 (7700) 900-123' AS v) AS t")
    assert "+44******0123" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_lost_connection_is_worth_another_try(on_postgres: Any) -> None:
    rows = iter(Query(on_postgres, "SELECT generate_series(1, 5000) AS v, pg_backend_pid() AS pid"))
    pid = next(rows)["pid"]  # type: ignore[index]
    with closing(_another(on_postgres)) as other:
        other.cursor().execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(QueryFailed, match="broke off") as caught:
        list(rows)
    assert caught.value.retryable


def _another(connection: Any) -> Any:
    return sys.modules[type(connection).__module__.partition(".")[0]].connect(
        host="127.0.0.1", port=connection.info.port, user="cirrus", dbname="postgres"
    )


def test_values_fill_messages(on_postgres: Any) -> None:
    when = datetime(2090, 1, 1, tzinfo=UTC)
    key = "0190b6e2-0000-7000-8000-000000000001"
    query = Query(
        on_postgres,
        "SELECT 447700900101 AS \"to\", 19.90 AS price, DATE '2030-05-17' AS day, "
        f"TIMESTAMPTZ '{when.isoformat()}' AS at, UUID '{key}' AS key",
    )
    columns = Columns(body=["price", "day"], key="key", schedule="at")
    ((_, message),) = read_audience(query, columns, COMMON)
    assert message.to == "447700900101"  # type: ignore[union-attr]
    assert list(message.template.body) == ["19.90", "2030-05-17"]  # type: ignore[union-attr]
    assert message.message_key == key  # type: ignore[union-attr]
    assert message.schedule == int(when.timestamp())  # type: ignore[union-attr]


@pytest.mark.parametrize(("column", "reason"), [("missing", "is empty"), ("bytes", "of type")])
def test_what_cannot_be_text_is_refused_with_its_row(connection: Any, column: str, reason: str) -> None:
    blob = "x'00'" if isinstance(connection, sqlite3.Connection) else "'\\x00'::bytea"
    query = Query(connection, f'SELECT 447700900101 AS "to", NULL AS missing, {blob} AS bytes')
    ((_, refused),) = read_audience(query, Columns(body=[column]), COMMON)
    assert reason in refused.reason  # type: ignore[union-attr]
    assert f"row 1, column '{column}'" in refused.reason  # type: ignore[union-attr]


def test_dicts_of_a_connection_that_returns_them_are_taken() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = lambda cursor, row: {
            column[0]: cell for column, cell in zip(cursor.description, row, strict=True)
        }
        assert list(Query(connection, "SELECT 1 AS a, 2 AS b")) == [{"a": 1, "b": 2}]


def test_how_many_rows_there_are_is_not_known() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert count_hint(Query(connection, "SELECT 1 AS a")) is None
