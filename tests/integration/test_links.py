"""The link to the conversation, as real DAG runs leave it for Airflow's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

RunDag = Callable[..., Any]
VENDOR = "https://manage.commbox.io/widget/object"


def opened(run: Any, task_id: str, map_index: int = -1) -> list[str]:
    return [o["object_id"] for o in run.xcom(task_id, map_index)["outcomes"] if o["object_id"]]


def test_a_send_links_to_the_conversation_that_it_opened(run_dag: RunDag) -> None:
    run = run_dag("cirrus_links", "linked")
    assert run.states["failing"] == "failed"
    for task_id, index in (("one", -1), ("failing", -1), ("mapped", 0), ("mapped", 1)):
        (object_id,) = opened(run, task_id, index)
        assert run.xcom(task_id, index, "conversation_url") == f"{VENDOR}/{object_id}"
    assert run.xcom("mapped", 0, "conversation_url") != run.xcom("mapped", 1, "conversation_url")
    for task_id in ("without", "rejected"):
        assert not run.xcom(task_id, key="conversation_url")
        assert run.states[task_id] == "success"


@pytest.mark.parametrize(
    ("console_url", "base"),
    [
        pytest.param("https%3A%2F%2Fc.example.com%2Fcrm%2F", "https://c.example.com/crm/widget/object", id="own"),
        pytest.param("c.example.com", None, id="wrong"),
    ],
)
def test_the_console_comes_from_the_connection(
    run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, console_url: str, base: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&console_url={console_url}")
    run = run_dag("cirrus_links", "linked_one")
    assert run.state == "success", "a link is no reason to fail"
    (object_id,) = opened(run, "one")
    assert (run.xcom("one", key="conversation_url") or "") == (f"{base}/{object_id}" if base else "")
