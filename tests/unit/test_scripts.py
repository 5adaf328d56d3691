"""What the scripts of this repository set up for people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
