"""The trigger that waits for a decision, against a sandbox; Airflow's record stands beside it, as its API has it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cirrus.api.approval import Question
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.triggers import approval as module
from airflow_provider_cirrus.triggers.approval import ApprovalTrigger
from tests.lines import since
from tests.unit.triggers.test_cirrus import first, looked, open_conversation

pytestmark = since(3, 1, has="people to ask")

ANN, BEN = "447700900221", "447700900222"


@dataclass
class Record:
    """Airflow's record of one request: it takes one decision."""

    chosen: list[str] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    user: Any = None
    asked: int = 0
    lost: bool = False

    def get(self, ti_id: uuid.UUID) -> Any:
        self.asked += 1
        return SimpleNamespace(
            response_received=bool(self.chosen),
            chosen_options=self.chosen,
            params_input=self.said,
            responded_by_user=self.user,
            responded_at=datetime(2026, 5, 1, tzinfo=UTC) if self.chosen else None,
        )

    def update(self, ti_id: uuid.UUID, chosen_options: list[str], params_input: dict[str, Any]) -> Any:
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.comms import ErrorResponse

        if self.chosen or self.lost:
            raise AirflowRuntimeError(ErrorResponse())
        self.chosen, self.said = chosen_options, params_input
        return self.get(ti_id)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    from airflow.sdk.execution_time import hitl

    made = Record()
    monkeypatch.setattr(hitl, "get_hitl_detail_content_detail", made.get)
    monkeypatch.setattr(hitl, "update_hitl_detail_response", made.update)
    monkeypatch.setattr(module, "_FIRST_LOOK", 0.0)
    return made


def asked(sandbox: Sandbox, **numbers: str) -> list[dict[str, Any]]:
    found = []
    for name, number in numbers.items():
        object_id = open_conversation(sandbox, number)
        message_id = sandbox.messages[-1]["id"]
        found.append(Question.of(name, number, object_id, message_id).as_dict())
    return found


def trigger(questions: list[dict[str, Any]], **more: Any) -> ApprovalTrigger:
    """One as a triggerer makes it from the database."""
    made = ApprovalTrigger(
        ti_id=uuid.uuid4(), options=["Approve", "Reject"], questions=questions, poll_interval=0.1, **more
    )
    path, kwargs = made.serialize()
    assert path == "airflow_provider_cirrus.triggers.approval.ApprovalTrigger"
    return ApprovalTrigger(**json.loads(json.dumps(kwargs)))


def decided(made: ApprovalTrigger, sandbox: Sandbox, *after: Callable[[], Any]) -> dict[str, Any]:
    """What it says in the end, where something happens after each second look."""

    async def wait() -> Any:
        event = asyncio.create_task(first(made.run()))
        for times, act in enumerate(after, 1):
            await looked(sandbox, 2 * times)
            assert not event.done()
            act()
        return await event

    found: dict[str, Any] = asyncio.run(wait())
    return found


def test_the_first_answer_on_the_phone_decides(cirrus_default: Sandbox, record: Record) -> None:
    questions = asked(cirrus_default, Ann=ANN, Ben=BEN)

    def answer() -> None:
        cirrus_default.answer(questions[1]["object_id"], "approve")
        cirrus_default.answer(questions[0]["object_id"], "Reject")

    found = decided(trigger(questions), cirrus_default, answer)
    assert found == {
        "chosen_options": ["Approve"],
        "params_input": {},
        "responded_at": datetime(2026, 5, 1, tzinfo=UTC),
        "responded_by_user": {"id": "whatsapp:Ben", "name": "Ben"},
        "timedout": False,
        "channel": "whatsapp",
    }
    assert record.said == {"answered_by": "Ben"}
    assert {request["method"] for request in cirrus_default.requests[2:]} == {"GET"}


def test_who_answers_in_airflow_decides_and_the_phone_is_late(cirrus_default: Sandbox, record: Record) -> None:
    questions = asked(cirrus_default, Ann=ANN)

    def answer() -> None:
        record.chosen, record.user = ["Reject"], SimpleNamespace(id="7", name="Cem")
        cirrus_default.answer(questions[0]["object_id"], "Approve")

    found = decided(trigger(questions), cirrus_default, answer)
    assert (found["chosen_options"], found["channel"]) == (["Reject"], "airflow")
    assert found["responded_by_user"] == {"id": "7", "name": "Cem"}
    assert record.chosen == ["Reject"]


