"""What the sensor says when the DAG is parsed, and how it paces itself; runs are in tests/integration."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({}, "Give a status to wait for, or reply=True", id="nothing-awaited"),
        pytest.param({"status": "Rezolved"}, r"'Rezolved' is no status\. Known are Open, Resolved", id="status"),
        pytest.param({"status": ["Resolved", 0]}, "0 is no status", id="one-of-several"),
        pytest.param({"reply": True, "since": "2026-05-01T10:00:00"}, "since: .* has no time zone", id="naive-since"),
        pytest.param({"reply": True, "object_id": ""}, "object_id: is no id", id="no-id"),
        pytest.param({"reply": True, "object_id": None}, "object_id: is of type NoneType", id="none"),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        ConversationSensor(task_id="wait", **{"object_id": 70001, **given})


def test_what_is_templated_or_an_xcom_is_left_for_the_run() -> None:
    with DAG("d", schedule=None):
        send = SendTemplateOperator(task_id="send", template="t", language="en", to="+447700900123", object_data={})
        sensor = ConversationSensor(
            task_id="wait", object_id=send.output, status="{{ params.status }}", since="{{ ts }}"
        )
        ConversationSensor(task_id="wait_more", object_id="{{ params.object_id }}", reply=True)
    assert sensor.upstream_task_ids == {"send"}
    assert [name for name in sensor.template_fields if not hasattr(sensor, name)] == []


def test_retry_after_is_obeyed_but_not_beyond_the_timeout(cirrus_default: Sandbox) -> None:
    sensor = ConversationSensor(task_id="wait", object_id=70001, reply=True, poke_interval=10, timeout=100)
    cirrus_default.add_fault(on="object", status=429, retry_after=60)
    assert not sensor.poke({})
    assert len(cirrus_default.requests) == 1, "the client and the sensor both tried again"
    assert sensor._get_next_poke_interval(0.0, lambda: 0.0, 1) == 60
    assert sensor._get_next_poke_interval(0.0, lambda: 70.0, 1) == 30
    assert sensor._get_next_poke_interval(0.0, lambda: 99.0, 1) == 10


@pytest.mark.parametrize("deferrable", [False, True])
def test_soft_fail_skips_at_the_first_look_as_well(cirrus_default: Sandbox, deferrable: bool) -> None:
    given: dict[str, Any] = {"task_id": "wait", "object_id": "no-such-id", "reply": True, "deferrable": deferrable}
    with pytest.raises(AirflowSkipException):
        ConversationSensor(**given, soft_fail=True).execute({})
    with pytest.raises(AirflowFailException):
        ConversationSensor(**given).execute({})


@pytest.mark.parametrize(
    ("reply", "found"), [("{{ params.reply }}", True), ("true", True), ("{{ 'no' }}", False), ("False", False)]
)
def test_reply_is_templated(cirrus_default: Sandbox, reply: str, found: bool) -> None:
    with CirrusClient(cirrus_default.token, cirrus_default.stream_id, base_url=cirrus_default.base_url) as client:
        message = Message.build("447700900101", {"name": "t", "language": "en"}, object_data={})
        object_id = client.send([message]).results[0].object_id
    assert object_id
    cirrus_default.answer(object_id, "Yes")
    sensor = ConversationSensor(task_id="wait", object_id=object_id, reply=reply, status="Archive")
    sensor.render_template_fields({"params": {"reply": True}})
    assert bool(sensor.poke({})) is found


def test_a_reply_that_is_neither_fails_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidInput, match="neither true nor false"):
        ConversationSensor(task_id="wait", object_id=1, reply="perhaps", status="Archive")


def test_a_bad_value_in_expand_fails_for_good() -> None:
    with DAG("d", schedule=None):
        mapped = ConversationSensor.partial(task_id="wait", reply=True).expand(object_id=[5, ""])
    with pytest.raises(AirflowFailException, match="is no id of a conversation"):
        mapped.unmap({"reply": True, "object_id": ""})


def test_the_timeout_ends_a_look_that_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    class Trickle(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not over.wait(0.05):
                    self.wfile.write(b" ")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        host = f"http://127.0.0.1:{server.server_address[1]}"
        given = {"conn_type": "cirrus", "host": host, "password": "a-token", "extra": {"stream_id": "s" * 22}}
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(given))
        start = time.monotonic()
        assert not ConversationSensor(task_id="wait", object_id=1, reply=True, timeout=0.5).poke({})
        took = time.monotonic() - start
        over.set()
        server.shutdown()
    assert took < 5


def test_a_rescheduled_sensor_slows_down_though_each_look_is_a_new_process(cirrus_default: Sandbox) -> None:
    waits = []
    for waited in (0, 10, 30, 90, 270, 3000):
        sensor = ConversationSensor(
            task_id="wait", object_id=70001, reply=True, poke_interval=10, timeout=1e6, mode="reschedule"
        )
        cirrus_default.add_fault(on="object", status=500)
        assert not sensor.poke({})
        waits.append(sensor._get_next_poke_interval(0.0, lambda waited=waited: float(waited), 1))
    assert waits == [20, 20, 30, 90, 160, 160]


def test_the_wait_in_the_triggerer_begins_after_what_cirrus_asked(cirrus_default: Sandbox) -> None:
    sensor = ConversationSensor(
        task_id="wait", object_id=70001, status=["Resolved"], deferrable=True, poke_interval=10, timeout=100
    )
    cirrus_default.add_fault(on="object", status=429, retry_after=60)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    _, kwargs = deferred.value.trigger.serialize()
    assert (kwargs["first_wait"], kwargs["poll_interval"], kwargs["statuses"]) == (60, 10, [2])
    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 100


def test_what_the_trigger_could_not_mend_fails_the_task_for_good() -> None:
    sensor = ConversationSensor(task_id="wait", object_id=70001, reply=True)
    with pytest.raises(AirflowFailException, match="no token"):
        sensor.execute_complete({}, {"error": "no token"})
    assert sensor.execute_complete({}, {"found": {"reached": "reply"}}) == {"reached": "reply"}
