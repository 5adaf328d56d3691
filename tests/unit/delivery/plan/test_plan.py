"""One pass over an audience: what sending it would come to."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.delivery import deliver
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.engine.machine import Machine
from airflow_provider_cirrus.delivery.engine.parts import Options
from airflow_provider_cirrus.delivery.engine.reader import Reader
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.plan.plan import EXAMPLES, Plan, Planner, as_dict
from airflow_provider_cirrus.delivery.plan.rate_card import RateCard
from airflow_provider_cirrus.delivery.plan.words import markdown
from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.delivery.rules.policy import Policy, allowlist_of
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
from airflow_provider_cirrus.templates import Templates
from tests.unit.delivery.plan.test_rate_card import LIST
from tests.unit.templates.definitions import ORDER

STREAM = "hNyRN_fLUy7rrOrN9jLpipA=="
COLUMNS = Columns(to="phone", body=["name"])
COMMON = {"template": "hello", "language": "en"}
# A Friday, 22:30 in London, 17:30 in New York.
NIGHT = datetime(2026, 11, 20, 22, 30, tzinfo=UTC).timestamp()


def messages(rows: list[dict[str, Any]], columns: Columns = COLUMNS, **common: Any) -> Any:
    found, _ = deliver.messages_of(
        {**COMMON, **common}, audience=rows, columns=columns, not_before=NIGHT, may_be_empty=True
    )
    return found


def plan(rows: list[dict[str, Any]], policy: Policy | None = None, columns: Columns = COLUMNS, **more: Any) -> Plan:
    planner = Planner(STREAM, policy or Policy(), now=NIGHT, **more)
    return planner.plan(messages(rows, columns))


def row(phone: str = "+447700900101", name: str = "Ann", **more: Any) -> dict[str, Any]:
    return {"phone": phone, "name": name, **more}


def test_everybody_is_counted_once() -> None:
    screen = allowlist_of(["+44", "+1202"])
    with Consent(suppression=["+447700900102"]) as consent:
        made = plan(
            [
                row(),
                row(),
                row("+447700900102"),
                row("+12025550143", "Ben"),
                row("+13055550143", "Cat"),
                row("07700 900103"),
                row("+447700900104", ""),
            ],
            Policy(screen, consent=consent),
        )
    assert made.outcomes == {"now": 2, "duplicate": 1, "suppressed": 2, "rejected": 2}
    assert made.total == 7
    assert made.countries == {"GB": 1, "US": 1}
    assert made.rules == {"suppression": 1, "allowed_recipients": 1}
    assert made.templates == {("hello", "en"): 2}
    assert sum(one.count for one in made.reasons) == 4


def test_who_is_asleep_is_for_later_and_when_they_wake_is_told() -> None:
    quiet = QuietHours("21:00", "08:00")
    made = plan([row(), row("+12125550143")], Policy(quiet_hours=quiet))
    assert made.outcomes == {"now": 1, "later": 1}
    assert made.first_wake == made.last_wake == datetime(2026, 11, 21, 8, 0, tzinfo=UTC).timestamp()
    found = as_dict(made, rate=80, prices=None, templates=None, begins=NIGHT)
    assert found["asleep"] == {
        "first_wakes_at": "2026-11-21T08:00:00+00:00",
        "last_wakes_at": "2026-11-21T08:00:00+00:00",
    }
    assert found["ends_at"] == "2026-11-21T08:00:00+00:00"
    suppressing = QuietHours("21:00", "08:00", on_quiet="suppress")
    assert plan([row()], Policy(quiet_hours=suppressing)).outcomes == {"suppressed": 1}


def test_a_schedule_is_for_later_and_one_that_is_past_is_rejected() -> None:
    columns = Columns(to="phone", body=["name"], schedule="at")
    rows = [row(at=NIGHT + 3600), row("+447700900102", at=NIGHT - 3600)]
    assert plan(rows, columns=columns).outcomes == {"later": 1, "rejected": 1}


def test_it_says_how_long_it_takes() -> None:
    rows = [row(f"+4477009{number:05d}") for number in range(800)]
    found = as_dict(plan(rows), rate=80, prices=None, templates=None, begins=NIGHT)
    assert (found["seconds"], found["ends_at"]) == (10.0, "2026-11-20T22:30:10+00:00")
    assert found["outcomes"] == {"now": 800, "later": 0, "rejected": 0, "suppressed": 0, "duplicate": 0}


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    body = {"type": "BODY", "text": "Hello dear {{1}}, welcome to us.", "example": {"body_text": [["Ann"]]}}
    for language, category in (("en", "MARKETING"), ("pt_BR", "UTILITY")):
        one = {"name": "hello", "language": language, "category": category, "components": [body]}
        (tmp_path / f"hello.{language}.json").write_text(json.dumps(one))
    (tmp_path / "order_update.en.json").write_text(json.dumps(ORDER))
    return Templates(str(tmp_path))


def test_the_category_is_that_of_the_definition_and_gives_the_price(templates: Templates, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(LIST)
    columns = Columns(to="phone", body=["name"], language="language")
    rows = [
        row(language="en"),
        row("+447700900102", language="pt_BR"),
        row("+12025550143", language="en"),
        row("+254712123456", language="en"),
        row("+4915112345678", language="de"),
    ]
    made = plan(rows, columns=columns, templates=templates)
    assert made.categories == {"marketing": 3, "utility": 1, "unknown": 1}
    prices = RateCard(rates, {"KE": "Rest of Africa"}).prices()
    found = as_dict(made, rate=80, prices=prices, templates=templates)
    assert found["cost"] == {
        "currency": "USD",
        "at_most": "0.0930",
        "markets": [
            {"market": "United Kingdom", "messages": 2, "at_most": "0.0550"},
            {"market": "North America", "messages": 1, "at_most": "0.0200"},
            {"market": "Rest of Africa", "messages": 1, "at_most": "0.0180"},
        ],
        "without_price": 1,
    }
    # What the task says wins.
    assert plan(rows, columns=columns, templates=templates, category="utility").categories == {"utility": 5}


def test_examples_are_the_longest_and_the_shortest_of_each_language(templates: Templates) -> None:
    columns = Columns(to="phone", body=["name"], language="language")
    names = ["Ann", "Bartholomew the Third", "Al", "Chloe"]
    rows = [row(f"+44770090010{n}", name, language="en") for n, name in enumerate(names)]
    rows.append(row("+447700900120", "Zoe", language="pt_BR"))
    found = as_dict(plan(rows, columns=columns, templates=templates), rate=1, prices=None, templates=templates)
    assert [(one["language"], one["kind"], one["text"]) for one in found["examples"]] == [
        ("en", "long", "Hello dear Bartholomew the Third, welcome to us."),
        ("en", "short", "Hello dear Al, welcome to us."),
        ("pt_BR", "long", "Hello dear Zoe, welcome to us."),
    ]


def test_there_are_ten_examples_at_most_and_no_whole_number_in_them() -> None:
    columns = Columns(to="phone", body=["name"], language="language")
    rows = [row(f"+4477009001{n:02d}", f"call +447700900199, {'x' * n}", language=f"l{n % 15}") for n in range(60)]
    found = as_dict(plan(rows, columns=columns), rate=1, prices=None, templates=None)
    assert len(found["examples"]) == EXAMPLES
    assert "7700900199" not in json.dumps(found["examples"])


def test_many_templates_are_counted_as_others() -> None:
    columns = Columns(to="phone", body=["name"], template="template")
    made = plan([row(f"+44770{n:07d}", template=f"t{n}") for n in range(250)], columns=columns)
    assert len(made.templates) == 201
    assert made.templates["others", "others"] == 50
    assert made.to_send == 250


def test_people_can_read_it(templates: Templates, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(LIST)
    hostile = "<b>| [x](javascript:1) `*_\nsecond line"
    with Consent(suppression=["+447700900102"]) as consent:
        made = plan(
            [row(), row("+447700900102"), row("+4470", hostile), row("+12025550143", "Ben")],
            Policy(consent=consent),
            templates=templates,
        )
    found = as_dict(made, rate=80, prices=RateCard(rates).prices(), templates=templates, begins=NIGHT)
    text = markdown({**found, "notes": [hostile]})
    assert text.startswith(
        "**2 messages** of 4 would be sent: at 80 a second that takes 0 s, and ends at 2026-11-20T22:30"
    )
    assert "Not sent: 1 rejected, 1 suppressed." in text
    assert "It costs **0.0600 USD** at most" in text
    assert "| GB | 1 |" in text
    assert "    Hello dear Ann, welcome to us." in text
    assert "<b>" not in text
    assert r"\[x\](javascript:1)" in text


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "phone": st.sampled_from(
                ["+447700900101", "+447700900102", "+12025550143", "+5511912345678", "+551112345678", "0123", ""]
            ),
            "name": st.sampled_from(["Ann", "Ben", ""]),
            "at": st.sampled_from(["", NIGHT + 3600, NIGHT - 3600, "never"]),
        }
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(["defer", "schedule", "suppress", None]), st.booleans())
def test_a_plan_counts_what_a_dry_run_counts(rows: list[Any], on_quiet: Any, has_list: bool) -> None:
    """The plan is a quick way; a dry run is what the engine itself says."""
    columns = Columns(to="phone", body=["name"], schedule="at")
    quiet = None if on_quiet is None else QuietHours("21:00", "08:00", on_quiet=on_quiet)
    with Consent(suppression=["+447700900102"] if has_list else None, opt_in=None) as consent:
        policy = Policy(consent=consent if has_list else None, quiet_hours=quiet, clock=lambda: NIGHT)
        made = plan(rows, policy, columns)
        machine = Machine(Options(dry_run=True, timing=policy.timing if policy.has_quiet_hours else None), 0.0)
        with closing(TempIndex()) as index:
            items = Reader(index, STREAM, None, policy).items(list(messages(rows, columns)), NIGHT)
            machine.rows(items, 0.0, NIGHT)
    told = Counter(str(one.entry.outcome) for one in machine.effects().tell)
    assert made.total == told.total() == len(rows)
    assert {name: made.outcomes[name] for name in ("duplicate", "suppressed", "rejected")} == {
        name: told[name] for name in ("duplicate", "suppressed", "rejected")
    }
    assert made.to_send == told["unsent"]


def test_the_same_audience_in_another_order_has_the_same_digest() -> None:
    rows = [row(f"+44770090010{n}", f"Name {n}") for n in range(9)]
    assert plan(rows).messages == plan(rows[::-1]).messages
    assert plan(rows).messages.differs_by(plan(rows[1:]).messages) == 1
    other = [*rows[1:], row("+447700900100", "Somebody else")]
    assert plan(rows).messages.differs_by(plan(other).messages) == 2
    assert plan(rows).recipients == plan(other).recipients
