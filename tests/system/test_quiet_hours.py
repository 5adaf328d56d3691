"""A night between two halves of a send, in a real scheduler and triggerer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow


def where_it_is(hour: int, at: datetime) -> str:
    """The zone in which a moment is in that hour of the day."""
    # Zones of Etc have their sign the other way round.
    behind = (at.hour - hour) % 24
    return f"Etc/GMT+{behind}" if behind <= 12 else f"Etc/GMT-{24 - behind}"


def a_night_that_ends_soon() -> tuple[str, dict[str, Any]]:
    """
    A zone in which it is six in the morning, and quiet hours there from nine in the evening until a minute from now.

    The clock is not moved, but the recipient: what Airflow runs on has only one clock, for heartbeats as well.
    """
    now = datetime.now(UTC)
    end = now + timedelta(minutes=1 if now.second < 30 else 2)
    return where_it_is(6, end), {"start": "21:00", "end": f"06:{end.minute:02d}"}


def test_who_sleeps_is_messaged_in_the_morning(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    zone, quiet_hours = a_night_that_ends_soon()
    awake = {"to": "+447700900101", "zone": where_it_is(15, datetime.now(UTC))}
    asleep = [{"to": f"+4477009001{number:02d}", "zone": zone} for number in range(10, 13)]
    airflow.wait_for_dag("cirrus_quiet")
    run_id = airflow.trigger("cirrus_quiet", {"messages": [awake, *asleep], "quiet_hours": quiet_hours})
    airflow.wait_for_task("cirrus_quiet", run_id, "send", {"deferred"})
    assert [message["recipient"] for message in sandbox.messages] == ["447700900101"]
    pool = airflow.request("GET", "/api/v2/pools/default_pool")
    assert (pool["running_slots"], pool["deferred_slots"]) == (0, 1), "a worker's slot is held"

    assert airflow.wait_for_run("cirrus_quiet", run_id, timeout=240) == "success"
    assert sorted(message["recipient"] for message in sandbox.messages) == [
        "447700900101", "447700900110", "447700900111", "447700900112",
    ]  # fmt: skip
    found = airflow.xcom("cirrus_quiet", run_id, "send")
    assert (found["total"], found["accepted"], found["unsent"]) == (4, 4, 0)
    (task,) = airflow.task_instances("cirrus_quiet", run_id)
    assert task["try_number"] == 1
