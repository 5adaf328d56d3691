"""The page on scale and its dashboard say what is measured, and what is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_provider_cirrus.api.results import Outcome
from scripts.bench import sections

pytestmark = pytest.mark.source

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_of_the_dashboard_is_one_of_ours() -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    named = set(re.findall(r"airflow_(cirrus_\w+)", " ".join(t["expr"] for p in board["panels"] for t in p["targets"])))
    # As a StatsD exporter writes them.
    counters = {f"cirrus_messages_{outcome.value}" for outcome in Outcome}
    assert named == counters | {"cirrus_request_sum", "cirrus_request_count"}
    told = (DOCS / "metrics.md").read_text()
    assert "`cirrus.messages.accepted`" in told
    assert "`cirrus.request`" in told


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24


def measured(benchmark: str, pattern: str) -> float:
    """Return a figure of the page that the benchmarks write; the first that the pattern finds."""
    found = re.search(pattern, sections((DOCS / "performance.md").read_text())[benchmark])
    assert found, f"{benchmark} does not tell {pattern}"
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("said", "benchmark", "pattern"),
    [
        pytest.param(r"One task sends ([\d,]+) messages a second", "scheduler", r"task_state +(\d+)", id="speed"),
        pytest.param(r"([\d,]+) bytes a message: 3.9 GB", "prune", r"bytes a message +(\d+)", id="database"),
        pytest.param(r"looks through ([\d,]+) rows", "prune", r"half is old +([\d,]+)", id="prune"),
        pytest.param(r"([\d,]+) bytes a message. A task", "ledger_size", r"(\d+) bytes a message$", id="task-state"),
        pytest.param(r"goes on after ([\d.]+) seconds", "resume", r"task state +([\d.]+) s", id="resume"),
        pytest.param(r"to (\d+) MB more for ten million", "memory", r"SQLite.*\+([\d.]+) MB", id="memory"),
        pytest.param(r"and about (\d+) ms to Airflow", "import_cost", r"operators +([\d.]+) ms", id="import"),
    ],
)
def test_figures_of_the_page_on_scale_are_measured_ones(said: str, benchmark: str, pattern: str) -> None:
    # Machines differ from day to day by as much; what has doubled is to be told anew.
    told = re.search(said, (DOCS / "scale.md").read_text() + (DOCS.parent / "README.md").read_text())
    assert told, said
    figure = float(told[1].replace(",", ""))
    assert figure == pytest.approx(measured(benchmark, f"(?m){pattern}"), rel=0.45)
