"""What the scripts of this repository set up for people."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bench, test_matrix
from scripts.up import EXAMPLE_DAGS, connections

# The same on every line of Airflow.
pytestmark = pytest.mark.source


def test_make_up_has_every_connection_that_an_example_names(tmp_path: Path) -> None:
    named = {"cirrus_default"}
    for example in EXAMPLE_DAGS.glob("example_*.py"):
        text = example.read_text()
        named |= {one or other for one, other in re.findall(r'conn_id="(\w+)"|get_connection\("(\w+)"\)', text)}
    assert "shop" in named
    variables = {f"AIRFLOW_CONN_{name.upper()}" for name in named}
    assert variables == set(connections(tmp_path, "cirrus://"))


def test_a_python_that_is_not_here_is_told_and_no_other_stands_in_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert test_matrix.find_python("1.5") is None
    monkeypatch.setattr(test_matrix, "find_python", lambda version: None)
    monkeypatch.setattr(sys, "argv", ["test_matrix", "py3.13"])
    with pytest.raises(SystemExit) as end:
        test_matrix.main()
    assert not end.value.code
    assert "not tested: there is no Python 3.13 here" in capsys.readouterr().out


def test_a_line_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("4.0", "3.0:system"):
        monkeypatch.setattr(sys, "argv", ["test_matrix", name])
        with pytest.raises(SystemExit, match=rf"there is no line '{name}'; there are .*3.3.*py3.12"):
            test_matrix.main()


def test_of_a_line_the_unit_tests_may_be_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(test_matrix, "python_of", lambda name: sys.executable)
    monkeypatch.setattr(test_matrix, "test", lambda python, part, more: (not ran.append([part]), "1 passed in 1s"))
    monkeypatch.setattr(sys, "argv", ["test_matrix", "3.0:unit", "2.11"])
    with pytest.raises(SystemExit) as end:
        test_matrix.main()
    assert not end.value.code
    assert ran == [["unit"], [""]]
    assert "3.0:unit" in capsys.readouterr().out


def test_the_page_on_performance_is_what_the_benchmarks_print() -> None:
    names = {path.stem for path in (bench.ROOT / "benchmarks").glob("[!_]*.py")}
    assert set(bench.BENCHMARKS) == names, "a benchmark is in no section of the page, or a section has none"
    page = bench.PAGE.read_text()
    assert page.startswith(bench.HEAD)
    assert list(bench.sections(page)) == list(bench.BENCHMARKS)


def test_a_section_of_the_page_on_performance_is_found_again() -> None:
    made = bench.section("resume", "3 s\ntarget: met", "here and now")
    assert "```text\n3 s\ntarget: met\n```" in made
    assert "python benchmarks/resume.py" in made
    assert bench.sections(f"{bench.HEAD}\n{made}")["resume"].strip() == made.strip()


def test_a_short_soak_loses_nobody(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.soak", "--messages", "600", "--minutes", "0.05"]
    done = subprocess.run(words, cwd=bench.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nobody twice, nobody lost; too short" in done.stdout
    assert "6 suppressed, 3 duplicate" in done.stdout
