"""Who gets which variant: the same everywhere, in the shares that were asked for, and written into the report."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus import Delivery, Experiment, Report, Rules
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators import PlanSendOperator, SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

NUMBERS = [f"4477009{place // 90:03d}{place % 90:02d}" for place in range(300)]
SUMMER = Experiment("summer", variants={"long": {}, "short": {"template": "summer_short"}}, holdout=0.2)


def shares(experiment: Experiment, count: int = 20_000) -> dict[str, float]:
    found = Counter(experiment.variant_of(f"447{place:09d}") for place in range(count))
    return {name: number / count for name, number in found.items()}


def test_the_shares_are_those_that_were_asked_for() -> None:
    found = shares(SUMMER)
    assert found == {
        "holdout": pytest.approx(0.2, abs=0.015),
        "long": pytest.approx(0.4, abs=0.015),
        "short": pytest.approx(0.4, abs=0.015),
    }
    weighted = Experiment("w", {"a": {}, "b": {}, "c": {}}, {"a": 1, "b": 2, "c": 7})
    assert shares(weighted) == {
        "a": pytest.approx(0.1, abs=0.015), "b": pytest.approx(0.2, abs=0.015), "c": pytest.approx(0.7, abs=0.015),
    }  # fmt: skip
    assert shares(Experiment("h", holdout=0.5)).keys() == {"holdout", ""}


def test_another_name_divides_people_anew() -> None:
    """Of those who were held out of one, as many as of all are held out of another."""
    other = Experiment("autumn", SUMMER.variants, holdout=0.2)
    held = [number for place in range(20_000) if SUMMER.held_out(number := f"447{place:09d}")]
    assert sum(other.held_out(number) is not None for number in held) / len(held) == pytest.approx(0.2, abs=0.03)


def test_it_is_the_same_in_every_process_and_in_both_spellings() -> None:
    program = (
        "from airflow_provider_cirrus import Experiment;"
        "e = Experiment('summer', {'a': {}, 'b': {}}, holdout=0.2);"
        "print(''.join(e.variant_of(f'447{place:09d}')[0] for place in range(60)))"
    )
    said = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(said) == 1
    for place in range(50):
        assert SUMMER.variant_of(f"52155{place:08d}") == SUMMER.variant_of(f"5255{place:08d}")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 10), min_size=1), st.floats(0, 0.99), st.text(min_size=1)
)
def test_everybody_is_in_exactly_one_part(weights: dict[str, float], holdout: float, name: str) -> None:
    variants: dict[str, Any] = {one: {} for one in weights}
    experiment = Experiment.of({"name": name[:200], "variants": variants, "weights": weights, "holdout": holdout})
    for number in NUMBERS[:40]:
        variant = experiment.variant_of(number)
        assert variant in {*weights, "holdout"}
        assert (variant == "holdout") == (experiment.held_out(number) is not None)
        assert holdout > 0 or variant != "holdout"


def run(kind: type[Any], **given: Any) -> Any:
    task = kind(task_id="send", template="summer_long", language="en", **given)
    ti = SimpleNamespace(try_number=1, max_tries=0, dag_id="shop", run_id="r", task_id="send", map_index=-1)
    ti.xcom_push = lambda key, value: None
    return task.execute({"ti": ti, "task": task})


def expected() -> dict[str, str]:
    template = {"long": "summer_long", "short": "summer_short"}
    return {n: template[v] for n in NUMBERS if (v := SUMMER.variant_of(n)) != "holdout"}


def sent(sandbox: Sandbox) -> dict[str, str]:
    return {one["recipient"]: one["template"] for one in sandbox.messages}


@pytest.mark.parametrize("way", ["to", "messages", "audience", "sql"])
def test_everybody_gets_their_variant_and_those_held_out_get_nothing(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    given: dict[str, Any] = {"delivery": Delivery(experiment=SUMMER, messages_per_second=100_000)}
    kind: type[Any] = SendTemplateOperator
    if way == "to":
        given["to"] = NUMBERS
    elif way == "messages":
        given["messages"] = [{"to": number} for number in NUMBERS]
    elif way == "audience":
        given |= {"audience": [{"phone": number} for number in NUMBERS], "columns": {"to": "phone"}}
    else:
        import sqlite3

        with sqlite3.connect(tmp_path / "crm.db") as crm:
            crm.execute("CREATE TABLE people (phone TEXT)")
            crm.executemany("INSERT INTO people VALUES (?)", [(number,) for number in NUMBERS])
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
        kind = SqlToCirrusOperator
        given |= {"sql": "SELECT phone FROM people", "sql_conn_id": "crm", "columns": {"to": "phone"}}
    found = run(kind, **given)
    assert sent(cirrus_default) == expected()
    assert found["suppressed"] == len(NUMBERS) - len(expected())
    assert found["reasons"] == [
        {"outcome": "suppressed", "code": None, "reason": "holdout: held out of 'summer'", "count": found["suppressed"]}
    ]


def test_parameters_of_rows_go_into_every_variant(cirrus_default: Sandbox) -> None:
    rows = [{"phone": number, "name": f"N{place}"} for place, number in enumerate(NUMBERS[:50])]
    experiment = {"name": "summer", "variants": {"a": {}, "b": {"template": "other", "language": "de"}}}
    run(
        SendTemplateOperator,
        audience=rows,
        columns={"to": "phone", "body": ["name"]},
        delivery={"experiment": experiment},
    )
    names = {one["recipient"]: one["components"][0]["parameters"][0]["text"] for one in cirrus_default.messages}
    assert names == {row["phone"]: row["name"] for row in rows}
    assert {(one["template"], one["language"]) for one in cirrus_default.messages} == {
        ("summer_long", "en"),
        ("other", "de"),
    }


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_the_variant_stands_in_the_report(cirrus_default: Sandbox, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r.{ending}"
    run(
        SendTemplateOperator,
        audience=[*({"phone": number} for number in NUMBERS), {"phone": "none"}],
        columns={"to": "phone"},
        delivery=Delivery(experiment=SUMMER, max_failed=1),
        report=Report(str(path)),
    )
    if ending == "parquet":
        import pyarrow.parquet as pq

        found = pq.read_table(path).to_pylist()
    elif ending == "csv":
        found = list(csv.DictReader(path.open(newline="")))
    else:
        found = [json.loads(line) for line in path.read_text().splitlines()]
    by_number = {one["recipient"]: one["variant"] for one in found}
    assert by_number.pop("none", None) in (None, "")
    by_number.pop("", None)
    assert by_number == {number: SUMMER.variant_of(number) for number in NUMBERS}


def test_whoever_gets_nothing_anyway_is_not_held_out(cirrus_default: Sandbox) -> None:
    held = [number for number in NUMBERS if SUMMER.held_out(number)]
    found = run(
        SendTemplateOperator,
        to=held,
        rules=Rules(suppression=held[:3]),
        delivery=Delivery(experiment=SUMMER),
    )
    assert {one["count"]: one["reason"].partition(":")[0] for one in found["reasons"]} == {
        3: "suppression",
        len(held) - 3: "holdout",
    }


def test_a_plan_counts_variants_and_an_approval_is_of_the_experiment(cirrus_default: Sandbox) -> None:
    given: dict[str, Any] = {"to": NUMBERS, "delivery": Delivery(experiment=SUMMER)}
    planned = run(PlanSendOperator, **given)
    counts = Counter(expected().values())
    assert {one["template"]: one["messages"] for one in planned["templates"]} == dict(counts)
    assert planned["rules"] == {"holdout": len(NUMBERS) - len(expected())}
    other = Experiment("summer", SUMMER.variants, holdout=0.3)
    with pytest.raises(AirflowFailException, match="the experiment is another"):
        run(SendTemplateOperator, to=NUMBERS, delivery=Delivery(experiment=other), approved=planned)
    assert cirrus_default.messages == []
    assert run(SendTemplateOperator, **given, approved=planned)["accepted"] == len(expected())


def test_a_variant_that_nobody_could_be_sent_lets_nothing_leave(cirrus_default: Sandbox) -> None:
    broken = {"name": "x", "variants": {"a": {}, "b": {"body": ["a\tb"]}}}
    for people in ({"to": NUMBERS[:3]}, {"audience": [{"to": NUMBERS[0]}]}):
        with pytest.raises(AirflowFailException, match="a tab"):
            run(SendTemplateOperator, **people, delivery={"experiment": broken})
    assert cirrus_default.messages == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"variants": {"a": {}}}, "lacks 'name'", id="no-name"),
        pytest.param({"name": "x"}, "neither variants nor a holdout", id="nothing"),
        pytest.param({"name": "", "holdout": 0.1}, "name", id="empty-name"),
        pytest.param({"name": "x", "holdout": 1}, "holdout", id="all-held-out"),
        pytest.param({"name": "x", "holdout": "10%"}, "holdout", id="holdout-words"),
        pytest.param({"name": "x", "variants": {"holdout": {}}}, "other than 'holdout'", id="reserved"),
        pytest.param({"name": "x", "variants": {"a": {"schedule": 5}}}, "has 'schedule'", id="no-template-field"),
        pytest.param({"name": "x", "variants": {"a": "summer"}}, "is of type str", id="text"),
        pytest.param({"name": "x", "variants": {"a": {}}, "weights": {"b": 1}}, "weights", id="other-names"),
        pytest.param({"name": "x", "variants": {"a": {}}, "weights": {"a": 0}}, "no number above 0", id="weight-0"),
        pytest.param({"name": "x", "variant": {}}, "has no 'variant'", id="slip"),
        pytest.param("summer", "is of type str", id="words"),
    ],
)
def test_what_is_no_experiment_fails_the_parse(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(task_id="send", template="x", language="en", to=NUMBERS[0], delivery={"experiment": given})
