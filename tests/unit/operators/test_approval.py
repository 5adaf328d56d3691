"""Asking people on WhatsApp: who is asked, how often, and what is refused before anybody is."""

from __future__ import annotations

import copy
import pickle
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import AIRFLOW, need_task_state_store, since
from tests.unit.delivery.stores import Store

if AIRFLOW >= (3, 1):
    from airflow_provider_cirrus.operators import CirrusApprovalOperator

pytestmark = since(3, 1, has="people to ask")

ANN, BEN = "+44 7700 900221", "+44 7700 900222"
DIGITS = ["447700900221", "447700900222"]
GIVEN: dict[str, Any] = {
    "subject": "Send it?",
    "body": "The plan.",
    "approvers": {"Ann": ANN, "Ben": BEN},
    "message": {"template": "approve", "language": "en", "body": ["News"]},
}
DEFINITION = """{"name": "approve", "language": "en", "category": "UTILITY", "components": [
    {"type": "BODY", "text": "*{{1}}* waits.", "example": {"body_text": [["News"]]}},
    {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Approve"},
                                    {"type": "QUICK_REPLY", "text": "Not now"}]}]}"""


def operator(**more: Any) -> Any:
    return CirrusApprovalOperator(**{"task_id": "approve", **GIVEN, **more})


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow was asked to put on its own page."""
    from airflow.sdk.execution_time import hitl

    found: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **given: found.append(given))
    return found


class Try:
    """One try of a task after another, with the same memory."""

    def __init__(self, operator: Any) -> None:
        self.operator = operator
        self.store = Store()
        self.pushed: dict[str, Any] = {}

    def context(self, attempt: int = 1) -> Any:
        ti = SimpleNamespace(
            id=uuid.UUID(int=7),
            try_number=attempt,
            max_tries=1,
            dag_id="d",
            run_id="r",
            task_id="approve",
            map_index=-1,
            xcom_push=lambda key, value: self.pushed.update({key: value}),
        )
        run = SimpleNamespace(start_date=datetime(2026, 5, 1, tzinfo=UTC), clear_number=0)
        found = {"ti": ti, "task_instance": ti, "task": self.operator, "params": {}, "dag_run": run}
        return found if AIRFLOW < (3, 3) else {**found, "task_state_store": self.store}

    def deferred(self, attempt: int = 1) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            self.operator.prepare_for_execution().execute(self.context(attempt))
        return deferred.value


def test_each_approver_is_asked_and_the_task_waits(cirrus_default: Sandbox, requests: list[dict[str, Any]]) -> None:
    deferred = Try(operator(defaults="Reject", response_timeout=timedelta(hours=1))).deferred()
    assert [one["recipient"] for one in cirrus_default.messages] == DIGITS
    (request,) = requests
    assert {name: request[name] for name in ("subject", "body", "options", "defaults", "multiple")} == {
        "subject": "Send it?",
        "body": "The plan.",
        "options": ["Approve", "Reject"],
        "defaults": ["Reject"],
        "multiple": False,
    }
    path, kept = deferred.trigger.serialize()
    assert path.endswith("ApprovalTrigger")
    assert [question["name"] for question in kept["questions"]] == ["Ann", "Ben"]
    talks = [str(talk["objectId"]) for talk in cirrus_default.conversations]
    assert [question["object_id"] for question in kept["questions"]] == talks
    # 2026-05-01 is when the run began.
    assert kept["not_before"] == 1777593600.0
    assert 0 < kept["deadline"] - datetime.now(UTC).timestamp() <= 3600
    assert deferred.method_name == "execute_complete"
    for number in (*DIGITS, ANN, BEN):
        assert number not in str(kept)


def test_a_later_try_asks_nobody_again_and_hears_the_same(
    cirrus_default: Sandbox, requests: list[dict[str, Any]]
) -> None:
    need_task_state_store()
    tries = Try(operator(retries=1))
    first = tries.deferred().trigger.serialize()[1]["questions"]
    again = tries.deferred(attempt=2).trigger.serialize()[1]["questions"]
    assert again == first
    assert len(cirrus_default.messages) == 2


def test_who_cannot_be_asked_fails_the_task_before_it_waits(
    cirrus_default: Sandbox, requests: list[dict[str, Any]]
) -> None:
    made = operator(approvers=[ANN, "+44 7700 900290"])
    with pytest.raises(AirflowFailException, match="1 accepted, 1 rejected"):
        made.prepare_for_execution().execute(Try(made).context())
    allowed = Try(operator(approvers=[ANN, "+44 7700 900290"], delivery={"max_failed": 1})).deferred()
    (question,) = allowed.trigger.serialize()[1]["questions"]
    assert question["name"] == "+44******0221"


def test_a_dry_run_asks_in_airflow_only(cirrus_default: Sandbox, requests: list[dict[str, Any]]) -> None:
    deferred = Try(operator(delivery={"dry_run": True})).deferred()
    assert deferred.trigger.serialize()[1]["questions"] == []
    assert len(requests) == 1
    assert cirrus_default.messages == []


def test_a_cirrus_that_opens_no_conversation_is_found_out(
    cirrus_default: Sandbox, requests: list[dict[str, Any]]
) -> None:
    ids = {
        "status": "200",
        "data": [{"id": f"m{n}", "recipient": number, "status": 200} for n, number in enumerate(DIGITS)],
    }
    cirrus_default.add_fault(on="send", status=200, body=ids)
    made = operator()
    with pytest.raises(AirflowFailException, match="no conversation"):
        made.prepare_for_execution().execute(Try(made).context())


def test_whoever_sleeps_is_asked_later_and_a_decision_meanwhile_counts(
    cirrus_default: Sandbox, requests: list[dict[str, Any]]
) -> None:
    need_task_state_store()
    now = datetime.now(ZoneInfo("Europe/London"))
    quiet = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=2):%H:%M}"}
    tries = Try(operator(rules={"quiet_hours": quiet}))
    deferred = tries.deferred()
    assert deferred.method_name == "resume"
    assert cirrus_default.messages == []
    running = tries.operator.prepare_for_execution()
    event = {
        "chosen_options": ["Approve"],
        "params_input": {},
        "responded_at": now,
        "responded_by_user": {"id": "7", "name": "Cem"},
    }
    assert running.resume(tries.context(), event)["channel"] == "airflow"
    with pytest.raises(TaskDeferred) as again:
        running.resume(tries.context(), {"at": 1.0, "begun": 0})
    assert again.value.method_name == "resume"
    assert len(requests) == 1, "asking Airflow again would take an answer away"


def test_a_rejection_leaves_a_result(cirrus_default: Sandbox, requests: list[dict[str, Any]]) -> None:
    tries = Try(operator())
    event = {
        "chosen_options": ["Reject"],
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": None,
        "timedout": True,
    }
    tries.operator.execute_complete(tries.context(), event)
    assert tries.pushed["return_value"]["channel"] == "timeout"


def test_what_cirrus_refuses_while_waiting_fails_for_good(cirrus_default: Sandbox) -> None:
    tries = Try(operator())
    with pytest.raises(AirflowFailException, match="token"):
        tries.operator.execute_complete(tries.context(), {"error": "The token is wrong.", "error_type": "cirrus"})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"approvers": []}, "approvers: are 0"),
        ({"approvers": {f"n{n}": f"+4477009002{n:02d}" for n in range(21)}}, "approvers: are 21"),
        ({"approvers": {"Ann": ANN, "Ann at home": "+447700900221"}}, "has the number of another approver"),
        ({"approvers": {"Ann": "07700 900221"}}, "approvers['Ann']: has no country code"),
        ({"approvers": [ANN, "x"]}, "approvers[1]"),
        ({"approvers": 1.5}, "approvers: is of type float"),
        ({"message": {"template": "approve"}}, "message.language: is missing"),
        ({"message": {"template": "approve", "language": "en", "text": "Send it?"}}, "message: has no 'text'"),
        ({"message": {"template": "approve", "language": "en", "body": [""]}}, "body"),
        ({"message": "approve"}, "message: is of type str"),
        ({"answers": {"Yes": ["Approve"]}}, "answers: 'Yes' is no option"),
        ({"poll_interval": 0}, "poll_interval: 0 is no time span"),
        ({"params": {"why": ""}}, "params: cannot be filled in"),
        ({"rules": {"sleep": 1}}, "rules"),
        ({"delivery": {"max_failed": -1}}, "max_failed"),
    ],
)
def test_a_slip_in_the_dag_file_fails_its_parse(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as error:
        operator(**given)
    assert problem in str(error.value)
    assert "900221" not in str(error.value)


def test_a_quick_reply_that_would_decide_nothing_is_refused(
    cirrus_default: Sandbox, requests: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "approve.json").write_text(DEFINITION)
    made = operator(templates_path=str(tmp_path))
    with pytest.raises(AirflowFailException, match="the quick reply 'Not now' of template 'approve'"):
        made.prepare_for_execution().execute(Try(made).context())
    assert cirrus_default.messages == []
    Try(operator(templates_path=str(tmp_path), answers={"Reject": "Not now"})).deferred()
    assert len(cirrus_default.messages) == 2


def test_templates_in_it_are_rendered_and_numbers_are_shown_masked() -> None:
    with DAG("d", schedule=None):
        made = operator(
            approvers="{{ params.who }}",
            message={"template": "approve", "language": "en", "body": ["{{ params.what }}"]},
            body="{{ params.what }}",
        )
    made = made.prepare_for_execution()
    made.render_template_fields({"params": {"who": "['+44 7700 900221']", "what": "News"}})
    assert (made.message["body"], made.body) == (["News"], "News")
    assert "900221" not in str(made.approvers.serialize())


def test_it_can_be_copied_and_pickled() -> None:
    made = operator()
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert [getattr(again, name) for name in made.template_fields] == [
            getattr(made, name) for name in made.template_fields
        ]
