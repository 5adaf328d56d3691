"""Shards that divide a rate, where not all of them can run at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.operators import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox

PEOPLE = [f"+4477009001{place:02d}" for place in range(8)]
WARNING = "4 shards divide the rate, and no more than 2 of them run at once"


def send(dag_slots: int = 16, delivery: dict[str, Any] | None = None, **limits: int) -> Any:
    task = SendTemplateOperator(
        task_id="send",
        template="offer",
        language="en",
        to=PEOPLE,
        delivery=Delivery(shard=0, shards=4, **(delivery or {})),
        **limits,
    )
    ti = SimpleNamespace(try_number=1, max_tries=0, dag_id="shop", run_id="r", task_id="send", map_index=0)
    ti.xcom_push = lambda key, value: None
    return task.execute({"ti": ti, "task": task, "dag": SimpleNamespace(max_active_tasks=dag_slots)})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"dag_slots": 2}, id="of-the-dag"),
        pytest.param({"max_active_tis_per_dag": 2}, id="of-the-task"),
        pytest.param({"max_active_tis_per_dagrun": 2, "max_active_tis_per_dag": 3}, id="of-the-task-in-a-run"),
    ],
)
def test_shards_that_cannot_all_run_at_once_are_warned_of(
    cirrus_default: Sandbox, capsys: pytest.CaptureFixture[str], given: dict[str, int]
) -> None:
    send(**given)
    said = "".join(capsys.readouterr())
    assert said.count(WARNING) == 1
    assert "give the Cirrus connection a ledger_conn_id" in said


@pytest.mark.parametrize("given", [{}, {"max_active_tis_per_dag": 4}, {"dag_slots": 2, "delivery": {"dry_run": True}}])
def test_others_are_not(cirrus_default: Sandbox, capsys: pytest.CaptureFixture[str], given: dict[str, Any]) -> None:
    send(**given)
    said = "".join(capsys.readouterr())
    assert "messages of template 'offer'" in said
    assert "divide the rate" not in said


def test_with_a_database_nothing_goes_unused(
    cirrus_default: Sandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    send(dag_slots=2, delivery={"ledger_conn_id": "ledger"})
    said = "".join(capsys.readouterr())
    assert "messages of template 'offer'" in said
    assert "divide the rate" not in said
