"""Columns, Rules, Delivery and Report: what users may write, and what becomes of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_cirrus
from airflow_provider_cirrus import (
    Columns,
    Delivery,
    FileNumbers,
    FrequencyCap,
    OptIn,
    QuietHours,
    Report,
    Rules,
    SqlNumbers,
    Suppression,
)
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import to_plain
from airflow_provider_cirrus.delivery.options import at_the_edge, options_of, with_defaults
from airflow_provider_cirrus.delivery.rules import consent, frequency_cap, quiet_hours

HOURS = QuietHours("21:00", "08:00", days={"sunday": "all"}, holidays=[date(2027, 12, 25)], zone="Europe/London")
AGREED = OptIn(SqlNumbers("SELECT phone FROM c", "crm", parameters={"t": "{{ params.t }}"}), source="web form")


def test_they_are_exported_from_the_root() -> None:
    for name in airflow_provider_cirrus.__all__:
        assert getattr(airflow_provider_cirrus, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Column'"):
        _ = airflow_provider_cirrus.Column


@pytest.mark.parametrize("options", [Columns(), Rules(), Delivery(), Report()])
def test_they_are_frozen(options: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        options.anything = 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(Columns(to="phone", body=("name",)), {"to": "phone", "body": ["name"]}, id="columns"),
        pytest.param(Columns(body={"who": "name"}), {"body": {"who": "name"}}, id="columns-by-name"),
        pytest.param(Delivery(max_failed=0, shards=2, shard=0), {"max_failed": 0, "shards": 2, "shard": 0}, id="zero"),
        pytest.param(Rules(category="{{ params.c }}"), {"category": "{{ params.c }}"}, id="template"),
        pytest.param(
            Rules(opt_in=AGREED),
            {
                "opt_in": {
                    "numbers": {"sql": "SELECT phone FROM c", "conn_id": "crm", "parameters": {"t": "{{ params.t }}"}},
                    "source": "web form",
                }
            },
            id="query",
        ),
        pytest.param(
            Rules(suppression=[Suppression("a.csv", strict=False), {"path": "b.csv"}]),
            {"suppression": [{"numbers": {"path": "a.csv"}, "strict": False}, {"path": "b.csv"}]},
            id="lists",
        ),
        pytest.param(
            Rules(suppression=Suppression(["+44 7700 900101"])),
            {"suppression": {"numbers": ["447700900101"]}},
            id="numbers",
        ),
        pytest.param(
            Rules(quiet_hours=HOURS, frequency_cap=FrequencyCap(3, days=7)),
            {"quiet_hours": HOURS.to_dict(), "frequency_cap": {"max_messages": 3, "days": 7}},
            id="objects",
        ),
        pytest.param(
            Report(Path("r.csv"), recipients="hash"), {"path": Path("r.csv"), "recipients": "hash"}, id="path"
        ),
    ],
)
def test_they_become_plain_and_plain_becomes_them(given: Any, expected: dict[str, Any]) -> None:
    assert to_plain(given) == expected
    # What is plain says the same, and is plain.
    again = options_of(type(given), expected, "it")
    assert to_plain(again) == expected


def test_what_is_plain_opens_as_what_it_was() -> None:
    rules = options_of(
        Rules, to_plain(Rules(opt_in=AGREED, quiet_hours=HOURS, frequency_cap=FrequencyCap(1, hours=2))), ""
    )
    assert consent.OptIn.of(rules.opt_in) == AGREED
    assert quiet_hours.QuietHours.of(rules.quiet_hours) == HOURS
    assert frequency_cap.FrequencyCap.of(rules.frequency_cap) == FrequencyCap(1, hours=2)
    by_category = Rules(opt_in=OptIn(by_category={"marketing": FileNumbers("a.csv"), "utility": OptIn(column="ok")}))
    again = options_of(Rules, to_plain(by_category), "rules")
    assert consent.OptIn.of(again.opt_in) == by_category.opt_in


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        pytest.param(
            Delivery, {"max_fail": 1}, "delivery: has no 'max_fail'. The names are mode, max_failed", id="name"
        ),
        pytest.param(Rules, ["447700900101"], "rules: is of type list.", id="list"),
        pytest.param(Columns, "phone", "columns: is of type str.", id="text"),
        pytest.param(Delivery, Rules(), "delivery: is of type Rules.", id="another"),
        pytest.param(Report, 5, "report: is of type int.", id="number"),
    ],
)
def test_what_is_none_is_refused(kind: Any, value: Any, problem: str) -> None:
    name = kind.__name__.lower()
    with pytest.raises(InvalidInput) as raised:
        options_of(kind, value, name)
    assert problem in str(raised.value)
    with pytest.raises(InvalidInput):
        at_the_edge(kind, value, name)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(Delivery(mode="exactly_once"), "delivery.mode: 'exactly_once' is unknown", id="mode"),
        pytest.param(Delivery(dry_run="perhaps"), "dry_run: 'perhaps' is neither true nor false", id="switch"),
        pytest.param(Delivery(shards=2), "shard: and shards go together", id="shards"),
        pytest.param(Report("r.csv", if_exists="append"), "report.if_exists: 'append' is unknown", id="if-exists"),
        pytest.param(Report("r.csv", recipients="none"), "report.recipients: 'none' is unknown", id="recipients"),
        pytest.param(Rules(max_suppressed=-1), "max_suppressed: -1 is no count", id="max-suppressed"),
        pytest.param(Rules(quiet_hours={"start": "9"}), "quiet_hours: lacks 'end'", id="hours"),
        pytest.param(Rules(on_reject="list.txt"), "on_reject: ends in .txt", id="on-reject"),
        pytest.param(Columns(body="name"), "columns.body: is a text", id="columns"),
    ],
)
def test_what_is_written_out_is_checked(options: Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        options.check()
    assert problem in str(raised.value)


def test_what_is_templated_is_checked_later() -> None:
    Delivery(mode="{{ a }}", max_failed="{{ b }}", shard="{{ c }}", shards=3, dry_run="{{ d }}").check()
    Rules(opt_in="{{ a }}", category="{{ b }}", quiet_hours="{{ c }}", max_suppressed="{{ d }}").check()


def test_what_is_said_wins_over_defaults_name_by_name() -> None:
    defaults = Delivery(max_failed=0.01, ledger_conn_id="shared", dry_run=True)
    assert with_defaults(Delivery(max_failed=0, dry_run=False), defaults) == Delivery(
        max_failed=0, ledger_conn_id="shared", dry_run=False
    )


def test_shards_are_one_line() -> None:
    parts = Delivery(max_failed=0.01).sharded(2)
    assert parts == [{"max_failed": 0.01, "shard": 0, "shards": 2}, {"max_failed": 0.01, "shard": 1, "shards": 2}]
    assert [options_of(Delivery, part, "delivery").part() for part in parts] == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"opt_in": lambda digits: True}, id="dict"),
        pytest.param(Rules(opt_in=OptIn(lambda digits: True)), id="object"),
        pytest.param(Rules(suppression=[Suppression(lambda digits: False)]), id="in-a-list"),
    ],
)
def test_a_function_is_refused_at_the_edge_of_an_operator(value: Any) -> None:
    with pytest.raises(InvalidInput, match="is a function, and Airflow would call it"):
        at_the_edge(Rules, value, "rules")
    assert at_the_edge(Rules, value, "rules", may_call=True)
