from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.campaign.audience_file import CampaignFile, open_campaign_file
from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.delivery.rules.policy import Policy

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a CSV file."""

    def _write(text: str) -> Path:
        path = tmp_path / "audience.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def workbook(path: Path, *rows: list[Any], sheets: int = 1) -> Path:
    book = openpyxl.Workbook()
    for _ in range(sheets - 1):
        book.create_sheet()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(path)
    return path


def looked_at(source: Any, **options: Any) -> tuple[CampaignFile, bytes]:
    with open_campaign_file(source, **options) as found:
        return found, found.file.read()


def counts(found: CampaignFile) -> tuple[int, int, int, int]:
    return found.kept, found.suppressed, found.rejected, found.duplicate


def test_a_clean_file_goes_out_byte_by_byte(write: Write) -> None:
    path = write('\ufeffname,phone1\r\n"Ann, A",447700900101\r\n\r\nBen,447700900102\r\n')
    found, content = looked_at(path)
    assert content == path.read_bytes()
    assert (found.filename, found.media_type, found.kept, found.total) == ("audience.csv", "text/csv", 2, 2)


def test_numbers_written_for_people_go_out_as_digits_in_a_copy(write: Write) -> None:
    found, content = looked_at(write('phone1,name\n+44 7700 900-101,"Ann ""A"""\n447700900102,Ben\n'))
    assert content.decode().splitlines() == ["phone1,name", '447700900101,"Ann ""A"""', "447700900102,Ben"]
    assert found.kept == found.total == 2


BAD = "phone1\n447700900101\n07700 900102\n\n+44 7700 900101\nnobody\n447700900103\n"


def test_bad_rows_are_all_counted_and_named_without_a_whole_number(write: Write) -> None:
    with pytest.raises(InvalidInput, match=r"3 of 5 rows .*: 2 without a number, 1 duplicate") as caught:
        looked_at(write(BAD))
    said = str(caught.value)
    for place in ("row 2, phone1: has no country code", "row 3, phone1: +44******0101 stands", "row 4, phone1"):
        assert place in said
    assert 'on_bad_rows="drop"' in said
    assert "7700900101" not in said


def test_bad_rows_can_be_left_out(write: Write) -> None:
    found, content = looked_at(write(BAD), drop_bad_rows=True)
    assert content.decode().split() == ["phone1", "447700900101", "447700900103"]
    assert counts(found) == (2, 0, 2, 1)
    assert len(found.problems) == 3


def test_both_spellings_of_an_account_are_one(write: Write) -> None:
    found, _ = looked_at(write("phone1\n5215512345678\n525512345678\n"), drop_bad_rows=True)
    assert counts(found) == (1, 0, 0, 1)


def test_a_file_that_is_wrong_throughout_is_refused_even_where_rows_may_be_left_out(write: Write) -> None:
    with pytest.raises(InvalidInput, match="And 2 more"):
        looked_at(write("phone1\n" + "nobody\n" * 7), drop_bad_rows=True)


def test_who_is_held_back_is_not_in_what_goes_out(write: Write) -> None:
    found, content = looked_at(
        write("phone1\n447700900101\n447700900102\n447700900102\n"),
        look=Policy(lambda digits: "a rule: no" if digits.endswith("2") else None).evaluate_rows,
    )
    assert content.decode().split() == ["phone1", "447700900101"]
    assert counts(found) == (1, 2, 0, 0)
    assert (found.rules, found.held) == ({"a rule": 2}, ["row 2, a rule: no", "row 3, a rule: no"])
    found, _ = looked_at(write("phone1\n447700900101\n"), look=Policy(lambda digits: "no").evaluate_rows)
    assert counts(found) == (0, 1, 0, 0)


def ruled(source: Any, consent: Consent, **options: Any) -> tuple[CampaignFile, bytes]:
    with consent:
        return looked_at(source, look=Policy(consent=consent).evaluate_rows, needed=consent.needed(), **options)


def test_only_who_agreed_in_a_column_and_is_on_no_list_stays(write: Write) -> None:
    path = write("phone1,ok\n447700900101,yes\n447700900102,\n447700900103,maybe\n447700900104,yes\nnobody,yes\n")
    consent = Consent({"column": "ok"}, ["+44 7700 900104"])
    found, content = ruled(path, consent, drop_bad_rows=True)
    assert content.decode().splitlines() == ["phone1,ok", "447700900101,yes"]
    assert counts(found) == (1, 3, 1, 0)
    assert found.rules == {"opt_in": 2, "suppression": 1}
    assert found.held[1] == "row 3, opt_in: column 'ok' holds a text of 5 characters that says neither yes nor no"


def test_a_column_that_a_rule_goes_by_must_be_there(write: Write) -> None:
    with pytest.raises(InvalidInput, match=r"no column 'agreed'.* did you mean 'Agreed'") as caught:
        ruled(write("phone1,Agreed\n447700900101,yes\n"), Consent({"column": "agreed"}))
    assert caught.value.field == "opt_in.column"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(["yes", "no"], (1, 0, 0, 1), id="then-no"),
        pytest.param(["no", "yes"], (0, 1, 0, 1), id="then-yes"),
        pytest.param(["no", "no"], (0, 2, 0, 0), id="always-no"),
    ],
)
def test_an_account_of_which_two_rows_say_different_things_is_a_duplicate(
    write: Write, answers: list[str], expected: tuple[int, ...]
) -> None:
    path = write("phone1,ok\n" + "".join(f"447700900101,{answer}\n" for answer in answers))
    found, _ = ruled(path, Consent({"column": "ok"}), drop_bad_rows=True)
    assert counts(found) == expected