def test_of_two_decisions_in_the_same_moment_airflows_record_holds(
    cirrus_default: Sandbox, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    cirrus_default.answer(questions[0]["object_id"], "Approve")
    write = record.update

    def too_late(ti_id: uuid.UUID, chosen_options: list[str], params_input: dict[str, Any]) -> Any:
        # Somebody's click comes between the trigger's two requests.
        record.chosen, record.user = ["Reject"], SimpleNamespace(id="7", name="Cem")
        return write(ti_id, chosen_options, params_input)

    from airflow.sdk.execution_time import hitl

    monkeypatch.setattr(hitl, "update_hitl_detail_response", too_late)
    found = decided(trigger(questions), cirrus_default)
    assert (found["chosen_options"], found["channel"]) == (["Reject"], "airflow")


def test_a_decision_that_cannot_be_recorded_is_none(cirrus_default: Sandbox, record: Record) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError

    questions = asked(cirrus_default, Ann=ANN)
    cirrus_default.answer(questions[0]["object_id"], "Approve")
    record.lost = True
    with pytest.raises(AirflowRuntimeError):
        decided(trigger(questions), cirrus_default)


def test_a_triggerer_that_died_after_it_recorded_a_decision_tells_the_same(
    cirrus_default: Sandbox, record: Record
) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    record.chosen, record.said = ["Approve"], {"answered_by": "Ann"}
    cirrus_default.answer(questions[0]["object_id"], "Reject")
    found = decided(trigger(questions), cirrus_default)
    assert (found["chosen_options"], found["channel"]) == (["Approve"], "whatsapp")
    assert found["responded_by_user"]["name"] == "Ann"


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        (["Reject"], {"chosen_options": ["Reject"], "channel": "timeout", "timedout": True}),
        (None, {"error": "Nobody answered in time, and there is no default.", "error_type": "timeout"}),
    ],
)
def test_where_nobody_answers_in_time_the_default_decides(
    cirrus_default: Sandbox, record: Record, defaults: Any, expected: dict[str, Any]
) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    found = decided(trigger(questions, deadline=time.time() + 0.5, defaults=defaults), cirrus_default)
    assert {name: found[name] for name in expected} == expected
    assert record.chosen == (defaults or [])


def test_an_answer_before_the_end_is_heard_after_it(cirrus_default: Sandbox, record: Record) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    cirrus_default.answer(questions[0]["object_id"], "Approve")
    # The triggerer was away for the time in which it would have looked.
    found = decided(trigger(questions, deadline=time.time() - 60, defaults=["Reject"]), cirrus_default)
    assert (found["chosen_options"], found["channel"]) == (["Approve"], "whatsapp")


def test_a_busy_cirrus_does_not_hide_what_airflow_knows(cirrus_default: Sandbox, record: Record) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    cirrus_default.add_fault(on="object", times=50, status=503)
    made = trigger(questions)

    async def wait() -> Any:
        event = asyncio.create_task(first(made.run()))
        async with asyncio.timeout(20):
            while record.asked < 5:
                await asyncio.sleep(0.02)
        record.chosen, record.user = ["Approve"], SimpleNamespace(id="7", name="Cem")
        return await event

    assert asyncio.run(wait())["channel"] == "airflow"


def test_a_conversation_that_is_gone_leaves_the_others(
    cirrus_default: Sandbox, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    gone = Question.of("Ben", BEN, "99999999", None).as_dict()
    act = [lambda: cirrus_default.answer(questions[0]["object_id"], "Approve")]
    found = decided(trigger([gone, *questions]), cirrus_default, *act)
    assert found["responded_by_user"]["name"] == "Ann"
    assert "".join(capsys.readouterr()).count("The conversation with Ben is gone") == 1


def test_what_no_waiting_would_mend_ends_it(cirrus_default: Sandbox, record: Record) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    cirrus_default.add_fault(on="object", status=401)
    found = decided(trigger(questions), cirrus_default)
    assert found["error_type"] == "cirrus"
    assert cirrus_default.token not in found["error"]


def test_what_means_nothing_is_told_once(
    cirrus_default: Sandbox, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = asked(cirrus_default, Ann=ANN)
    talk = questions[0]["object_id"]
    acts = [lambda: cirrus_default.answer(talk, "What is it?"), lambda: cirrus_default.answer(talk, "Approve")]
    assert decided(trigger(questions), cirrus_default, *acts)["chosen_options"] == ["Approve"]
    told = "".join(capsys.readouterr())
    assert told.count("Ann wrote what is none of Approve, Reject") == 1
    assert "What is it?" not in told
