from __future__ import annotations

import datetime
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.audience.rows import count_hint, open_rows
from airflow_provider_cirrus.delivery.audience.table import BadRow

ROWS = [{"to": "+44 7700 900123", "name": 'Ann, "A"\nSmith'}, {"to": "447700900124", "name": "Zoë"}]
CSV = '\ufeffto,name\r\n+44 7700 900123,"Ann, ""A""\nSmith"\r\n\r\n447700900124,Zoë\r\n'.encode()
JSONL = "".join(json.dumps(row) + "\n\n" for row in ROWS).encode()


def written(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.csv.gz", CSV),
        ("a.jsonl", JSONL),
        ("a.ndjson", JSONL),
        ("a.jsonl.gz", JSONL),
        ("b.jsonl", b"\xef\xbb\xbf" + JSONL.strip()),
    ],
)
@pytest.mark.parametrize("uri", [False, True])
def test_files_are_read(tmp_path: Path, name: str, content: bytes, uri: bool) -> None:
    path = written(tmp_path, name, content)
    assert list(open_rows(f"file://{path}" if uri else path)) == ROWS
    assert count_hint(path) is None


def test_paths_may_be_objects(tmp_path: Path) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    path = written(tmp_path, "a.csv", CSV)
    assert list(open_rows(ObjectStoragePath(path))) == list(open_rows(Path(path))) == ROWS


def test_another_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"to;name\n1;x,y\n")
    assert list(open_rows(path, delimiter=";")) == [{"to": "1", "name": "x,y"}]
    with pytest.raises(InvalidInput, match="delimiter"):
        open_rows(path, delimiter=";;")


def test_bad_rows_of_csv_stop_no_other(tmp_path: Path) -> None:
    content = b'to,name\n1,a\n2\n3,c,d\n4,\xff\n5,"e"x\n6,f\n7,"never closed\n8,g\n'
    rows = list(open_rows(written(tmp_path, "a.csv", content)))
    assert rows[0] == {"to": "1", "name": "a"}
    assert rows[1] == BadRow(2, "has 1 columns where the header has 2.")
    assert rows[2] == BadRow(3, "has 3 columns where the header has 2.")
    assert isinstance(rows[3], BadRow)
    assert rows[3].reason.startswith("is not UTF-8")
    assert "encoding='cp1252'" in rows[3].reason
    assert isinstance(rows[4], BadRow)
    assert rows[5] == {"to": "6", "name": "f"}
    assert isinstance(rows[6], BadRow), "a quote that is never closed is said, not swallowed"


def test_bad_lines_of_json_stop_no_other(tmp_path: Path) -> None:
    content = b'{"to": 1}\nnonsense\n[1]\n{"to": "\xff"}\n' + b"[" * 100_000 + b'\n{"to": 2}\n'
    rows = list(open_rows(written(tmp_path, "a.jsonl", content)))
    assert rows[0] == {"to": 1}
    assert rows[-1] == {"to": 2}
    reasons = [row.reason if isinstance(row, BadRow) else "" for row in rows[1:-1]]
    assert [reason[:12] for reason in reasons] == ["is not JSON.", "is JSON, but", "is not UTF-8", "is not JSON."]


@pytest.mark.parametrize(
    ("name", "content", "field", "problem"),
    [
        pytest.param("a.txt", b"", "audience", "must end in .csv", id="ending"),
        pytest.param("a.csv", None, "audience", "there is no file", id="missing"),
        pytest.param("a.csv", b"", "audience", "no header", id="empty"),
        pytest.param("a.csv", b"\nto\n", "audience", "no header", id="blank-header"),
        pytest.param("a.csv", b"Phone,name\n", "to_column", "did you mean 'Phone'", id="column"),
        pytest.param("a.csv", b"phone,phone\n", "to_column", "2 columns", id="twice"),
        pytest.param("a.parquet", b"PAR0", "audience", "not a Parquet file", id="no-parquet"),
    ],
)
def test_what_is_wrong_throughout_is_said_at_once(
    tmp_path: Path, name: str, content: bytes | None, field: str, problem: str
) -> None:
    path = str(tmp_path / name) if content is None else written(tmp_path, name, content)
    with pytest.raises(InvalidInput, match=problem) as caught:
        open_rows(path, needed={"to_column": ["phone"]})
    assert caught.value.field == field


def test_a_number_in_place_of_a_header_is_masked(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"+44 7700 900123,Ann\n")
    with pytest.raises(InvalidInput) as caught:
        open_rows(path, needed={"to_column": ["to"]})
    assert "900123" not in str(caught.value)


@pytest.mark.parametrize("source", [{"to": 1}, b"to", 5, None])
def test_what_is_no_audience(source: Any) -> None:
    with pytest.raises(InvalidInput, match="audience: is of type"):
        open_rows(source)


def test_iterables() -> None:
    assert list(open_rows([{"to": 1}, "x"])) == [{"to": 1}, BadRow(2, "is of type str, not a dict.")]
    assert count_hint([1, 2]) == 2
    assert count_hint(iter([1])) is None


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = str(tmp_path / "a.parquet")
    day = datetime.date(2030, 5, 17)
    table = pa.table({"to": [447700900123, None], "day": [day, day], "other": [1, 2]})
    parquet.write_table(table, path)
    assert count_hint(path) == 2
    found = list(open_rows(path, needed={"to_column": ["to"], "body_columns": ["day"]}))
    assert found == [{"to": 447700900123, "day": day}, {"to": None, "day": day}]
    with pytest.raises(InvalidInput, match="did you mean 'day'"):
        open_rows(path, needed={"body_columns": ["days"]})


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"airflow-provider-cirrus\[parquet\]"):
        open_rows(written(tmp_path, "a.parquet", b""))


_PEAK = r"""
import re, sys
from airflow_provider_cirrus.delivery.audience.messages import Columns, read_audience
found = read_audience(sys.argv[1], Columns(body=["name"]), {"template": "t", "language": "en"})
count = sum(1 for _ in found)
# Not ru_maxrss: a child begins with its parent's, and pytest is larger than all that is measured here.
with open("/proc/self/status") as status:
    print(count, re.search(r"VmHWM:\s+(\d+)", status.read())[1])
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (1_000, 200_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as file:
            file.writelines(f'{{"to": "4477009{n % 100_000:05d}", "name": "n{n}"}}\n' for n in range(count))
        ran = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
        read, peak = ran.stdout.split()[-2:]
        assert int(read) == count
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 20 * 1024


@pytest.mark.parametrize(
    ("lines", "whole", "lost"),
    [
        pytest.param(['1,"Ann', "2,Ben", "3,Cyd"], 0, 3, id="never-closed"),
        pytest.param(['1,"Ann', "2,Ben", '3,"Cyd"', "4,Dan"], 1, 3, id="closed-by-the-next-quote"),
        pytest.param(['1,"Ann', "2,Ben", '"', "4,Dan"], 1, 3, id="closed-where-the-columns-match"),
        pytest.param(['1,"10 High St', 'Town"', "2,Ben"], 2, 0, id="a-cell-of-two-lines"),
    ],
)
def test_every_line_that_an_open_quote_takes_with_it_is_counted(
    tmp_path: Path, lines: list[str], whole: int, lost: int
) -> None:
    path = tmp_path / "audience.csv"
    path.write_text("\n".join(["to,name", *lines]) + "\n")
    rows = list(open_rows(str(path)))
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert (len(rows) - len(bad), len(bad)) == (whole, lost)
    assert all("quote" in row.reason for row in bad)
