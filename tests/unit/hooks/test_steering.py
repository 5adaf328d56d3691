"""A task that people steer: what a clear takes back, how it waits, and where nobody could say anything."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.engine import helm
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.delivery.steering.sql import SqlSteering
from airflow_provider_cirrus.delivery.steering.state import PROGRESS, WISH
from airflow_provider_cirrus.delivery.steering.wish import Wish
from airflow_provider_cirrus.operators import SendTemplateOperator
from airflow_provider_cirrus.retries import CirrusUnsentError
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import need_task_state_store
from tests.unit.delivery.stores import Store

PEOPLE = [f"+4477009001{place:02d}" for place in range(30)]


class Deferred(Exception):
    pass


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm, "_LOOK", 0.02)


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    made = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", made)
    return made


@pytest.fixture
def steering(uri: str) -> SqlSteering:
    return SqlSteering(engine_for(uri), "shop/r/send")


def send(
    *, try_number: int = 1, max_tries: int = 2, store: Any = None, ledger: str | None = "ledger", **delivery: Any
) -> Any:
    given = Delivery(ledger_conn_id=ledger, messages_per_second=100_000, **delivery)
    task = SendTemplateOperator(task_id="send", template="offer", language="en", to=PEOPLE, delivery=given, retries=2)

    def defer(*, trigger: Any, method_name: str) -> None:
        raise Deferred(method_name)

    task.defer = defer  # type: ignore[method-assign, assignment]
    ti = SimpleNamespace(
        try_number=try_number, max_tries=max_tries, dag_id="shop", run_id="r", task_id="send", map_index=-1
    )
    ti.xcom_push = lambda key, value: None
    context: Any = {"ti": ti, "task": task, **({} if store is None else {"task_state_store": store})}
    return task.execute(context)


def test_a_stopped_task_is_not_retried_and_a_clear_takes_the_stop_back(
    cirrus_default: Sandbox, steering: SqlSteering
) -> None:
    steering.write(Wish("stopped", None, "jane", 1.0))
    for number in (1, 2):
        with pytest.raises(AirflowFailException, match=r"the send was stopped by jane\.\nWhat to do: .*clear the task"):
            send(try_number=number)
    assert cirrus_default.messages == []
    assert send(try_number=3, max_tries=4)["accepted"] == len(PEOPLE)
    assert steering.read() is None


def test_a_clear_leaves_a_pause(cirrus_default: Sandbox, steering: SqlSteering) -> None:
    steering.write(Wish("paused", 5.0, "jane", 1.0))
    with pytest.raises(Deferred, match="resume"):
        send(try_number=3, max_tries=4, pause_defer_after=0.01)
    assert cirrus_default.messages == []
    assert steering.read() == Wish("paused", 5.0, "jane", 1.0)


def test_where_nothing_can_be_deferred_the_next_try_looks_again(
    cirrus_default: Sandbox, steering: SqlSteering, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_cirrus.hooks.cirrus import CirrusHook

    steering.write(Wish("paused", None, "jane", 1.0))
    ti = SimpleNamespace(try_number=1, max_tries=2, dag_id="shop", run_id="r", task_id="send", map_index=-1)
    ti.xcom_push = lambda key, value: None
    context: Any = {"ti": ti, "task": SimpleNamespace(retries=2, do_xcom_push=True)}
    with pytest.raises(CirrusUnsentError, match="The send is paused: 30 messages left"):
        CirrusHook().deliver(
            to=PEOPLE,
            template="offer",
            language="en",
            delivery={"ledger_conn_id": "ledger", "pause_defer_after": 0.01},
            context=context,
        )
    assert cirrus_default.messages == []


def test_airflows_own_store_is_read_and_told_as_well(cirrus_default: Sandbox, steering: SqlSteering) -> None:
    need_task_state_store()
    store = Store()
    store.set(WISH, Wish("stopped", None, "the page", 5.0).to_value(), retention=timedelta.max)
    steering.write(Wish("running", None, "jane", 1.0))
    with pytest.raises(AirflowFailException, match="stopped by the page"):
        send(store=store)
    assert store[PROGRESS]["counts"]["unsent"] == len(PEOPLE)
    # Whoever speaks last is heard.
    steering.write(Wish("running", None, "jane", 9.0))
    assert send(store=store, try_number=2)["accepted"] == len(PEOPLE)
    assert store[PROGRESS]["state"] == "ended"


def test_a_wish_that_is_none_lets_nothing_leave(cirrus_default: Sandbox, uri: str) -> None:
    need_task_state_store()
    store = Store()
    store.set(WISH, {"state": "asleep"}, retention=timedelta.max)
    with pytest.raises(AirflowFailException, match=r"wish\.state: is none of running, paused, stopped"):
        send(store=store)
    assert cirrus_default.messages == []


def test_where_nobody_could_resume_a_canary_is_no_question(cirrus_default: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="canary_then: needs a place"):
        send(ledger=None, canary=5, canary_then="pause")
    assert cirrus_default.messages == []


def test_a_database_without_the_right_to_make_a_table_sends_all_the_same(
    cirrus_default: Sandbox, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow_provider_cirrus.delivery.errors import LedgerError
    from airflow_provider_cirrus.delivery.steering import sql

    def refuse(*_: Any) -> None:
        raise LedgerError("no right", hint="CREATE TABLE cirrus_steering")

    # What a database answers whose account may not create: the ledger's own tables are there.
    monkeypatch.setattr(sql, "make_table", refuse)
    assert send()["accepted"] == len(PEOPLE)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"canary_then": "ask"}, "canary_then"),
        ({"pause_defer_after": 0}, "pause_defer_after"),
        ({"pause_defer_after": "soon"}, "pause_defer_after"),
    ],
)
def test_a_slip_fails_the_parse(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(task_id="send", template="offer", language="en", to=PEOPLE, delivery=given)
