"""A report as a page: what it counts, in every format, and what a hostile text does to it."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.cli.__main__ import main
from airflow_provider_cirrus.delivery.report.formats import Line
from airflow_provider_cirrus.delivery.report.page import _history, page_of, progress_of
from airflow_provider_cirrus.delivery.report.writer import ReportFile

BEGIN = 1_800_000_000.0


def lines() -> list[Line]:
    found = []
    for index in range(300):
        outcome = [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.REJECTED, Outcome.SUPPRESSED][index % 4]
        code = 131026 if outcome is Outcome.REJECTED else None
        reason = None if outcome is Outcome.ACCEPTED else f"not +4477009{index:05d} </script><b>now</b>"
        to = f"4477009{index:05d}" if index % 3 else f"5521900{index:06d}"
        found.append(Line(index, to, "k", outcome, None, None, code, reason, 1, BEGIN + index / 10))
    found.append(Line(300, "nobody", "", Outcome.REJECTED, None, None, None, "no number", 0, 0.0))
    return found


def written(path: Path, **options: Any) -> str:
    with ReportFile(str(path), **options) as report:
        report.write(lines())
    return str(path)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_format_says_the_same(tmp_path: Path, ending: str) -> None:
    found = progress_of(written(tmp_path / f"r.{ending}"))
    assert found["counts"] == {
        "accepted": 150, "rejected": 76, "suppressed": 75, "duplicate": 0, "unknown": 0, "unsent": 0,
    }  # fmt: skip
    assert found["total"] == 301
    assert found["countries"] == {"GB": 100, "BR": 50}
    assert {(one["outcome"], one["code"], one["count"]) for one in found["reasons"]} == {
        ("rejected", 131026, 75),
        ("suppressed", None, 75),
        ("rejected", None, 1),
    }
    # The one without a time is in the counts alone.
    assert found["history"][-1] == [30.0, 150, 75, 75, 0, 0, 0]
    assert found["seconds"] == 30


@pytest.mark.parametrize("recipients", ["full", "masked", "hash"])
def test_no_whole_number_is_on_the_page_and_no_text_is_more_than_text(tmp_path: Path, recipients: Any) -> None:
    page = page_of(written(tmp_path / "r.jsonl", recipients=recipients))
    assert re.findall(r"(?<!\d)\d{11,13}(?!\d)", page) == []
    assert "<b>now" not in page
    assert page.count("</script>") == 2
    assert "src=" not in page
    assert "href=" not in page.replace('href="data:,"', "").replace("{ href: ", "")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.S)
    assert json.loads(data)["total"] == 301


def test_the_command_says_where_the_page_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = written(tmp_path / "summer.csv")
    monkeypatch.chdir(tmp_path)
    assert main(["report", report]) == 0
    assert capsys.readouterr().out.strip() == "summer.csv.html"
    assert (tmp_path / "summer.csv.html").read_text().startswith("<!doctype html>")
    assert main(["report", report, "--output", str(tmp_path / "p.html")]) == 0
    assert (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('{"to": "447700900101"}\n', "outcome", id="audience"),
        pytest.param(None, "there is no file", id="nothing"),
        pytest.param("{}{\n", "line 1", id="broken"),
        pytest.param(
            '{"recipient": "", "outcome": "sent", "code": null, "reason": null, "time": null}\n',
            "line 1 has no outcome",
            id="outcome",
        ),
        pytest.param(
            '{"recipient": "", "outcome": "unsent", "code": "x", "reason": null, "time": null}\n',
            "line 1 has a code or a time",
            id="code",
        ),
    ],
)
def test_what_is_no_report_is_told(
    tmp_path: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    if text is not None:
        path.write_text(text)
    assert main(["report", str(path), "--output", str(tmp_path / "p.html")]) == 1
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)
    assert not (tmp_path / "p.html").exists()
    with pytest.raises(InvalidInput):
        page_of(path)


@given(
    st.dictionaries(
        st.integers(0, 1_000_000), st.dictionaries(st.sampled_from(Outcome), st.integers(1, 50), max_size=3)
    )
)
def test_a_history_grows_to_what_there_is(seconds: dict[int, dict[Outcome, int]]) -> None:
    found = _history({moment: Counter(counts) for moment, counts in seconds.items()})
    if not seconds:
        assert found == []
        return
    assert found[0] == [0.0, 0, 0, 0, 0, 0, 0]
    assert len(found) <= 243
    assert [point[0] for point in found] == sorted({point[0] for point in found})
    for before, after in pairwise(found):
        assert all(a <= b for a, b in zip(before, after, strict=True))
    assert found[-1][1:] == [sum(counts.get(outcome, 0) for counts in seconds.values()) for outcome in Outcome]
