"""
Run one DAG once with the SDK's own runner and write down what came of it.

    python -m scripts.run_dag DAG_FILE DAG_ID RESULT_JSON

Runs in an environment where AIRFLOW_HOME holds a migrated database and the file is inside DAGS_FOLDER. It
is a real run: DAG run, task instances, XCom and connections come from Airflow; only scheduler and workers are
replaced by a loop in this process, which saves the half minute that they take to start.
"""

from __future__ import annotations

import json
import sys
from inspect import signature
from pathlib import Path
from typing import Any

from airflow import __version__ as airflow_version
from airflow.utils.session import create_session

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    # Airflow 2.11 to 3.1.
    from airflow.models.dagbag import DagBag

try:
    from airflow.models.xcom import XComModel
except ImportError:
    # Airflow 2.11.
    from airflow.models.xcom import XCom as XComModel


def run(dag_file: Path, dag_id: str, conf: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the DAG and return the run's state and, per task instance, its state and its XCom values."""
    bag = DagBag(dag_file)
    if dag_id not in bag.dags:
        found = f"{dag_file} has no DAG {dag_id!r}; it has {sorted(bag.dags)}"
        raise SystemExit("\n".join([found, *bag.import_errors.values()]))
    dag_run = bag.dags[dag_id].test(run_conf=conf)
    with create_session() as session:
        pushed: dict[tuple[str, int], dict[str, Any]] = {}
        # A query of the session in Airflow 2.11 to 3.0, a statement for it later.
        own = {"session": session} if "session" in signature(XComModel.get_many).parameters else {}
        query: Any = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_id, **own)
        for entry in query.all() if hasattr(query, "all") else session.scalars(query):
            values = pushed.setdefault((entry.task_id, entry.map_index), {})
            # As stored: deserialize_value would make a number of a text that is all digits.
            values[entry.key] = json.loads(entry.value) if isinstance(entry.value, bytes) else entry.value
        tasks = [
            {
                "task_id": instance.task_id,
                "map_index": instance.map_index,
                "state": instance.state,
                "xcom": pushed.get((instance.task_id, instance.map_index), {}),
            }
            for instance in dag_run.get_task_instances(session=session)
        ]
    # The database keeps no order; the DAG does.
    order = [task.task_id for task in bag.dags[dag_id].topological_sort()]
    tasks.sort(key=lambda task: (order.index(task["task_id"]), task["map_index"]))
    return {
        "airflow": airflow_version,
        "run_id": dag_run.run_id,
        "state": dag_run.state,
        "tasks": tasks,
    }


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(run(Path(sys.argv[1]), sys.argv[2]), default=str, indent=2))
