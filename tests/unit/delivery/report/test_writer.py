from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import ReportError
from airflow_provider_cirrus.delivery.report.formats import FIELDS, Line
from airflow_provider_cirrus.delivery.report.writer import ReportFile
from tests.lines import AIRFLOW

ROOT = Path(__file__).parents[4]
ENDINGS = ["jsonl", "ndjson", "csv", "parquet"]

# Shared by the tests that need a process of their own.
CHILD = """
import resource, sys, time
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.report.writer import Line, ReportFile

def lines(start, count):
    return [Line(n, f"4477009{n % 100000:05d}", f"{n:024x}", Outcome.ACCEPTED, f"m{n}", f"o{n}", None, None, 1,
                 1.7e9 + n / 80) for n in range(start, start + count)]
"""


def line(index: int = 0, **changed: Any) -> Line:
    values: dict[str, Any] = {
        "index": index,
        "recipient": "447700900123",
        "key": f"{index:024x}",
        "outcome": Outcome.ACCEPTED,
        "message_id": f"m{index}",
        "object_id": None,
        "code": None,
        "reason": None,
        "attempt": 1,
        "time": 1_700_000_000.25,
    }
    return Line(**values | changed)


def read(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found: dict[str, Any] = {name: value or None for name, value in row.items()}
                for name in ("index", "code", "attempt"):
                    found[name] = None if found[name] is None else int(found[name])
                found["time"] = found["time"] and datetime.fromisoformat(found["time"])
                yield found
    else:
        for text in path.read_text().split("\n")[:-1]:
            row = json.loads(text)
            yield row | {"time": row["time"] and datetime.fromisoformat(row["time"])}


def only(path: Path, **changed: Any) -> dict[str, Any]:
    how = {name: changed.pop(name) for name in ("recipients", "spreadsheet_safe") if name in changed}
    with ReportFile(path, **how) as report:
        report.write([line(**changed)])
    (found,) = read(path)
    return found


def cut_off(path: Any, count: int) -> None:
    """Write a report that ends in an exception."""
    with contextlib.suppress(KeyError), ReportFile(path) as report:
        report.write([line(n) for n in range(count)])
        raise KeyError


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CHILD + code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_comes_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new" / f"report.{ending}"
    with ReportFile(path) as report:
        report.write([line(0), line(1, outcome=Outcome.REJECTED, code=131026, reason='no, "not"\r\nthere\rü\u2028')])
        report.write([line(2, outcome=Outcome.UNKNOWN, message_id=None, time=0)])
    found = list(read(path))
    assert [tuple(row) for row in found] == [FIELDS] * 3
    assert found[0]["time"] == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert found[1]["reason"] == 'no, "not"\r\nthere\rü\u2028'
    assert found[1]["code"] == 131026
    assert found[2] == {
        **dict.fromkeys(FIELDS),
        "index": 2,
        "recipient": "447700900123",
        "key": f"{2:024x}",
        "outcome": "unknown",
        "attempt": 1,
    }
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_lines_it_can_be_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path):
        pass
    assert list(read(path)) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_a_surrogate_pair_is_written(tmp_path: Path, ending: str) -> None:
    assert only(tmp_path / f"report.{ending}", reason="a\ud800b")["reason"] == "a?b"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("recipients", "shown"),
    [
        pytest.param("full", "447700900123", id="full"),
        pytest.param("masked", "+44******0123", id="masked"),
        # Written out, as reports of today must be joinable with those of later versions.
        pytest.param("hash", "b81a5b2f0b12e81452369290356ebdab", id="hash"),
    ],
)
def test_recipients(tmp_path: Path, ending: str, recipients: str, shown: str) -> None:
    found = only(tmp_path / f"report.{ending}", recipients=recipients, reason="447700900123 is gone")
    assert found["recipient"] == shown
    assert ("447700900123" in found["reason"]) == (recipients == "full")


