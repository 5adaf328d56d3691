"""Every argument of every operator, in every way in which it may be given: it works, or one clear error names it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
)

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators import (
    CampaignOperator,
    SendTemplateOperator,
    UploadMediaOperator,
    ValidateContactOperator,
)
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator
from tests.unit.templates.definitions import ORDER

ANN = "+447700900101"
MESSAGE: dict[str, Any] = {"template": "order_update", "language": "en"}
SHARED: dict[str, Any] = {
    "template": "order_update",
    "language": "en",
    "header": "Hello",
    "body": ["Ann"],
    "buttons": [{"type": "url", "text": "a"}],
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ann"}]}],
    "authentication_code": "493817",
    "object_data": {"StatusId": 1},
    "schedule": timedelta(hours=1),
    "message_key": "order-1",
    "rules": {"suppression": ["+447700900190"]},
    "delivery": {"max_failed": 1},
    "stream": None,
    "cirrus_conn_id": "cirrus_default",
    "on_empty": "skip",
    "templates_path": Path("templates"),
    # Needs templates_path: see test_template_check.py.
    "languages": None,
}
#: Operator, what it needs, and a good value of each of its arguments; a Path stands for a file that the test makes.
OPERATORS: list[tuple[type[BaseOperator], dict[str, Any], dict[str, Any]]] = [
    (
        SendTemplateOperator,
        {**MESSAGE, "to": ANN},
        {
            **SHARED,
            "to": [ANN],
            "messages": [{"to": ANN, "body": ["x"]}],
            "audience": Path("audience.csv"),
            "columns": {"to": "to"},
            "report": Path("report.csv"),
            # Needs a plan: see test_plan.py, also for the operator that makes one.
            "approved": None,
            "tolerance": None,
        },
    ),
    (
        SqlToCirrusOperator,
        {**MESSAGE, "sql": "SELECT phone FROM people;", "sql_conn_id": "shop", "columns": {"to": "phone"}},
        {
            **SHARED,
            "sql": "SELECT phone FROM people;",
            "sql_conn_id": "shop",
            "parameters": {"a": 1},
            "hook_params": {},
            "database": None,
            "columns": {"to": "phone"},
            "report": Path("report.csv"),
            "approved": None,
            "tolerance": None,
        },
    ),
    (
        CampaignOperator,
        {**MESSAGE, "audience_file": Path("campaign.csv")},
        {
            "template": "order_update",
            "language": "en",
            "audience_file": Path("campaign.csv"),
            "campaign_name": "News",
            "schedule": timedelta(hours=1),
            "expiration_date": None,
            "notify_mail": "ann@shop.example",
            "substream_id": 1,
            "audience_id": 1,
            "save_as_new_audience": True,
            "new_audience_name": None,
            "automation_script_id": 1,
            "message_key": "news-1",
            "on_bad_rows": "drop",
            "on_empty": "skip",
            "rules": {"suppression": ["+447700900190"]},
            "delivery": {"dry_run": True},
            "templates_path": Path("templates"),
            "stream": None,
            "cirrus_conn_id": "cirrus_default",
        },
    ),
    (
        UploadMediaOperator,
        {"path": Path("a.pdf")},
        {"path": Path("a.pdf"), "filename": "menu.pdf", "stream": None, "cirrus_conn_id": "cirrus_default"},
    ),
    (
        ValidateContactOperator,
        {"phone_number": ANN, "opt_in": True},
        {
            "phone_number": ANN,
            "opt_in": True,
            "ledger_conn_id": "ledger",
            "stream": None,
            "cirrus_conn_id": "cirrus_default",
        },
    ),
]
#: Arguments that go without another.
INSTEAD = {"messages": ["to"], "audience": ["to"], "components": ["body"], "authentication_code": []}
CASES = [
    pytest.param(kind, needed, name, value, id=f"{kind.__name__}-{name}")
    for kind, needed, values in OPERATORS
    for name, value in values.items()
]
arguments = pytest.mark.parametrize(("kind", "needed", "name", "value"), CASES)


def test_no_argument_is_left_out() -> None:
    for kind, _, values in OPERATORS:
        assert set(values) == set(kind.template_fields), kind


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cirrus_default: Sandbox) -> Path:
    (tmp_path / "audience.csv").write_text(f"to\n{ANN}\n")
    (tmp_path / "campaign.csv").write_text(f"phone1\n{ANN.removeprefix('+')}\n")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 menu")
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE people (phone TEXT)")
        shop.execute("INSERT INTO people VALUES (?)", (ANN,))
    shop.close()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f'{{"conn_type": "sqlite", "host": "{tmp_path / "shop.db"}"}}')
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "other.en.json").write_text(json.dumps({**ORDER, "name": "other"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def placed(value: Any, folder: Path) -> Any:
    return str(folder / value) if isinstance(value, Path) else value


def run(make: Callable[[], BaseOperator], sandbox: Sandbox, name: str, **params: Any) -> str:
    """Make the task and run it; return how it ended. An error that is not ours, or does not name it, fails the test."""
    before = len(sandbox.messages) + len(sandbox.campaigns)
    try:
        operator = make().prepare_for_execution()
        ti = SimpleNamespace(
            try_number=1, max_tries=0, dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=lambda **_: None
        )
        context: Any = {"ti": ti, "task": operator, "params": params}
        operator.render_template_fields(context)
        operator.execute(context)
    except AirflowSkipException:
        return "skipped"
    except (InvalidInput, AirflowFailException) as error:
        said = str(error)
        assert re.search(rf"\b{name}\b|\bto or messages\b|\brow 1 is of type\b", said), said
        assert "7700900101" not in said
        assert "Traceback" not in said
        assert len(sandbox.messages) + len(sandbox.campaigns) == before, "something was sent all the same"
        return "refused"
    return "works"


def given(needed: dict[str, Any], name: str, value: Any, folder: Path) -> dict[str, Any]:
    found = {key: placed(one, folder) for key, one in needed.items() if key not in INSTEAD.get(name, ())}
    return {**found, name: placed(value, folder)}


@arguments
def test_a_value_that_is_written_out_works(
    kind: Any, needed: dict[str, Any], name: str, value: Any, files: Path, cirrus_default: Sandbox
) -> None:
    assert run(lambda: kind(task_id="t", **given(needed, name, value, files)), cirrus_default, name) == "works"


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@arguments
def test_a_template_works_or_is_refused(
    kind: Any, needed: dict[str, Any], name: str, value: Any, native: bool, files: Path, cirrus_default: Sandbox
) -> None:
    def make() -> BaseOperator:
        with DAG("d", schedule=None, render_template_as_native_obj=native):
            made: BaseOperator = kind(task_id="t", **given(needed, name, "{{ params.value }}", files))
        return made

    is_plain = isinstance(value, str | int | Path)
    end = run(make, cirrus_default, name, value=placed(value, files))
    if name == "approved":
        # What comes to nothing is no approval: sent without one, it would be sent behind somebody's back.
        assert end == "refused"
        return
    # Lists and dicts come through natively, and as text are refused; so are None and what has no text of its own.
    assert end == "works" if native or is_plain else end in ("works", "refused")


@arguments
def test_a_value_from_another_task_is_a_dependency(
    kind: Any, needed: dict[str, Any], name: str, value: Any, files: Path
) -> None:
    with DAG("d", schedule=None):
        other = UploadMediaOperator(task_id="other", path="a.pdf")
        made = kind(task_id="t", **given(needed, name, other.output, files))
    assert made.upstream_task_ids == {"other"}


@arguments
def test_a_mapped_value_works(
    kind: Any, needed: dict[str, Any], name: str, value: Any, files: Path, cirrus_default: Sandbox
) -> None:
    found = given(needed, name, value, files)
    one = found.pop(name)

    def make() -> BaseOperator:
        with DAG("d", schedule=None):
            mapped = kind.partial(task_id="t", **found).expand(**{name: [one]})
        made: BaseOperator = mapped.unmap({**found, name: one})
        return made

    assert run(make, cirrus_default, name) == "works"


@arguments
def test_a_default_of_the_dag_works(
    kind: Any, needed: dict[str, Any], name: str, value: Any, files: Path, cirrus_default: Sandbox
) -> None:
    found = given(needed, name, value, files)
    one = found.pop(name)

    def make() -> BaseOperator:
        with DAG("d", schedule=None, default_args={name: one}):
            made: BaseOperator = kind(task_id="t", **found)
        return made

    assert run(make, cirrus_default, name) == "works"


@arguments
def test_none_is_as_if_it_were_not_given_or_is_refused(
    kind: Any, needed: dict[str, Any], name: str, value: Any, files: Path, cirrus_default: Sandbox
) -> None:
    run(lambda: kind(task_id="t", **given(needed, name, None, files)), cirrus_default, name)


@pytest.mark.parametrize(
    "wrong", [5.5, object(), b"bytes", [[]], {"no": "such"}, True], ids=lambda one: type(one).__name__
)
@arguments
def test_a_value_of_a_wrong_type_works_or_is_refused(
    kind: Any, needed: dict[str, Any], name: str, value: Any, wrong: Any, files: Path, cirrus_default: Sandbox
) -> None:
    run(lambda: kind(task_id="t", **given(needed, name, wrong, files)), cirrus_default, name)


@pytest.mark.parametrize("bad", ["07700 900101", 5.5, None])
def test_a_bad_value_in_expand_fails_for_good(bad: Any, files: Path, cirrus_default: Sandbox) -> None:
    with DAG("d", schedule=None):
        mapped = SendTemplateOperator.partial(task_id="t", **MESSAGE).expand(to=[ANN, bad])
    with pytest.raises(AirflowFailException, match=r"Nothing was sent"):
        mapped.unmap({**MESSAGE, "to": bad})


def test_a_policy_among_the_dags_defaults_stays(files: Path) -> None:
    policies = pytest.importorskip(
        "airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 and later have retry policies"
    )

    class Own(policies.RetryPolicy):  # type: ignore[misc, name-defined]
        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            return policies.RetryDecision.default()

    own = Own()
    with DAG("d", schedule=None, default_args={"retry_policy": own}):
        assert SendTemplateOperator(task_id="a", **MESSAGE, to=ANN).retry_policy is own
        assert SendTemplateOperator(task_id="b", **MESSAGE, to=ANN, retry_policy=own).retry_policy is own
    assert type(SendTemplateOperator(task_id="c", **MESSAGE, to=ANN).retry_policy).__name__ == "CirrusRetryPolicy"


def test_airflows_own_dry_run_is_there() -> None:
    for kind, _, _ in OPERATORS:
        # Airflow 3.0 has none.
        assert getattr(kind, "dry_run", None) is getattr(BaseOperator, "dry_run", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body", ["{{ params.nothing }}"]),
        ("body", ["Hello {{ params.nothing }}"]),
        ("body", {"name": "{{ params.nothing }}"}),
        ("header", "{{ params.nothing }}"),
        ("message_key", "order {{ params.nothing }}"),
        ("object_data", {"Content": {"note": "{{ params.nothing }}"}}),
        ("buttons", [{"type": "url", "text": "{{ params.nothing }}"}]),
    ],
)
def test_none_in_a_template_never_becomes_a_word(name: str, value: Any, files: Path, cirrus_default: Sandbox) -> None:
    def make() -> BaseOperator:
        with DAG("d", schedule=None):
            return SendTemplateOperator(task_id="t", **MESSAGE, to=ANN, **{name: value})

    operator = make().prepare_for_execution()
    with pytest.raises(AirflowFailException, match=rf"{name}: a template in it renders to None"):
        operator.render_template_fields({"params": {"nothing": None}})
    assert cirrus_default.requests == []


@pytest.mark.parametrize(
    ("on_empty", "end"), [("skip", AirflowSkipException), ("fail", AirflowFailException), ("succeed", None)]
)
@pytest.mark.parametrize("what", ["to", "messages", "audience", "empty.jsonl"])
def test_nobody_to_message_has_one_meaning(
    what: str, on_empty: str, end: type[AirflowException] | None, files: Path, cirrus_default: Sandbox
) -> None:
    (files / "empty.jsonl").write_text("")
    name = "audience" if what == "empty.jsonl" else what
    value: Any = str(files / what) if what == "empty.jsonl" else []
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        task = SendTemplateOperator(task_id="t", **MESSAGE, **{name: "{{ params.value }}"}, on_empty=on_empty)
    running = task.prepare_for_execution()
    ti = SimpleNamespace(
        try_number=1, max_tries=0, dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=lambda **_: None
    )
    context: Any = {"ti": ti, "task": running, "params": {"value": value}}
    running.render_template_fields(context)
    if end is None:
        assert running.execute(context)["total"] == 0
    else:
        with pytest.raises(end):
            running.execute(context)
    assert cirrus_default.requests == []


def test_one_bad_row_can_stop_an_audience_before_anything_leaves(files: Path, cirrus_default: Sandbox) -> None:
    (files / "bad.csv").write_text(f"to\n{ANN}\n07700 900102\n")

    def send(**delivery: Any) -> str:
        return run(
            lambda: SendTemplateOperator(
                task_id="t", **MESSAGE, audience=str(files / "bad.csv"), delivery={"max_failed": 1, **delivery}
            ),
            cirrus_default,
            "audience",
        )

    assert send(on_bad_rows="fail") == "refused"
    assert cirrus_default.requests == []
    assert send() == "works"
    assert len(cirrus_default.messages) == 1