def test_the_rules_are_asked_for_many_rows_at_once(write: Write) -> None:
    everybody = [f"447700900{place:03d}" for place in range(700)]
    asked: list[int] = []

    def look(rows: Any) -> list[Any]:
        asked.append(len(rows))
        return Policy(lambda digits: "a rule: no" if digits.endswith("7") else None).evaluate_rows(rows)

    found, content = looked_at(write("\n".join(["phone1", "nobody", *everybody])), look=look, drop_bad_rows=True)
    assert content.decode().split()[1:] == [digits for digits in everybody if not digits.endswith("7")]
    assert counts(found) == (630, 70, 1, 0)
    assert found.held[0].startswith("row 9, ")
    assert asked == [499, 201]


def test_a_cell_of_a_workbook_may_say_when_somebody_agreed(tmp_path: Path) -> None:
    rows = [["phone1", "ok"], [447700900101, datetime(2026, 1, 2)], [447700900102, True], [447700900103, None]]
    found, content = ruled(workbook(tmp_path / "a.xlsx", *rows), Consent({"column": "ok"}))
    assert [line.partition(",")[0] for line in content.decode().split("\n")[1:3]] == ["447700900101", "447700900102"]
    assert counts(found) == (2, 1, 0, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("Phone1,name\n1,a\n", "no column 'phone1'.* did you mean 'Phone1'", id="case"),
        pytest.param("447700900101\n447700900102\n", r"no column 'phone1'.*\+44\*+0101", id="no-header"),
        pytest.param("phone1,phone1\n1,2\n", "2 columns 'phone1'", id="twice"),
        pytest.param("phone1\n\n", "holds no row", id="nobody"),
        pytest.param("", "has no header", id="empty"),
        pytest.param("phone1\n4477009001,01\n", "row 1 has 2 columns", id="more-cells"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write: Write, text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        looked_at(write(text))
    assert caught.value.field == "audience_file"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param("gone.csv", "no file", id="gone"),
        pytest.param("folder.csv", "is a folder", id="folder"),
        pytest.param("audience.parquet", "a kind that campaigns do not take", id="kind"),
        pytest.param(None, "is missing", id="none"),
    ],
)
def test_what_cannot_be_opened_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInput, match=problem):
        looked_at(source)


def test_the_same_people_have_one_name_in_any_order_and_spelling(write: Write) -> None:
    first, _ = looked_at(write("phone1\n447700900101\n447700900102\n"))
    again, _ = looked_at(write("phone1,x\n+44 7700 900102,1\n447700900101,2\n"))
    other, _ = looked_at(write("phone1\n447700900101\n447700900103\n"))
    assert first.recipients == again.recipients != other.recipients


def test_a_file_in_a_store_is_read(tmp_path: Path, write: Write) -> None:
    found, _ = looked_at(f"file://{write('phone1' + chr(10) + '447700900101' + chr(10))}")
    assert (found.filename, found.kept) == ("audience.csv", 1)


def test_a_clean_workbook_goes_out_as_it_is(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ["phone1", "name"], [447700900101, "Ann"], [], ["447700900102", None])
    found, content = looked_at(path)
    assert content == path.read_bytes()
    assert (found.filename, found.kept, found.total) == ("a.xlsx", 2, 2)
    assert openpyxl.load_workbook(io.BytesIO(content)).active is not None


def test_a_workbook_that_has_to_change_goes_out_as_csv(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ["phone1", "name"], ["+44 7700 900101", "Ann"], ["nobody", None])
    found, content = looked_at(path, drop_bad_rows=True)
    assert content.decode().splitlines() == ["phone1,name", "447700900101,Ann"]
    assert (found.filename, found.media_type, found.rejected) == ("a.csv", "text/csv", 1)


@pytest.mark.parametrize(
    ("rows", "sheets", "problem"),
    [
        pytest.param([["phone1"], [447700900101]], 2, "has 2 sheets", id="sheets"),
        pytest.param([["phone1"], [447700900101.5]], 1, "decimal point", id="float"),
        pytest.param([["phone"], [447700900101]], 1, "did you mean 'phone'", id="column"),
        pytest.param([], 1, "has no header", id="empty"),
    ],
)
def test_what_is_wrong_with_a_workbook_is_said(tmp_path: Path, rows: list[Any], sheets: int, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        looked_at(workbook(tmp_path / "a.xlsx", *rows, sheets=sheets))


def test_what_only_calls_itself_a_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("phone1\n447700900101\n")
    with pytest.raises(InvalidInput, match="not an Excel workbook"):
        looked_at(tmp_path / "a.xlsx")


OPENING = """
import sys
from airflow_provider_cirrus.delivery.campaign.audience_file import open_campaign_file
with open_campaign_file(sys.argv[1]) as found:
    print(found.file.read(5), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["csv", "csv-that-changes", "workbook"])
def test_a_process_that_is_killed_leaves_no_numbers_behind(tmp_path: Path, kind: str) -> None:
    source, scratch = tmp_path / "source.csv", tmp_path / "scratch"
    scratch.mkdir()
    if kind == "workbook":
        source = workbook(tmp_path / "source.xlsx", ["phone1"], ["+44 7700 900101"])
    else:
        source.write_text("phone1\n447700900101\n" if kind == "csv" else "phone1\n+44 7700 900101\n")
    with subprocess.Popen(
        [sys.executable, "-c", OPENING, str(source)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch), "SQLITE_TMPDIR": str(scratch)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "b'phone'\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(scratch.iterdir()) == []
