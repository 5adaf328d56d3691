"""What an approver's answer means, and whose answers count."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.approval import Meanings, Question, answers_in, first_of
from airflow_provider_cirrus.api.errors import InvalidInput, UnreadableAnswer
from airflow_provider_cirrus.api.results import Conversation

OPTIONS = ("Approve", "Reject")
ANN = "447700900221"
QUESTION = Question.of("Ann", ANN, "70001", "m1")


def said(text: str, second: int, **more: Any) -> dict[str, Any]:
    message = {"id": f"c{second}", "message": text, "createdTime": f"2026-05-01T10:00:{second:02d}Z"}
    return {**message, "user": {"isManager": False}, **more}


def conversation(*childs: dict[str, Any], asked: int | None = 10) -> Conversation:
    own = [] if asked is None else [said("[approve]", asked, id="m1", user={"isManager": True})]
    return Conversation.read({"objectId": 70001, "childs": [*own, *childs]})


def options(*childs: dict[str, Any], asked: int | None = 10, not_before: float = 0.0) -> list[str | None]:
    meanings = Meanings(OPTIONS, {"Approve": ["Yes, send it", "👍"]})
    return [one.option for one in answers_in(conversation(*childs, asked=asked), QUESTION, meanings, not_before)]


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("Approve", "Approve"),
        (" approve! ", "Approve"),
        ("REJECT.", "Reject"),
        ("yes,  send it", "Approve"),
        ("👍", "Approve"),
        ("Do not approve", None),
        ("Yes", None),
        ("", None),
        (None, None),
    ],
)
def test_a_text_means_an_option_or_none(text: str | None, option: str | None) -> None:
    assert Meanings(OPTIONS, {"Approve": ["Yes, send it", "👍"]}).option_of(text) == option


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"Maybe": ["Hm"]}, "'Maybe' is no option"),
        ({"Approve": ["OK"], "Reject": ["ok."]}, "'ok.' means 'Approve', too"),
        ({"Approve": "Reject"}, "'Reject' means 'Reject', too"),
        ({"Approve": [1]}, "holds a int"),
        ({"Approve": 1}, "is of type int"),
        (["Yes"], "is of type list"),
    ],
)
def test_answers_that_would_decide_nothing_or_two_things_are_refused(answers: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match="answers") as error:
        Meanings(OPTIONS, answers)
    assert problem in str(error.value)


def test_only_what_the_approver_wrote_after_the_question_counts() -> None:
    assert options(
        said("Approve", 9),
        said("Reject", 11, user={"isManager": True}),
        said("Reject", 12, user=None),
        said("Approve", 13),
        said("What is it?", 14),
    ) == ["Approve", None]


def test_who_was_not_asked_decides_nothing() -> None:
    assert options(said("Approve", 11, user={"isManager": False, "Phone1": "447700900222"})) == []
    assert options(said("Approve", 11, user={"isManager": False, "phone": "+44 7700 900222"})) == []
    for own in (ANN, "+44 7700 900221", "07700900221", 447700900221):
        assert options(said("Approve", 11, user={"isManager": False, "Phone1": own})) == ["Approve"]


def test_where_the_question_is_not_seen_the_run_begins_what_counts() -> None:
    # 2026-05-01T10:00:12Z
    start = 1777629612.0
    assert options(said("Reject", 11), said("Approve", 13), asked=None, not_before=start) == ["Approve"]


def test_an_answer_of_no_time_is_no_answer() -> None:
    with pytest.raises(UnreadableAnswer):
        options(said("Approve", 11, createdTime="soon"))


def test_the_first_that_means_something_decides() -> None:
    meanings = Meanings(OPTIONS)
    found = list(
        answers_in(conversation(said("Reject", 14), said("Hm", 11), said("Approve", 13)), QUESTION, meanings, 0)
    )
    first = first_of(found)
    assert first is not None
    assert (first.option, first.name) == ("Approve", "Ann")
    assert first_of(found[1:2]) is None


def test_a_question_holds_no_number() -> None:
    kept = str(QUESTION.as_dict())
    assert "900221" not in kept
    assert Question(**QUESTION.as_dict()) == QUESTION
