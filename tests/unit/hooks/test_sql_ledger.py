from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, person_of
from airflow_provider_cirrus.delivery.opening import slots_beside
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from tests.places import claim, release

ANN = person_of("447700900101")


@pytest.fixture
def ledger_conn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")


def opened(map_index: int = -1) -> Any:
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=map_index)
    ledger = CirrusHook().sql_ledger("ledger", ti)
    ledger.open(TaskTry())
    return ledger


@pytest.mark.usefixtures("ledger_conn")
def test_places_are_those_of_the_try_that_has_the_ledger() -> None:
    key, cap = bytes(12), FrequencyCap(1, days=1)
    first = opened()
    slots = slots_beside(first)
    assert claim(slots, cap, [(ANN, key)]) == set()
    second = opened()
    with pytest.raises(LedgerSuperseded):
        release(slots, [(ANN, key)])
    with pytest.raises(LedgerSuperseded):
        first.commit([key], [])
    assert claim(slots_beside(second), cap, [(ANN, key)]) == set()


@pytest.mark.usefixtures("ledger_conn")
def test_mapped_tasks_of_a_run_share_what_they_remember() -> None:
    key = bytes(12)
    one, two = opened(0), opened(1)
    assert one.commit([key], []) == {}
    one.commit([], [(key, Entry(Outcome.ACCEPTED))])
    assert two.commit([key], [])[key].reason == "another task sent it: accepted"


def test_a_cap_without_a_database_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ledger_conn_id"):
        slots_beside(None)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        pytest.param("sqlite:///ledger.db", "relative path 'ledger.db'", id="relative"),
        pytest.param("sqlite:///data/ledger.db", "relative path 'data/ledger.db'", id="folder"),
        pytest.param('{"conn_type": "sqlite", "host": "./ledger.db"}', "relative path './ledger.db'", id="host"),
        pytest.param('{"conn_type": "sqlite", "host": ":memory:"}', "ends with the process", id="memory"),
        pytest.param('{"conn_type": "sqlite"}', "ends with the process", id="empty"),
    ],
)
def test_a_ledger_that_another_worker_would_not_find_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", uri)
    with pytest.raises(InvalidInput, match=problem) as caught:
        opened()
    assert "four slashes" in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "a file was made"


def test_what_is_only_read_may_be_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "sqlite:///crm.db")
    assert CirrusHook().source_engine("crm").url.database == "crm.db"
