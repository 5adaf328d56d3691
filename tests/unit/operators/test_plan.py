"""A plan, and a send that is only what was approved."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_cirrus import QuietHours, RateCard, Rules
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators import PlanSendOperator, SendTemplateOperator
from airflow_provider_cirrus.operators.plan import PUSHED
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.plan.test_rate_card import LIST

NUMBERS = [f"+4477009001{number:02d}" for number in range(1, 21)]
SHARED: dict[str, Any] = {"template": "hello", "language": "en", "columns": {"to": "phone", "body": ["name"]}}


def rows(count: int = 20, name: str = "Ann") -> list[dict[str, str]]:
    return [{"phone": number, "name": name} for number in NUMBERS[:count]]


def run(operator: Any, attempt: int = 1) -> dict[str, Any]:
    """Run a try of an operator."""
    running = operator.prepare_for_execution()
    ti = SimpleNamespace(
        try_number=attempt, max_tries=1, dag_id="d", run_id="r", task_id=operator.task_id, map_index=-1
    )
    ti.xcom_push = lambda **_: None
    result: dict[str, Any] = running.execute({"ti": ti, "task": running, "params": {}})
    return json.loads(json.dumps(result))


def plan(audience: Any, **more: Any) -> dict[str, Any]:
    return run(PlanSendOperator(**{"task_id": "plan", **SHARED, "audience": audience, **more}))


def send(audience: Any, approved: Any, **more: Any) -> dict[str, Any]:
    return run(
        SendTemplateOperator(**{"task_id": "send", **SHARED, "audience": audience, "approved": approved, **more})
    )


def test_a_plan_sends_nothing_and_says_what_a_send_would_do(cirrus_default: Sandbox, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(LIST)
    rules = Rules(suppression=NUMBERS[:2], category="marketing")
    found = plan([*rows(), {"phone": "0123", "name": "x"}], rules=rules, rate_card=str(rates))
    assert cirrus_default.requests == []
    assert (found["total"], found["to_send"]) == (21, 18)
    assert found["outcomes"] == {"now": 18, "later": 0, "rejected": 1, "suppressed": 2, "duplicate": 0}
    assert found["countries"] == {"GB": 18}
    assert found["cost"]["at_most"] == "0.7200"
    assert found["messages_per_second"] == 80
    assert "**18 messages** of 21 would be sent" in found["markdown"]
    assert PUSHED == ("markdown", "approval")
    assert all(number.removeprefix("+") not in json.dumps(found) for number in NUMBERS)


def test_what_was_approved_is_sent(cirrus_default: Sandbox) -> None:
    approved = plan(rows())
    found = send(rows()[::-1], approved)
    assert found["accepted"] == len(cirrus_default.messages) == 20
    # The part that counts is enough, also as the text that a template renders to.
    assert send(rows(), str(approved["approval"]))["accepted"] == 20


@pytest.mark.parametrize(
    ("audience", "more", "problem"),
    [
        pytest.param(
            rows(19), {}, "20 messages were approved, 19 are there now: about 0 .* about 1 are gone", id="less"
        ),
        pytest.param(
            [*rows(), {"phone": "+447700900150", "name": "Zoe"}],
            {},
            "20 messages were approved, 21 are there now: about 1 are new or changed, about 0 are gone",
            id="more",
        ),
        pytest.param(
            [{"phone": NUMBERS[0], "name": "Other"}, *rows()[1:]],
            {},
            "the same people would get another message: about 1 of 20 differ",
            id="another-text",
        ),
        pytest.param(rows(), {"template": "goodbye"}, "the same people would get another message", id="template"),
        pytest.param(rows(), {"language": "de"}, "the same people would get another message", id="language"),
        pytest.param(rows(), {"rules": Rules(suppression=[NUMBERS[0]])}, "the rules are others", id="rules"),
        pytest.param(
            rows(),
            {"rules": Rules(quiet_hours=QuietHours("21:00", "21:01", zone="Europe/London"))},
            "the rules are others",
            id="quiet-hours",
        ),
        pytest.param(
            rows(),
            {"delivery": {"messages_per_second": 10}},
            "the rate is another: 80 were approved, now 10",
            id="rate",
        ),
        pytest.param(rows(), {"delivery": {"shard": 0, "shards": 2}}, "it is another part of the audience", id="shard"),
    ],
)
def test_what_differs_from_what_was_approved_is_not_sent(
    cirrus_default: Sandbox, audience: Any, more: dict[str, Any], problem: str
) -> None:
    approved = plan(rows())
    with pytest.raises(AirflowFailException, match=problem) as raised:
        send(audience, approved, **more)
    assert "Nobody was messaged now." in str(raised.value)
    assert cirrus_default.requests == []


def test_a_difference_that_is_tolerated_is_sent(cirrus_default: Sandbox) -> None:
    approved = plan(rows(19))
    for tolerance in (0, "1%", 0.01):
        with pytest.raises(AirflowFailException, match="not what was approved"):
            send(rows(), approved, tolerance=tolerance)
    assert cirrus_default.messages == []
    assert send(rows(), approved, tolerance=1)["accepted"] == 20
    assert send(rows(), approved, tolerance="10%")["accepted"] == 20


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_try_sends_what_was_approved_although_schedules_are_past_by_then(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    audience = [{**one, "at": 4_000_000_000 if place else 1_700_000_000} for place, one in enumerate(rows())]
    columns = {"to": "phone", "body": ["name"], "schedule": "at"}
    approved = plan(audience, columns=columns)
    assert approved["outcomes"] == {"now": 0, "later": 19, "rejected": 1, "suppressed": 0, "duplicate": 0}
    delivery = {"ledger_conn_id": "ledger", "max_failed": 1}
    given = {**SHARED, "columns": columns, "audience": audience, "approved": approved, "delivery": delivery}
    found = run(SendTemplateOperator(task_id="send", retries=1, **given), attempt)
    assert (found["accepted"], found["rejected"]) == (19, 1)


def test_who_opts_out_after_an_approval_is_left_out_and_stops_nobody(cirrus_default: Sandbox, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text(f"{NUMBERS[0]}\n")
    rules = Rules(suppression=str(out))
    approved = plan(rows(), rules=rules)
    out.write_text(f"{NUMBERS[0]}\n{NUMBERS[1]}\n")
    found = send(rows(), approved, rules=rules)
    assert (found["accepted"], found["suppressed"]) == (18, 2)


def test_who_opts_out_as_the_last_of_a_language_stops_nobody(cirrus_default: Sandbox, tmp_path: Path) -> None:
    body = {"type": "BODY", "text": "Hello dear {{1}}, welcome to us.", "example": {"body_text": [["Ann"]]}}
    for language in ("en", "de"):
        definition = {"name": "hello", "language": language, "category": "UTILITY", "components": [body]}
        (tmp_path / f"hello.{language}.json").write_text(json.dumps(definition))
    out = tmp_path / "out.txt"
    out.write_text("")
    audience = [{**one, "language": "en" if place else "de"} for place, one in enumerate(rows())]
    columns = {"to": "phone", "body": ["name"], "language": "language"}
    given: dict[str, Any] = {"columns": columns, "templates_path": str(tmp_path), "rules": Rules(suppression=str(out))}
    approved = plan(audience, **given)
    out.write_text(NUMBERS[0])
    assert send(audience, approved, **given)["accepted"] == 19


@pytest.mark.parametrize("rendered", [None, "", "None"])
def test_an_approval_that_comes_to_nothing_approves_nothing(cirrus_default: Sandbox, rendered: Any) -> None:
    operator = SendTemplateOperator(task_id="send", **SHARED, audience=rows(), approved="{{ nothing }}")
    operator.approved = rendered
    with pytest.raises(AirflowFailException, match="approved: is no result of a plan"):
        run(operator)
    assert cirrus_default.requests == []


def test_who_would_get_it_now_and_would_not_have_is_not_approved(cirrus_default: Sandbox, tmp_path: Path) -> None:
    agreed = tmp_path / "agreed.txt"
    agreed.write_text("\n".join(NUMBERS[:10]))
    rules = Rules(opt_in=str(agreed))
    approved = plan(rows(), rules=rules)
    agreed.write_text("\n".join(NUMBERS))
    with pytest.raises(AirflowFailException, match="10 were to be sent, and 20 would be now"):
        send(rows(), approved, rules=rules)
    assert cirrus_default.messages == []
    assert send(rows(), approved, rules=rules, tolerance=10)["accepted"] == 20


def test_another_definition_is_not_what_was_approved(cirrus_default: Sandbox, tmp_path: Path) -> None:
    body = {"type": "BODY", "text": "Hello dear {{1}}, welcome to us.", "example": {"body_text": [["Ann"]]}}
    definition = {"name": "hello", "language": "en", "category": "UTILITY", "components": [body]}
    path = tmp_path / "hello.en.json"
    path.write_text(json.dumps(definition))
    approved = plan(rows(), templates_path=str(tmp_path))
    assert approved["examples"][0]["text"] == "Hello dear Ann, welcome to us."
    body["text"] = "Goodbye dear {{1}}, welcome to us all."
    path.write_text(json.dumps(definition))
    with pytest.raises(AirflowFailException, match="a definition of a template is another"):
        send(rows(), approved, templates_path=str(tmp_path))
    assert cirrus_default.messages == []


@pytest.mark.parametrize("approved", [{}, {"approval": {}}, "yes", 7, [], {"approval": None}])
def test_what_is_no_plan_approves_nothing(cirrus_default: Sandbox, approved: Any) -> None:
    with pytest.raises(AirflowFailException, match="approved: is no result of a plan"):
        send(rows(), approved)
    assert cirrus_default.requests == []


def test_a_plan_of_another_format_approves_nothing(cirrus_default: Sandbox) -> None:
    approved = plan(rows())
    approved["approval"]["format"] = 2
    with pytest.raises(AirflowFailException, match="is of format 2, not 1"):
        send(rows(), approved)
    assert cirrus_default.requests == []


def test_an_approval_of_a_part_is_of_that_part(cirrus_default: Sandbox) -> None:
    parts = [{"shard": shard, "shards": 2} for shard in range(2)]
    approved = [plan(rows(), delivery=part) for part in parts]
    assert sum(one["to_send"] for one in approved) == 20
    sent = [send(rows(), one, delivery=part)["accepted"] for one, part in zip(approved, parts, strict=True)]
    assert sum(sent) == 20
    with pytest.raises(AirflowFailException, match="another part of the audience"):
        send(rows(), approved[0], delivery=parts[1])


def test_a_plan_of_nobody(cirrus_default: Sandbox) -> None:
    with pytest.raises(AirflowSkipException, match="There is nothing to plan"):
        plan([])
    assert plan([], on_empty="succeed")["to_send"] == 0
    with pytest.raises(AirflowFailException, match="There is nothing to plan"):
        plan([], on_empty="fail")


def test_a_plan_of_numbers_and_of_messages(cirrus_default: Sandbox) -> None:
    one = {"task_id": "plan", "template": "hello", "language": "en"}
    assert run(PlanSendOperator(**one, to=NUMBERS[:3], body=["x"]))["to_send"] == 3
    messages = [{"to": NUMBERS[0], "body": ["x"]}, {"to": NUMBERS[1], "body": ["y"]}]
    assert run(PlanSendOperator(**one, messages=messages))["to_send"] == 2


def test_a_wrong_price_list_is_told_before_anything_is_read(cirrus_default: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match="rate_card: cannot be read: FileNotFoundError"):
        plan(rows(), rate_card=str(tmp_path / "nowhere.csv"))
    with pytest.raises(InvalidInput, match="rate_card: has no 'file'"):
        PlanSendOperator(task_id="plan", **SHARED, audience=rows(), rate_card={"file": "x"})
    with pytest.raises(InvalidInput, match="tolerance"):
        SendTemplateOperator(task_id="send", **SHARED, audience=rows(), tolerance="some")


def test_a_price_list_may_be_an_object(cirrus_default: Sandbox, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(LIST)
    card = RateCard(str(rates), {"KE": "Rest of Africa"})
    audience = [{"phone": "+254712123456", "name": "x"}]
    found = plan(audience, rate_card=card, rules=Rules(category="utility"))
    assert found["cost"]["at_most"] == "0.0040"


def test_a_plain_task_sends_what_was_approved(cirrus_default: Sandbox) -> None:
    approved = plan(rows())
    ti = SimpleNamespace(try_number=1, max_tries=0, dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=print)
    context: Any = {"ti": ti, "task": SimpleNamespace(retries=0), "params": {}}
    hook = CirrusHook()
    given: dict[str, Any] = {**SHARED, "context": context, "approved": approved}
    with pytest.raises(AirflowFailException, match="not what was approved"):
        hook.deliver(**given, audience=rows(3))
    # What can be read only once could not be sent after it was looked at.
    with pytest.raises(AirflowFailException, match="audience: is a list_iterator, which can be read only once"):
        hook.deliver(**given, audience=iter(rows()))
    assert cirrus_default.messages == []
    assert hook.deliver(**given, audience=rows())["accepted"] == 20


def test_what_a_plan_does_not_tell_is_said(cirrus_default: Sandbox, tmp_path: Path) -> None:
    found = plan(rows(), columns={"to": "phone", "body": ["name"], "key": "name"})
    assert any("message keys" in note for note in found["notes"])
    assert any("templates have no definitions" in note for note in found["notes"])
    for note in found["notes"]:
        assert note.split(" (")[0] in found["markdown"]


def test_a_plan_is_a_page_of_one_file_in_which_a_text_is_no_more_than_text(
    cirrus_default: Sandbox, tmp_path: Path
) -> None:
    rates, page = tmp_path / "rates.csv", tmp_path / "made" / "plan.html"
    rates.write_text(LIST)
    people = [*rows(3, "<script>alert(1)</script>"), {"phone": "0123", "name": "<b>x</b>"}]
    rules = Rules(suppression=NUMBERS[:1], category="marketing")
    found = plan(people, rules=rules, rate_card=str(rates), page=str(page))
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "2 of 4" in text
    assert f"{found['cost']['at_most']} USD" in text
    assert re.findall(r"(?<!\d)\d{11,13}(?!\d)", text) == []
    assert "http" not in text
    assert cirrus_default.requests == []


@pytest.mark.parametrize("page", ["/tmp/plan.csv", "plan", 7])
def test_a_page_that_is_none_fails_the_parse(page: Any) -> None:
    with pytest.raises(InvalidInput, match=r"page: .* does not end in \.html"):
        PlanSendOperator(task_id="plan", **SHARED, audience="a.csv", page=page)


def test_a_page_that_cannot_be_written_fails_the_plan(cirrus_default: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AirflowFailException, match=r"page: .* cannot be written"):
        plan(rows(), page=str(tmp_path / "file" / "plan.html"))


def test_a_plan_says_what_is_left_of_the_days_budget(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    more: dict[str, Any] = {"rules": {"daily_budget": 12}, "delivery": {"ledger_conn_id": "ledger"}}
    first = plan(rows(), **more)
    assert first["budget"] == {"people": 12, "left": 12}
    assert "Of the day's budget of 12 people, 12 are left, so some wait for another day." in first["markdown"]
    assert plan(rows(), rules=more["rules"])["budget"] is None
    run(SendTemplateOperator(task_id="send", **SHARED, audience=rows(5), **more))
    assert plan(rows(), **more)["budget"] == {"people": 12, "left": 7}
    assert "are left." in plan(rows(7), **more)["markdown"]
