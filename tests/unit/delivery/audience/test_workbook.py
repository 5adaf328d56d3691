"""Workbooks as audiences: read as rows, and refused where they are too large or broken."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.audience import workbook
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.messages import read_audience
from airflow_provider_cirrus.delivery.audience.rows import open_rows
from airflow_provider_cirrus.delivery.campaign.audience_file import open_campaign_file

NUMBER = "447700900101"


def saved(path: Path, *rows: list[Any], sheets: int = 1) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    for place in range(1, sheets):
        book.create_sheet(f"s{place}")
    book.save(path)
    return path


def changed(path: Path, name: str, content: bytes | None) -> Path:
    """The same workbook with another content of one of its parts, or with half of it."""
    other = path.with_name("changed.xlsx")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as target:
        for one in source.infolist():
            data = source.read(one)
            if one.filename != name:
                target.writestr(one.filename, data)
            elif content is None:
                target.writestr(name, data[: len(data) // 2])
        if content is not None:
            target.writestr(name, content)
    return other


def test_the_rows_of_the_one_sheet_are_read(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.xlsx", ["phone", "name", None], [int(NUMBER), "Ann"], [], ["+44 7700 900102", "Ben", None]
    )
    assert list(open_rows(path)) == [
        {"phone": int(NUMBER), "name": "Ann"},
        {"phone": "+44 7700 900102", "name": "Ben"},
    ]
    found = [
        one for _, one in read_audience(path, Columns(to="phone", body=["name"]), {"template": "t", "language": "en"})
    ]
    assert [one.to for one in found if isinstance(one, Message)] == [NUMBER, "447700900102"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        pytest.param([], "has no header", id="empty"),
        pytest.param([["Phone", "name"]], "did you mean 'Phone'", id="column"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(tmp_path: Path, rows: list[list[Any]], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        list(open_rows(saved(tmp_path / "a.xlsx", *rows), needed={"columns.to": ["phone"]}))


def test_several_sheets_and_no_workbook_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has 2 sheets"):
        list(open_rows(saved(tmp_path / "a.xlsx", ["to"], [NUMBER], sheets=2)))
    (tmp_path / "b.xlsx").write_bytes(b"to\n1\n")
    with pytest.raises(InvalidInput, match="is not an Excel workbook"):
        list(open_rows(tmp_path / "b.xlsx"))


@pytest.mark.parametrize(
    "content", [b"<x", None, b'<worksheet><sheetData><row r="1"><c t="n"><v>447700900101x</v></c></row>']
)
def test_a_damaged_workbook_says_nothing_of_its_cells(tmp_path: Path, content: bytes | None) -> None:
    path = saved(tmp_path / "a.xlsx", ["phone1"], *[[f"4477009{place:05}"] for place in range(500)])
    broken = changed(path, "xl/worksheets/sheet1.xml", content)
    with pytest.raises(InvalidInput) as caught:
        list(open_rows(broken))
    assert "7009" not in str(caught.value)
    with pytest.raises(InvalidInput) as caught, open_campaign_file(broken):
        pass
    assert "7009" not in str(caught.value)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.xlsx", ["phone1", "note"], *[[f"4477009{n:05}", "x" * 1000] for n in range(50)])
    monkeypatch.setattr(workbook, "MOST_CHARACTERS", 20_000)
    with pytest.raises(InvalidInput, match="characters, however small it is packed"):
        list(open_rows(path))
    with pytest.raises(InvalidInput, match="characters, however small it is packed"), open_campaign_file(path):
        pass
    monkeypatch.setattr(workbook, "LARGEST_TEXTS", 10_000)
    bomb = changed(path, "xl/sharedStrings.xml", b"<sst>" + b" " * 100_000 + b"</sst>")
    with pytest.raises(InvalidInput, match="MB of texts"):
        list(open_rows(bomb))
    monkeypatch.setattr(workbook, "LARGEST_SHEET", 1000)
    with pytest.raises(InvalidInput, match="MB of sheet"):
        list(open_rows(path))


def test_a_cell_with_a_line_end_is_a_cell(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.xlsx", ["phone1", "note"], [NUMBER, "first, line\nsecond, line"], ["447700900102", "x"])
    with open_campaign_file(path) as found:
        assert (found.kept, found.rejected) == (2, 0)


def test_a_line_of_gigabytes_costs_its_row_alone(tmp_path: Path) -> None:
    import gzip

    for name, content in (
        ("a.csv.gz", b"to,note\n1,a\n2," + b"x" * 5_000_000 + b"\n3,b\n"),
        ("a.jsonl.gz", b'{"to": "1"}\n{"to": "' + b"x" * 5_000_000 + b'"}\n{"to": "3"}\n'),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content))
        rows = list(open_rows(tmp_path / name))
        assert [row["to"] for row in rows if isinstance(row, dict)] == ["1", "3"]
        assert "longer than a million characters" in rows[1].reason  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        pytest.param("to;name\n1;Ann\n", Columns(delimiter=";"), [{"to": "1", "name": "Ann"}], id="delimiter"),
        pytest.param("to,name\n1,Zoë\n", Columns(encoding="cp1252"), [{"to": "1", "name": "Zoë"}], id="encoding"),
    ],
)
def test_a_file_of_another_country(tmp_path: Path, content: str, columns: Columns, rows: list[Any]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode(columns.encoding or "utf-8"))
    given = {name: value for name in ("delimiter", "encoding") if (value := getattr(columns, name)) is not None}
    assert list(open_rows(path, **given)) == rows


def test_what_another_country_writes_is_said_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("phone;name\n447700900101;Ann\n")
    with pytest.raises(InvalidInput, match=r"divided by ';', into 2 columns.*delimiter=';'"):
        list(open_rows(path, needed={"columns.to": ["phone"]}))
    path.write_bytes("to,name\n447700900101,Zoë\n".encode("cp1252"))
    (row,) = open_rows(path)
    assert "encoding='cp1252'" in row.reason  # type: ignore[union-attr]
    with pytest.raises(InvalidInput, match="encoding: 'utf-88' is none"):
        list(open_rows(path, encoding="utf-88"))
    path.write_text("to\n4.4770E+11\n")
    ((_, rejected),) = read_audience(path, Columns(), {"template": "t", "language": "en"})
    assert "scientific notation" in rejected.reason  # type: ignore[union-attr]
