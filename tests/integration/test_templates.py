"""A template's definition and the DAG that is parsed with it, as Airflow shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.lines import since
from tests.unit.templates.definitions import ORDER

DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_cirrus.operators import SendTemplateOperator

with DAG("wrong", schedule=None):
    SendTemplateOperator(
        task_id="send", template="order_update", language="en", to="+44 7700 900123", header="A-17",
        body=["Ann", "Friday"], buttons=[{"type": "url", "text": "A-17", "index": 1}], templates_path="templates",
    )
"""


@since(3, 3, has="a list of import errors that needs no DAG processor")
def test_a_wrong_literal_is_an_import_error_that_shows_the_text(tmp_path: Path, dags_folder: Path) -> None:
    assert dags_folder.exists(), "its database is migrated"
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "order_update.en.json").write_text(json.dumps(ORDER))
    (tmp_path / "wrong.py").write_text(DAG_FILE)
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "list-import-errors", "--local", "-o", "json"],
        env={**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    (found,) = json.loads(done.stdout[done.stdout.index("[{") :])
    assert found["filepath"].endswith("wrong.py")
    last = found["error"][found["error"].index("InvalidInput: ") :]
    assert last.splitlines() == [
        "InvalidInput: body: holds 2 parameters, and 'order_update' (en) takes 3; {{3}} is missing:",
        "    Hello {{1}}, the bicycle that you ordered at our shop arrives on {{2}} in the >>>{{3}}<<< hours.",
    ]
