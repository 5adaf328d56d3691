"""``templates``: for people, CI and editors."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_provider_cirrus.cli.__main__ import main
from tests.unit.templates.definitions import ALL, NAMED, ORDER, changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "templates"
    found.mkdir()
    (found / "order_update.en.json").write_text(json.dumps(ORDER, indent=2))
    (found / "order_update.pt_BR.json").write_text(json.dumps(NAMED, indent=2))
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["templates", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_what_is_right_says_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "lint", str(folder)) == (0, "", "")
    assert run(capsys, "check", "--templates", str(folder)) == (0, "", "")


def test_a_finding_names_file_and_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "order_update.en.json"
    path.write_text(json.dumps(changed(ORDER, ["components", 2, "text"], "x" * 61), indent=2))
    line = path.read_text().splitlines().index(f'      "text": "{"x" * 61}"') + 1
    status, out, _ = run(capsys, "lint", str(path))
    assert (status, out) == (
        1,
        f"{path}:{line}: error: components[2].text is 61 characters long; a footer has at most 60.\n",
    )


def test_a_remark_is_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "order_update.en.json"
    path.write_text(json.dumps(changed(ORDER, ["name"], "Order update"), indent=2))
    status, out, _ = run(capsys, "lint", str(path))
    assert status == 0
    assert out.startswith(f"{path}:2: remark: name is no name at Meta")


@pytest.mark.parametrize("action", ["lint", "check"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("{", ":1: is no JSON", id="no-json"),
        pytest.param(
            '{"name": "x", "language": "en", "category": "x", "components": []}', "category", id="no-definition"
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_and_hides_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str], action: str, content: str, problem: str
) -> None:
    (folder / "a.json").write_text(content)
    (folder / "z.json").write_text("[")
    arguments = [str(folder)] if action == "lint" else ["--templates", str(folder)]
    status, out, _ = run(capsys, action, *arguments)
    assert status == 1
    assert f"{folder}/a.json" in out
    assert problem in out
    assert f"{folder}/z.json:1: is no JSON" in out
    assert "Traceback" not in out


def test_a_file_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "lint", str(folder / "nothing.json"))
    assert status == 1
    assert "No such file" in out
    status, out, err = run(capsys, "check", "--templates", str(folder / "nowhere"))
    assert status == 1
    assert "is no folder" in out + err


def test_a_template_that_is_defined_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "again.json").write_text(json.dumps(ORDER))
    status, out, _ = run(capsys, "check", "--templates", str(folder))
    assert status == 1
    assert "'order_update' (en) is defined in " in out


@pytest.mark.parametrize(
    ("message", "status", "problem"),
    [
        pytest.param({"body": {"name": "a", "order": "b"}}, 0, "", id="fits"),
        pytest.param(
            {"body": {"name": "a"}}, 1, ":1: error: body: lacks 'order' of 'order_update' (pt_BR):", id="lacks"
        ),
        pytest.param([{"body": {"name": "a", "order": "b"}}, {"body": ["a"]}], 1, "body: is a list", id="second"),
        pytest.param("text", 1, "is of type str, not an object", id="text"),
        pytest.param({"template": "other", "language": "en"}, 1, "has no definition", id="not-defined"),
    ],
)
def test_messages_are_checked(
    folder: Path, capsys: pytest.CaptureFixture[str], message: Any, status: int, problem: str
) -> None:
    path = folder.parent / "message.json"
    common = {"template": "order_update", "language": "pt_BR"}
    listed = [
        {**common, **one} if isinstance(one, dict) else one
        for one in (message if isinstance(message, list) else [message])
    ]
    path.write_text(json.dumps(listed if isinstance(message, list) else listed[0]))
    found, out, _ = run(capsys, "check", "--templates", str(folder), str(path))
    assert found == status
    assert problem in out


def rendering(folder: Path, parameters: str, language: str = "pt_BR") -> list[str]:
    where = ["--templates", str(folder), "--template", "order_update", "--language", language]
    return ["render", *where, "--parameters", parameters]


def test_a_message_is_shown(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = json.dumps({"body": {"name": "Ann", "order": "A-17"}})
    shown = "Ola Ann, o pedido A-17 chega na sexta de manha, ate logo.\n"
    assert run(capsys, *rendering(folder, parameters)) == (0, shown, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(parameters))
    assert run(capsys, *rendering(folder, "-")) == (0, shown, "")


@pytest.mark.parametrize(
    ("parameters", "language", "problem"),
    [
        pytest.param('{"body": {"name": "Ann"}}', "pt_BR", "body: lacks 'order'", id="parameters"),
        pytest.param("{", "pt_BR", "--parameters: is no JSON", id="no-json"),
        pytest.param("[]", "pt_BR", "--parameters: is no JSON object", id="no-object"),
        pytest.param("{}", "de", "has no definition in", id="language"),
    ],
)
def test_what_cannot_be_shown_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], parameters: str, language: str, problem: str
) -> None:
    status, out, err = run(capsys, *rendering(folder, parameters, language))
    assert (status, out) == (1, "")
    assert problem in err


def test_an_editors_schema_takes_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "schema")
    schema = json.loads(out)
    assert status == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    for definition in ALL.values():
        if definition is not NAMED:
            jsonschema.validate(definition, schema)
    for path in (["name"], ["components"], ["components", 1, "type"]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed(ORDER, list(path), 5), schema)
