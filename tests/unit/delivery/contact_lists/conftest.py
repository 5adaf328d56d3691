"""What tests of lists share: a database that holds some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.lines import POSTGRES_DRIVERS
from tests.unit.delivery.people import ANN, BRAZIL, MEXICO, Connect


@pytest.fixture(params=["sqlite", *POSTGRES_DRIVERS])
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
