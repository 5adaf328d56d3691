"""The page on scale and its dashboard say what is measured, and what is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_provider_cirrus.api.results import Outcome

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


@pytest.mark.parametrize("figure", ["390 bytes", "43 bytes", "78,000", "12,000", "3.5 s", "+14 MB"])
def test_figures_of_the_page_on_scale_are_measured_ones(figure: str) -> None:
    performance, scale = ((DOCS / f"{name}.md").read_text() for name in ("performance", "scale"))
    told = {"12,000": "12,300", "3.5 s": "3.5 s", "+14 MB": "+14 MB"}.get(figure, figure)
    assert told in performance
    assert {"3.5 s": "3 to 3.5 seconds", "+14 MB": "14 MB"}.get(figure, figure) in scale
