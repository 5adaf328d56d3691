"""A number is checked once by a task, whatever becomes of its tries."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.delivery.errors import LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import TaskTry
from airflow_provider_cirrus.operators.checked_numbers import CheckedNumbers
from airflow_provider_cirrus.operators.cirrus import ValidateContactOperator
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import need_task_state_store
from tests.unit.delivery.stores import Store

NUMBER, OTHER = "447700900101", "447700900102"


class Cirrus:
    """Counts who is asked for."""

    def __init__(self, *answers: Any) -> None:
        self.asked = 0
        self._answers = list(answers)

    def __call__(self) -> bool:
        self.asked += 1
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, BaseException):
            raise answer
        return bool(answer)


def ask(store: Any, cirrus: Cirrus, try_number: int = 1, max_tries: int = 2, number: str = NUMBER) -> bool:
    need_task_state_store()
    return CheckedNumbers(store, "r", TaskTry(try_number, max_tries, 2)).once(number, cirrus)


def test_a_retry_takes_the_answer_that_was_given() -> None:
    store, cirrus = Store(), Cirrus(False)
    assert [ask(store, cirrus), ask(store, cirrus, 2), ask(store, cirrus, 3, 4)] == [False] * 3
    assert cirrus.asked == 1


def test_a_lost_answer_is_not_asked_for_again() -> None:
    store, cirrus = Store(), Cirrus(errors.NoAnswer("lost"))
    with pytest.raises(errors.NoAnswer):
        ask(store, cirrus)
    with pytest.raises(AirflowFailException, match="its answer is lost"):
        ask(store, cirrus, 2)
    assert cirrus.asked == 1


def test_what_certainly_was_not_asked_is_asked_by_the_next_try_and_by_no_other() -> None:
    store, cirrus = Store(), Cirrus(errors.NotConnected("refused"), True)
    with pytest.raises(errors.NotConnected):
        ask(store, cirrus)
    assert ask(store, cirrus, 2)
    assert ask(store, cirrus, 3)
    assert cirrus.asked == 2


def test_a_clear_that_empties_the_store_asks_nobody_again() -> None:
    cirrus = Cirrus()
    with pytest.raises(AirflowFailException, match=r"was cleared.*not asking again.*ledger_conn_id"):
        ask(Store(), cirrus, 2, 3)
    assert cirrus.asked == 0


def test_a_clear_that_keeps_the_store_asks_for_another_number() -> None:
    store, cirrus = Store(), Cirrus()
    ask(store, cirrus)
    assert ask(store, cirrus, 2, 3, number=OTHER)
    assert cirrus.asked == 2


def test_a_try_that_was_lost_before_it_asked_does_not_stand_in_the_way() -> None:
    store, cirrus = Store(), Cirrus()
    assert ask(store, cirrus, 2)
    # And what it remembers is there after a clear.
    assert ask(store, cirrus, 3, 4)
    assert cirrus.asked == 1


def test_a_late_write_of_an_earlier_try_asks_nobody_again() -> None:
    writes: list[tuple[str, Any]] = []

    class Telling(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            writes.append((key, value))
            super().set(key, value, retention=retention)

    store, cirrus = Telling(), Cirrus(errors.NotConnected("refused"), True)
    with pytest.raises(errors.NotConnected):
        ask(store, cirrus)
    early = list(writes)
    assert ask(store, cirrus, 2)
    for key, value in early:
        store[key] = value
        with suppress(AirflowFailException):
            ask(store, cirrus, 3)
    assert cirrus.asked == 2


def test_nobody_is_asked_where_it_could_not_be_remembered() -> None:
    class Broken(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            raise TimeoutError

    cirrus = Cirrus()
    with pytest.raises(LedgerUnavailable):
        ask(Broken(), cirrus)
    assert cirrus.asked == 0


def test_what_an_earlier_version_remembered_holds() -> None:
    import hashlib

    name = hashlib.blake2b(f"r {NUMBER}".encode(), digest_size=16).hexdigest()
    cirrus = Cirrus()
    assert ask(Store({name: "valid"}), cirrus, 2, 3)
    assert cirrus.asked == 0


def test_the_connections_database_remembers_what_was_asked_for_all_tasks(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(run_id: str) -> Any:
        ti = SimpleNamespace(dag_id="shop", run_id=run_id, task_id="validate", map_index=-1, try_number=1, max_tries=0)
        made = ValidateContactOperator(task_id="validate", phone_number=NUMBER, opt_in=True, max_age=3600)
        return made.execute({"ti": ti})  # type: ignore[typeddict-item]

    with pytest.raises(AirflowFailException, match=r"max_age: needs a database.*ledger_conn_id"):
        execute("1")
    assert cirrus_default.requests == []
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{cirrus_default.connection_uri}&ledger_conn_id=shop_db")
    assert execute("1") == execute("2") == {"valid": True, "phone_number": NUMBER}
    # The same, said for all that is delivered.
    said = f"{cirrus_default.connection_uri}&delivery=%7B%22ledger_conn_id%22%3A+%22shop_db%22%7D"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", said)
    assert execute("3") == {"valid": True, "phone_number": NUMBER}
    assert len(cirrus_default.requests) == 1
