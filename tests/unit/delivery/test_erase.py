from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore
from airflow_provider_cirrus.delivery.erase import erase
from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, is_global, key_of, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.places import claim

STREAM = "hNyRN_fLUy7rrOrN9jLpipA%3d%3d"
ANN, BEN = "5215512345678", "447700900102"
TASK = "dag/run/task"
NOTHING = {"messages": 0, "slots": 0, "budget": 0, "checks": 0, "unattributed_messages": 0}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def message(to: str, order: str) -> Message:
    template: dict[str, Any] = {"name": "order_update", "language": "en"}
    return Message.model_validate({"to": to, "template": template, "message_key": order})


def send(engine: Engine, to: str, order: str) -> tuple[bool, bool]:
    """Claim a message as a task does; return whether cap and ledger let it through, and settle it."""
    key = key_of(message(to, order), STREAM)
    ledger = opened(engine, is_global=is_global)
    caps = FrequencyCapStore.beside(ledger)
    refused = claim(caps, FrequencyCap(2, days=7), [(person_of(to), key)])
    held = ledger.commit([key], [], {key: person_of(to)})
    if not refused and not held:
        ledger.commit([], [(key, Entry(Outcome.ACCEPTED, "m1"))])
    return not refused, not held


def opened(engine: Engine, **rest: Any) -> SqlLedger:
    ledger = SqlLedger(engine, TASK, "try", **rest)
    ledger.open(TaskTry())
    return ledger


def test_everything_about_a_person_goes_and_nothing_about_others(engine: Engine) -> None:
    for to in (ANN, BEN):
        assert send(engine, to, "A-1") == send(engine, to, "A-2") == (True, True)
        assert send(engine, to, "A-3")[0] is False
        CheckStore(engine).once(STREAM, to, lambda: True, owner=TASK)
    # Her other spelling.
    assert erase(engine, "+52 55 1234 5678") == {**NOTHING, "messages": 3, "slots": 2, "checks": 1}
    assert send(engine, ANN, "A-1") == (True, True), "something is remembered of her"
    assert CheckStore(engine).answer(STREAM, ANN) is None
    assert send(engine, BEN, "A-1")[1] is False, "somebody else was forgotten, too"
    assert CheckStore(engine).answer(STREAM, BEN) is True
    assert erase(engine, BEN) == {**NOTHING, "messages": 3, "slots": 2, "checks": 1}
    assert erase(engine, BEN) == NOTHING


def test_no_row_of_hers_is_left_in_any_table(engine: Engine) -> None:
    send(engine, ANN, "A-1")
    CheckStore(engine).once(STREAM, ANN, lambda: True, owner=TASK)
    erase(engine, ANN)
    with engine.connect() as connection:
        tables = sa.inspect(engine).get_table_names()
        text = "".join(str(row) for table in tables for row in connection.execute(sa.text(f"SELECT * FROM {table}")))
    assert person_of(ANN).hex() not in text


def test_messages_that_do_not_say_whose_they_are_stay_and_are_counted(engine: Engine) -> None:
    opened(engine).commit([key_of(message(ANN, "A-1"), STREAM)], [])
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE cirrus_ledger DROP COLUMN person"))
    assert erase(engine, ANN) == {**NOTHING, "unattributed_messages": 1}


def test_a_database_without_tables_stays_without(engine: Engine) -> None:
    assert erase(engine, ANN) == NOTHING
    assert sa.inspect(engine).get_table_names() == []


def test_what_is_no_number_is_told(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="number: has no country code"):
        erase(engine, "07700 900123")


def test_a_database_that_fails_is_told() -> None:
    engine = engine_for("sqlite:////nowhere/to/be/found.db")
    with pytest.raises(LedgerError, match="nothing was erased"):
        erase(engine, ANN)
    engine.dispose()


def test_an_argentine_is_forgotten_in_either_spelling_and_a_brazilian_landline_is_not_a_mobile(engine: Engine) -> None:
    for place, number in enumerate(("541123456789", "5491123456789", "551134567890", "5511934567890")):
        send(engine, number, str(place))
    assert erase(engine, "+54 9 11 2345 6789")["messages"] == 2
    assert erase(engine, "+55 11 3456-7890")["messages"] == 1
    assert erase(engine, "+55 11 93456-7890")["messages"] == 1


def test_a_database_that_is_made_is_its_owners_alone(engine: Engine, tmp_path: Path) -> None:
    send(engine, "447700900101", "1")
    for path in tmp_path.glob("ledger.db*"):
        assert path.stat().st_mode & 0o777 == 0o600
