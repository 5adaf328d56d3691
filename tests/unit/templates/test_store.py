"""A folder of definitions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Template, build
from airflow_provider_cirrus.templates import Templates, store
from airflow_provider_cirrus.templates.store import definitions_in, line_of
from tests.unit.templates.definitions import CODE, NAMED, ORDER, changed


def put(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) if path.suffix == ".json" else yaml.safe_dump(value))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "order_update.en.json", ORDER)
    put(tmp_path, "more/order_update/pt_BR.yaml", NAMED)
    put(tmp_path, "codes.yml", [CODE])
    put(tmp_path, "from_meta.json", {"data": [changed(ORDER, ["name"], "reminder")], "paging": {}})
    (tmp_path / "README.md").write_text("no definition")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "language", "is_there"),
    [
        ("order_update", "en", True),
        ("order_update", "pt_BR", True),
        ("sign_in", "en", True),
        ("reminder", "en", True),
        ("order_update", "de", False),
        ("../order_update", "en", False),
    ],
)
def test_a_template_is_found_by_name_and_language(folder: Path, name: str, language: str, is_there: bool) -> None:
    found = Templates(str(folder)).find(name, language)
    assert (found is not None) is is_there
    assert found is None or (found.name, found.language) == (name, language)


def test_a_usual_name_is_found_without_reading_the_others(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    assert Templates(str(folder)).find("order_update", "en") is not None
    with pytest.raises(InvalidInput, match=r"templates_path: .*broken.json:1: is no JSON"):
        Templates(str(folder)).find("order_update", "de")


def test_a_file_that_changes_is_read_anew_and_else_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "order_update.en.json"
    first = definitions_in(path)
    assert definitions_in(path) is first
    put(folder, path.name, changed(ORDER, ["components", 2, "text"], "Another footer"))
    os.utime(path, ns=(1, 1))
    (found,) = definitions_in(path)
    assert found.parts.footer is not None
    assert found.parts.footer.text == "Another footer"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("x.json", b'{"name": "x",\n "language": }', r"x.json:2: is no JSON: Expecting value", id="json"),
        pytest.param("x.yaml", b"name: x\n  language: y", r"x.yaml:2: is no YAML: ", id="yaml"),
        pytest.param("x.yaml", b"name: \x00", r"x.yaml is no YAML: ReaderError", id="yaml-null"),
        pytest.param("x.json", b"\xff\xfe", r"x.json is not UTF-8", id="encoding"),
        pytest.param("x.json", b'"text"', r"x.json: template is of type str, not an object", id="text"),
        pytest.param("x.json", b"[" * 100_000, r"x.json is nested too deep", id="deep"),
        pytest.param("x.json", b'[{"name": "x"}]', r"x.json: \[0\].language is missing", id="list"),
        pytest.param("x.json", b" " * 1_100_000, r"x.json is larger than 1024 KB", id="large"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=problem):
        definitions_in(tmp_path / name)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(InvalidInput, match=r"x.yaml:1: is no YAML"):
        definitions_in(tmp_path / "x.yaml")


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"templates_path: is no folder: .*nowhere"):
        Templates(str(tmp_path / "nowhere")).find("x", "en")


def test_two_definitions_of_one_template_are_an_error(folder: Path) -> None:
    put(folder, "again.json", CODE)
    with pytest.raises(InvalidInput, match=r"holds 'sign_in' \(en\) 2 times"):
        Templates(str(folder)).find("sign_in", "en")


def template(**fields: Any) -> Template:
    return build(Template, {"name": "order_update", "language": "en", **fields})


def test_a_message_is_checked(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"(?s)^body: holds 1 parameter, .*\nAlso buttons\[1\]: is missing"):
        Templates(str(folder)).check(template(header="x", body=["Ann"]))


def test_a_template_without_a_definition_is_an_error_only_where_that_is_required(folder: Path) -> None:
    other = template(name="order_updates")
    Templates(str(folder)).check(other)
    with pytest.raises(
        InvalidInput, match=r"'order_updates' \(en\) has no definition in .* Did you mean 'order_update'"
    ):
        Templates(str(folder), required=True).check(other)


@pytest.mark.parametrize(
    ("name", "wanted", "languages", "expected"),
    [
        pytest.param("order_update", "pt_BR", ("en",), "pt_BR", id="wanted"),
        pytest.param("order_update", "pt", ("pt_PT", "pt_BR", "en"), "pt_BR", id="first-that-is-there"),
        pytest.param("order_update", None, ("de", "en"), "en", id="nothing-wanted"),
        pytest.param("unknown", "pt", ("en",), "pt", id="not-defined-at-all"),
    ],
)
def test_a_language_is_chosen(
    folder: Path, name: str, wanted: str | None, languages: tuple[str, ...], expected: str
) -> None:
    assert Templates(str(folder), languages=languages).choose(name, wanted) == expected


def test_a_language_that_is_not_there_names_those_that_are(folder: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"^language: 'order_update' is not defined in de or fr. It is defined in en, pt"
    ):
        Templates(str(folder), languages=("fr",)).choose("order_update", "de")


@pytest.mark.parametrize(
    ("file", "place", "line"),
    [
        pytest.param("order_update.en.json", ("name",), 2, id="name"),
        pytest.param("order_update.en.json", ("components", 0, "text"), 9, id="text"),
        pytest.param("order_update.en.json", ("components", 0, "nothing"), 6, id="what-is-not-there"),
        pytest.param("order_update.en.json", (), 1, id="all"),
        pytest.param("codes.yml", (0, "category"), 1, id="yaml"),
    ],
)
def test_a_place_has_a_line(folder: Path, file: str, place: tuple[str | int, ...], line: int) -> None:
    assert line_of(folder / file, place) == line


def test_files_are_read_once_for_many_dags(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    templates = Templates(str(folder))
    templates.find("order_update", "en")
    monkeypatch.setattr(store, "_loaded", None)
    for _ in range(3):
        assert Templates(str(folder)).find("order_update", "en") is not None
