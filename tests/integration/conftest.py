"""DAGs run by Airflow's own runner: real DAG runs, task instances, retries, XComs, state store and connections."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.run_dag import run

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"


@pytest.fixture(scope="session")
def dags_folder(airflow_home: Path) -> Path:
    """A folder in which Airflow finds the examples and the DAGs of these tests, beside a migrated database."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    for source in (EXAMPLES, HERE / "dags"):
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Run:
    """What a DAG run came to."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.state = found["state"]
        self._tasks = {(task["task_id"], task["map_index"]): task for task in found["tasks"]}

    @property
    def states(self) -> dict[str, str]:
        """State by task, or by ``task[map_index]``."""
        return {
            task if index < 0 else f"{task}[{index}]": found["state"] for (task, index), found in self._tasks.items()
        }

    def xcom(self, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        return self._tasks[task_id, map_index]["xcom"].get(key)


@pytest.fixture
def run_dag(dags_folder: Path, cirrus_default: object) -> Callable[..., Run]:
    """Run a DAG by file and id, against the sandbox."""

    def run_it(file: str, dag_id: str | None = None, conf: dict[str, Any] | None = None) -> Run:
        return Run(run(dags_folder / f"{file}.py", dag_id or file, conf))

    return run_it
