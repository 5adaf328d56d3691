"""Definitions of templates, from the DAG file to what is sent."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_cirrus import Columns, Rules
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier
from airflow_provider_cirrus.operators import CampaignOperator, SendTemplateOperator, UploadMediaOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator
from tests.unit.templates.definitions import CODE, NAMED, ORDER, PICTURE, changed

ANN, BEN = "+447700900101", "+447700900102"
BODY = ["Ann", "Friday", "morning"]
FITS: dict[str, Any] = {
    "template": "order_update",
    "language": "en",
    "header": "A-17",
    "body": BODY,
    "buttons": [{"type": "url", "text": "A-17", "index": 1}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "templates"
    found.mkdir()
    for one in (ORDER, NAMED, PICTURE, CODE):
        (found / f"{one['name']}.{one['language']}.json").write_text(json.dumps(one))
    return found


def made(folder: Path, **fields: Any) -> SendTemplateOperator:
    return SendTemplateOperator(**{"task_id": "send", "to": ANN, **FITS, "templates_path": str(folder), **fields})


def run(operator: Any, **params: Any) -> dict[str, Any]:
    running = operator.prepare_for_execution()
    ti = SimpleNamespace(
        try_number=1, max_tries=0, dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=lambda **_: None
    )
    context: Any = {"ti": ti, "task": running, "params": params}
    running.render_template_fields(context)
    found: dict[str, Any] = running.execute(context)
    return found


def sent(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(message["recipient"], message["language"]) for message in sandbox.messages]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"body": BODY[:2]}, r"body: holds 2 parameters, .*\n    Hello .*>>>\{\{3\}\}<<<", id="list"),
        pytest.param({"body": ["{{ params.name }}", "x"]}, r"body: holds 2 parameters", id="list-of-templates"),
        pytest.param({"header": None}, "header: is missing", id="header"),
        pytest.param({"header": {"type": "image", "id": "17"}}, "header: is of type image", id="header-kind"),
        pytest.param({"buttons": None}, r"buttons\[1\]: is missing", id="button"),
        pytest.param(
            {"template": "sign_in", "header": None, "body": None, "buttons": None}, "authentication_code: is", id="code"
        ),
        pytest.param({"language": "pt_BR", "header": None, "buttons": None}, "body: is a list, and", id="names"),
        pytest.param(
            {"to": None, "messages": [{"to": ANN}, {"to": BEN, "body": ["x"]}]},
            "body: holds 1 parameter",
            id="messages",
        ),
        pytest.param(
            {"to": None, "audience": "a.csv", "body": None, "columns": Columns("to", body=["name", "day"])},
            "body: holds 2 parameters, and 'order_update' .en. takes 3",
            id="columns",
        ),
        pytest.param(
            {
                "to": None,
                "audience": "a.csv",
                "columns": Columns("to", language="language"),
            },
            "header: is given, and 'order_update' .pt_BR. has no header",
            id="any-language-of-a-column",
        ),
        pytest.param(
            {"language": "de", "languages": ["fr"]},
            "language: 'order_update' is not defined in de or fr",
            id="languages",
        ),
        pytest.param({"languages": 5}, "languages: is no list of language codes", id="languages-of-a-type"),
        pytest.param({"templates_path": "nowhere"}, "templates_path: is no folder: .*nowhere", id="no-folder"),
    ],
)
def test_what_is_written_out_is_checked_when_the_dag_is_parsed(
    folder: Path, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"(?s)^{problem}"):
        made(folder, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="fits"),
        pytest.param({"body": "{{ params.body }}"}, id="body-unknown"),
        pytest.param({"template": "{{ params.template }}", "body": ["x"]}, id="template-unknown"),
        pytest.param(
            {
                "language": "{{ params.language }}",
                "header": "{{ params.header }}",
                "body": "{{ params.body }}",
                "buttons": "{{ params.buttons }}",
            },
            id="language-unknown",
        ),
        pytest.param({"templates_path": "{{ params.folder }}", "body": ["x"]}, id="folder-unknown"),
        pytest.param({"template": "not_defined", "body": ["x"]}, id="not-defined"),
        pytest.param({"components": "{{ params.components }}", "body": None}, id="components-unknown"),
        pytest.param(
            {"to": None, "audience": "a.csv", "body": None, "columns": Columns("to", body=["a", "b", "c"])},
            id="columns",
        ),
        pytest.param(
            {
                "language": "pt_PT",
                "languages": ["pt_BR"],
                "header": None,
                "buttons": None,
                "body": {"name": "a", "order": "b"},
            },
            id="fallback",
        ),
    ],
)
def test_what_fits_or_is_not_known_yet_is_no_error(folder: Path, fields: dict[str, Any]) -> None:
    assert made(folder, **fields).task_id == "send"


def test_what_another_task_gives_is_not_known_yet(folder: Path) -> None:
    with DAG("d", schedule=None):
        upload = UploadMediaOperator(task_id="upload", path="a.png")
        made(
            folder,
            template="new_bicycle",
            header=upload.output,
            body=None,
            buttons=[{"type": "copy_code", "coupon_code": "X"}],
        )
        with pytest.raises(InvalidInput, match=r"^body: holds 1 parameter"):
            made(folder, task_id="again", template="new_bicycle", header=upload.output, body=["x"], buttons=None)


def test_a_relative_folder_begins_at_the_dag_file(folder: Path, cirrus_default: Sandbox) -> None:
    with DAG("d", schedule=None) as dag:
        dag.fileloc = str(folder.parent / "dag.py")
        with pytest.raises(InvalidInput, match=r"^body: holds 2"):
            made(folder, templates_path="templates", body=BODY[:2])


def test_a_query_is_checked_like_an_audience(folder: Path) -> None:
    given = {**FITS, "body": None, "templates_path": str(folder)}
    with pytest.raises(InvalidInput, match=r"^body: holds 1 parameter"):
        SqlToCirrusOperator(task_id="q", sql="SELECT 1;", sql_conn_id="x", **given, columns=Columns("to", body=["a"]))


def test_what_was_not_known_is_checked_before_anything_is_sent(folder: Path, cirrus_default: Sandbox) -> None:
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        operator = made(folder, body="{{ params.body }}")
    with pytest.raises(AirflowFailException, match=r"(?s)body: holds 1 parameter.*Nothing was sent"):
        run(operator, body=["x"])
    assert cirrus_default.messages == []


def test_a_row_that_does_not_fit_is_rejected_and_no_other(folder: Path, cirrus_default: Sandbox) -> None:
    rows = [
        {"to": ANN, "name": "Ann", "day": "Friday", "time": "morning"},
        {"to": BEN, "name": "x" * 940, "day": "Friday", "time": "morning"},
    ]
    operator = made(
        folder,
        to=None,
        audience=rows,
        body=None,
        columns=Columns("to", body=["name", "day", "time"]),
        delivery={"max_failed": 1},
    )
    found = run(operator)
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert found["outcomes"][1]["reason"] == "row 2, body: makes the message 1028 characters long; at most 1024 fit."
    assert sent(cirrus_default) == [("447700900101", "en")]


def test_each_row_has_its_language_or_the_first_that_is_defined(folder: Path, cirrus_default: Sandbox) -> None:
    (folder / "hello.en.json").write_text(json.dumps(changed({**NAMED, "name": "hello"}, ["language"], "en")))
    (folder / "hello.pt.json").write_text(json.dumps(changed({**NAMED, "name": "hello"}, ["language"], "pt")))
    rows = [{"to": f"+44770090010{n}", "language": one} for n, one in enumerate(["pt", "en", "de", "pt_BR"])]
    operator = SendTemplateOperator(
        task_id="send",
        template="hello",
        audience=rows,
        body={"name": "Ann", "order": "A-17"},
        columns=Columns("to", language="language"),
        templates_path=str(folder),
        languages=["pt_BR", "pt", "en"],
    )
    run(operator)
    assert [language for _, language in sent(cirrus_default)] == ["pt", "en", "pt", "pt"]


def test_the_language_may_be_left_to_the_definitions(folder: Path, cirrus_default: Sandbox) -> None:
    run(made(folder, language=None, languages=["de", "en"]))
    assert sent(cirrus_default) == [("447700900101", "en")]


@pytest.fixture
def connection(cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    def make(**extra: Any) -> None:
        given = {
            "conn_type": "cirrus",
            "host": cirrus_default.base_url,
            "password": cirrus_default.token,
            "extra": {"stream_id": cirrus_default.stream_id, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(given))

    return make


def test_the_connection_may_have_the_definitions(folder: Path, cirrus_default: Sandbox, connection: Any) -> None:
    connection(templates_path=str(folder))
    with pytest.raises(AirflowFailException, match="body: holds 2 parameters"):
        run(made(folder, templates_path=None, body=BODY[:2]))
    run(made(folder, templates_path=None))
    assert len(cirrus_default.messages) == 1


def test_the_connection_may_require_them(folder: Path, cirrus_default: Sandbox, connection: Any) -> None:
    connection(require_templates=True)
    with pytest.raises(AirflowFailException, match="templates_path: is missing, and the connection requires it"):
        run(made(folder, templates_path=None))
    connection(require_templates=True, templates_path=str(folder))
    with pytest.raises(AirflowFailException, match=r"template: 'not_defined' .en. has no definition"):
        run(made(folder, templates_path=None, template="not_defined"))
    assert cirrus_default.messages == []


def test_the_category_is_that_of_the_definition(folder: Path, cirrus_default: Sandbox) -> None:
    rules = Rules(opt_in={"utility": [ANN], "marketing": [BEN]}, max_suppressed=1)
    found = run(made(folder, to=[ANN, BEN], rules=rules))
    assert (found["accepted"], found["suppressed"]) == (1, 1)
    assert sent(cirrus_default) == [("447700900101", "en")]
    # What the task says wins.
    run(made(folder, to=[ANN, BEN], rules={**vars(rules), "category": "marketing"}))
    assert sent(cirrus_default)[1:] == [("447700900102", "en")]


def test_a_file_that_cannot_be_read_stops_no_other_template(folder: Path, cirrus_default: Sandbox) -> None:
    (folder / "broken.json").write_text("{")
    rules = Rules(opt_in={"utility": [ANN]})
    assert run(made(folder, rules=rules))["accepted"] == 1


def test_a_dry_run_shows_what_recipients_would_see(folder: Path, cirrus_default: Sandbox, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    rows = [{"to": f"+4477009001{n:02}", "name": f"Ann {n}", "day": "Friday", "time": "x"} for n in range(7)]
    operator = made(
        folder,
        to=None,
        audience=rows,
        body=None,
        columns=Columns("to", body=["name", "day", "time"]),
        delivery={"dry_run": True},
        report=str(report),
    )
    found = run(operator)
    assert len(found["previews"]) == 5
    assert found["previews"][0].startswith("*Order A-17*\nHello Ann 0, the bicycle")
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["preview"].split(",")[0].splitlines()[1] for line in lines] == [f"Hello Ann {n}" for n in range(7)]
    assert cirrus_default.messages == []


def test_what_is_sent_has_no_preview(folder: Path, cirrus_default: Sandbox, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    found = run(made(folder, report=str(report)))
    assert "previews" not in found
    assert "preview" not in json.loads(report.read_text())


GREETING: dict[str, Any] = {
    "name": "opening_hours",
    "language": "en",
    "category": "MARKETING",
    "components": [{"type": "BODY", "text": "We are open from nine to five, also on Saturday."}],
}


@pytest.fixture
def customers(tmp_path: Path) -> str:
    path = tmp_path / "customers.csv"
    path.write_text(f"phone1\n{ANN}\n{BEN}\n")
    return str(path)


def campaign(folder: Path, customers: str, **fields: Any) -> CampaignOperator:
    (folder / "opening_hours.en.json").write_text(json.dumps(GREETING))
    given = {"template": "opening_hours", "language": "en", "audience_file": customers, "templates_path": str(folder)}
    return CampaignOperator(**{"task_id": "campaign", **given, **fields})


def test_a_campaign_takes_no_template_with_parameters(folder: Path, customers: str) -> None:
    with pytest.raises(InvalidInput, match="header"):
        campaign(folder, customers, template="order_update")
    with pytest.raises(InvalidInput, match="header"):
        campaign(folder, customers, template="new_bicycle")
    with pytest.raises(InvalidInput, match="templates_path: is no folder"):
        campaign(folder, customers, templates_path="nowhere")
    # What is not known yet is no error.
    campaign(folder, customers, template="{{ params.template }}")
    campaign(folder, customers, template="order_update", templates_path="{{ params.folder }}")
    campaign(folder, customers, template="not_defined")


def test_a_campaign_that_was_not_known_yet_is_checked_before_it_is_handed_over(
    folder: Path, customers: str, cirrus_default: Sandbox, connection: Any
) -> None:
    with pytest.raises(AirflowFailException, match="header"):
        run(campaign(folder, customers, template="{{ params.template }}"), template="order_update")
    connection(templates_path=str(folder), require_templates=True)
    with pytest.raises(AirflowFailException, match="header"):
        run(campaign(folder, customers, template="order_update", templates_path=None))
    with pytest.raises(AirflowFailException, match="has no definition"):
        run(campaign(folder, customers, template="not_defined", templates_path=None))
    assert cirrus_default.campaigns == []
    assert run(campaign(folder, customers, templates_path=None))["accepted"] == 2


def test_the_category_of_a_campaign_is_that_of_the_definition(
    folder: Path, customers: str, cirrus_default: Sandbox
) -> None:
    found = run(campaign(folder, customers, rules={"opt_in": {"marketing": [ANN], "utility": [BEN]}}))
    assert (found["accepted"], found["suppressed"]) == (1, 1)
    assert cirrus_default.campaigns[0]["recipients"] == [ANN.removeprefix("+")]


def notifier(**fields: Any) -> CirrusNotifier:
    return CirrusNotifier(**{"to": ANN, **FITS, **fields})


def test_a_notice_that_does_not_fit_fails_when_the_dag_is_parsed(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="body: holds 2 parameters"):
        notifier(templates_path=str(folder), body=["{{ ti.task_id }}", "x"])
    notifier(templates_path=str(folder), body=["{{ ti.task_id }}", "x", "y"])
    # It is not known yet where that begins.
    notifier(templates_path="templates", body=["x"])


def test_a_notice_is_checked_before_it_is_sent(folder: Path, cirrus_default: Sandbox, connection: Any) -> None:
    where: Any = {"dag": DAG("shop", schedule=None), "params": {"body": ["x"]}}
    rendered = notifier(templates_path=str(folder), body="{{ params.body }}")
    rendered.render_template_fields(where)
    with pytest.raises(InvalidInput, match="body: holds 1 parameter"):
        rendered.notify(where)
    connection(templates_path=str(folder), require_templates=True)
    with pytest.raises(InvalidInput, match="body: holds 2 parameters"):
        notifier(body=BODY[:2]).notify(where)
    with pytest.raises(InvalidInput, match="has no definition"):
        notifier(template="not_defined").notify(where)
    assert cirrus_default.messages == []
    notifier().notify(where)
    assert len(cirrus_default.messages) == 1


def test_the_folder_of_a_notice_begins_at_the_dag_file(
    folder: Path, cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = DAG("shop", schedule=None)
    monkeypatch.setattr(type(dag), "folder", str(folder.parent), raising=False)
    with pytest.raises(InvalidInput, match="body: holds 2 parameters"):
        notifier(templates_path="templates", body=BODY[:2]).notify({"dag": dag})
    notifier(templates_path="templates").notify({"dag": dag})
    assert len(cirrus_default.messages) == 1