@pytest.mark.parametrize("reason", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_spreadsheet_runs_nothing(tmp_path: Path, reason: str) -> None:
    found = only(tmp_path / "report.csv", reason=reason, recipient="=2+2")
    assert found["reason"] == f"'{reason}"
    assert found["recipient"] == "'=2+2"


@pytest.mark.parametrize("reason", ["=1+1", "+1", "\tx"])
def test_whoever_reads_csv_as_it_is_written_can_have_it_so(tmp_path: Path, reason: str) -> None:
    found = only(tmp_path / "report.csv", reason=reason, recipient="=2+2", spreadsheet_safe=False)
    assert (found["reason"], found["recipient"]) == (reason, "=2+2")


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_it_grows_while_open(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path) as report:
        report.write([line(0)])
        assert report.growing_at == str(path)
        assert len(list(read(path))) == 1
        report.write([line(1)])
        assert len(list(read(path))) == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_earlier_report_stays_until_the_new_one_is_complete(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path) as report:
        report.write([line(n) for n in range(50)])
    with ReportFile(path) as report:
        report.write([line(0)])
        assert len(list(read(path))) == 50
        assert report.uri == f"file://{path}"
    assert len(list(read(path))) == 1


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("count", "left"), [pytest.param(1, 50, id="shorter"), pytest.param(99, 99, id="longer")])
def test_an_incomplete_report_replaces_only_a_shorter_one(tmp_path: Path, ending: str, count: int, left: int) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path) as report:
        report.write([line(n) for n in range(50)])
    cut_off(path, count)
    assert len(list(read(path))) == left
    assert Path(f"{path}.part").exists() == (count < left)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_report_that_is_there_can_be_an_error(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r.{ending}"
    with ReportFile(path, if_exists="fail") as report:
        report.write([line()])
    before = path.read_bytes()
    with pytest.raises(
        InvalidInput, match=r"report.if_exists: is fail, and there is a report already.*Nothing was sent"
    ):
        ReportFile(path, if_exists="fail").open()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_report_that_is_there_can_be_removed_at_the_beginning(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r.{ending}"
    with ReportFile(path) as report:
        report.write([line(index) for index in range(50)])
    new = ReportFile(path, if_exists="replace").open()
    assert not path.exists() or path.stat().st_size < 200
    new.write([line(index) for index in range(2)])
    # Even where lines are missing: there is nothing that has more to say.
    new.close(keep_partial=True)
    assert [row["index"] for row in read(path)] == [0, 1]


@pytest.mark.parametrize("ending", ENDINGS)
def test_killed_and_resumed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    code = CHILD + "r = ReportFile(sys.argv[1]).open(); r.write(lines(0, 60)); print('on', flush=True); time.sleep(60)"
    for _ in range(2):  # The second kill leaves a .part beside the first one's.
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"on\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    if ending != "parquet":
        assert len(list(read(path))) == 60
    with ReportFile(path) as report:
        report.write([line(n) for n in range(100)])
    assert [row["index"] for row in read(path)] == list(range(100))
    assert os.listdir(tmp_path) == [path.name]


def test_an_orphan_touches_no_later_report(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    with ReportFile(path) as report:
        report.write([line(0)])
    orphan = ReportFile(path).open()
    current = ReportFile(path).open()
    orphan.write([line(8), line(9)])
    current.write([line(1)])
    orphan.close()
    current.close()
    assert [row["index"] for row in read(path)] == [1]


@pytest.mark.parametrize("ending", ["txt", "jsonl.gz", "", "part"])
def test_another_ending_is_refused_at_once(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InvalidInput, match="report_path") as caught:
        ReportFile(tmp_path / f"report.{ending}")
    assert caught.value.field == "report_path"


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_unwritable_place_is_refused_when_opened(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / f"folder.{ending}").mkdir()
    for path in (tmp_path / "file" / f"report.{ending}", tmp_path / f"folder.{ending}"):
        with pytest.raises(InvalidInput, match=r"report_path.*cannot be written"):
            ReportFile(path).open()


def test_a_full_disk(tmp_path: Path) -> None:
    report = ReportFile(tmp_path / "other.csv").open()
    report._format._file = open("/dev/full", "wb")  # type: ignore[union-attr]  # noqa: SIM115
    with pytest.raises(ReportError, match="No space left"):
        report.write([line()])
    with pytest.raises(ReportError):
        report.write([line()])


def test_pyarrow_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"airflow-provider-cirrus\[parquet\]"):
        ReportFile(tmp_path / "report.parquet").open()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_threads_never_mix_lines(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report.{ending}"
    with ReportFile(path) as report:
        threads = [
            threading.Thread(
                target=lambda at=at: [report.write([line(at + n + k) for k in range(20)]) for n in range(0, 2000, 20)]
            )
            for at in range(0, 16_000, 2000)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = list(read(path))
    assert sorted(row["index"] for row in found) == list(range(16_000))
    assert all(row["message_id"] == f"m{row['index']}" for row in found)


def test_closed_is_closed(tmp_path: Path) -> None:
    report = ReportFile(tmp_path / "report.csv").open()
    report.close()
    report.close()
    with pytest.raises(ValueError, match="not open"):
        report.write([line()])


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_memory_is_flat(tmp_path: Path, ending: str) -> None:
    code = """
with ReportFile(sys.argv[1]) as report:
    for start in range(0, int(sys.argv[2]), 20):
        report.write(lines(start, 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    few, many = (int(run(code, str(tmp_path / f"{count}.{ending}"), str(count))) for count in (1_000, 300_000))
    assert (many - few) / 1024 < 20


@pytest.mark.parametrize("ending", ENDINGS)
def test_object_storage(tmp_path: Path, ending: str) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from fsspec.implementations.memory import MemoryFileSystem

    store = import_module("airflow.sdk.io" if AIRFLOW >= (3, 0) else "airflow.io.store")
    store.attach("memory", fs=MemoryFileSystem())
    place = ObjectStoragePath(f"memory://reports-{tmp_path.name}/report.{ending}")
    copy = tmp_path / f"copy.{ending}"
    for given, count in ((str(place), 50), (place, 60)):
        with ReportFile(given) as report:
            report.write([line(n) for n in range(count)])
            assert report.growing_at is None
        copy.write_bytes(place.read_bytes())
        assert len(list(read(copy))) == count
        assert [found.name for found in place.parent.iterdir()] == [place.name]
    cut_off(place, 1)
    assert len(place.read_bytes()) == copy.stat().st_size
    with pytest.raises(InvalidInput, match="report already"):
        ReportFile(place, if_exists="fail").open()
    assert len(place.read_bytes()) == copy.stat().st_size
    with ReportFile(place, if_exists="replace") as report:
        assert not place.exists() or len(place.read_bytes()) < 200
        report.write([line()])
    copy.write_bytes(place.read_bytes())
    assert len(list(read(copy))) == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('="******"&HYPERLINK("https://x.example")', id="stars-in-a-formula"),
        pytest.param('+44******0101&HYPERLINK("https://x.example")', id="behind-a-mask"),
        pytest.param("+44******0101\n=1+1", id="mask-and-line"),
        pytest.param("\n=1+1", id="line-first"),
        pytest.param("@SUM(A1)", id="at"),
    ],
)
def test_nothing_that_a_spreadsheet_would_run_stands_in_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.csv"
    with ReportFile(path) as report:
        report.write([line(0, reason=text), line(1, recipient=text), line(2, recipient="+44******0101")])
    first, second, third = read(path)
    assert first["reason"] == second["recipient"] == f"'{text}"
    assert third["recipient"] == "+44******0101"


def test_a_report_on_this_machine_is_its_owners_alone(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.csv", "c.parquet"):
        with ReportFile(tmp_path / name) as report:
            report.write([line(0)])
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_an_unknown_store_is_refused_when_opened() -> None:
    with pytest.raises(InvalidInput, match="report_path"):
        ReportFile("nowhere://bucket/report.csv").open()
