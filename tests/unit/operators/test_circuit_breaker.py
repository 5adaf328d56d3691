"""A send that stops by itself, over HTTP, with a ledger: what its tries say, and what a clear does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus import CircuitBreaker, Delivery
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import to_plain
from airflow_provider_cirrus.operators import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    return "ledger"


def people(count: int) -> list[str]:
    # Numbers that end in 90 and above mean something to the sandbox.
    return [f"+4477009{index // 90:03d}{index % 90:02d}" for index in range(count)]


def send(count: int, ledger: str, *, try_number: int = 1, max_tries: int = 3, **delivery: Any) -> dict[str, Any]:
    given = Delivery(ledger_conn_id=ledger, messages_per_second=100_000, **delivery)
    task = SendTemplateOperator(
        task_id="send", template="offer", language="en", to=people(count), delivery=given, retries=3
    )
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        try_number=try_number,
        max_tries=max_tries,
        dag_id="shop",
        run_id="r",
        task_id="send",
        map_index=-1,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    try:
        return task.execute({"ti": ti, "task": task})  # type: ignore[no-any-return]
    except AirflowFailException as error:
        error.pushed = pushed["return_value"]  # type: ignore[attr-defined]
        raise


def test_a_wrong_template_costs_twenty_people_and_not_a_thousand(cirrus_default: Sandbox, ledger: str) -> None:
    cirrus_default.add_fault(
        on="send", action="refuse", failed={"code": 132000, "message": "parameters differ"}, times=None
    )
    with pytest.raises(AirflowFailException) as caught:
        send(1000, ledger)
    said = str(caught.value)
    assert "in a row came back rejected" in said
    assert "132000" in said
    assert "clear the task" in said
    found = caught.value.pushed  # type: ignore[attr-defined]
    assert 20 <= found["rejected"] <= 20 * 24
    assert found["unsent"] == 1000 - found["rejected"]
    asked = len(cirrus_default.requests)
    # A worker that is lost before Airflow hears of it: the next try knows, and sends nothing.
    with pytest.raises(AirflowFailException, match="in a row came back rejected"):
        send(1000, ledger, try_number=2)
    assert len(cirrus_default.requests) == asked
    # The cause is mended, and the task is cleared: the others get theirs, and nobody a second one.
    cirrus_default.clear_faults()
    with pytest.raises(AirflowFailException, match="max_failed") as caught:
        send(1000, ledger, try_number=3, max_tries=5)
    after = caught.value.pushed  # type: ignore[attr-defined]
    assert after["rejected"] == found["rejected"]
    assert after["accepted"] == len({one["recipient"] for one in cirrus_default.messages}) == found["unsent"]


def test_without_a_circuit_breaker_everybody_is_asked(cirrus_default: Sandbox, ledger: str) -> None:
    cirrus_default.add_fault(on="send", action="refuse", failed={"code": 131026, "message": "no"}, times=None)
    assert send(300, ledger, circuit_breaker=False, max_failed=1.0)["rejected"] == 300


def test_a_limit_that_is_off_stays_off_in_what_an_operator_keeps(cirrus_default: Sandbox, ledger: str) -> None:
    cirrus_default.add_fault(on="send", action="refuse", failed={"code": 131026, "message": "no"}, times=None)
    breaker = CircuitBreaker(max_in_a_row=None, max_rejected=None)
    assert send(60, ledger, circuit_breaker=breaker, max_failed=1.0)["rejected"] == 60
    kept = to_plain(Delivery(circuit_breaker=breaker))
    assert kept == {"circuit_breaker": {"max_in_a_row": None, "max_rejected": None}}
    assert CircuitBreaker.of(kept["circuit_breaker"]) == breaker


def test_the_first_go_alone_and_the_others_wait_for_their_outcomes(cirrus_default: Sandbox, ledger: str) -> None:
    cirrus_default.add_fault(on="send", action="refuse", failed={"code": 131026, "message": "no"}, times=None)
    with pytest.raises(AirflowFailException) as caught:
        send(1000, ledger, canary=5, circuit_breaker=CircuitBreaker(max_in_a_row=None))
    assert "5 of all 5 messages that Cirrus was sent are rejected" in str(caught.value)
    assert caught.value.pushed["unsent"] == 995  # type: ignore[attr-defined]


def test_a_good_canary_lets_the_others_follow(
    cirrus_default: Sandbox, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert send(1000, ledger, canary="100")["accepted"] == 1000
    assert "nothing speaks against the others" in caplog.text


def test_an_audience_smaller_than_its_canary_is_sent(cirrus_default: Sandbox, ledger: str) -> None:
    assert send(7, ledger, canary=100)["accepted"] == 7


def test_a_run_that_rejected_all_of_its_few_has_stopped_nothing(cirrus_default: Sandbox, ledger: str) -> None:
    cirrus_default.add_fault(on="send", action="refuse", failed={"code": 131026, "message": "no"}, times=None)
    with pytest.raises(AirflowFailException) as caught:
        send(20, ledger)
    assert "in a row" not in str(caught.value)


def test_shards_share_the_canary() -> None:
    assert Delivery(canary=100, shard=0, shards=8).first_messages() == 13
    assert Delivery(canary=3, shard=7, shards=8).first_messages() == 1


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"canary": 0}, "canary", id="none"),
        pytest.param({"canary": "some"}, "canary", id="words"),
        pytest.param({"circuit_breaker": 0.5}, "circuit_breaker: is of type float", id="number"),
        pytest.param({"circuit_breaker": {"max_rejected": 50}}, "no share", id="percent"),
    ],
)
def test_a_slip_fails_the_parse(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(task_id="send", template="offer", language="en", to="+447700900123", delivery=given)
