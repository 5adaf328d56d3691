"""
What the provider must do on Airflow 2.11; run by test_airflow_2_11 in that Airflow's own Python.

    python airflow_2_11.py DAG_FILE...

Prints one JSON object: the DAGs, the warnings of ours, the import errors, and what a run of each came to.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

OURS = ("airflow_provider_cirrus", "example_cirrus")

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    from airflow.models import DagBag
    from airflow.providers_manager import ProvidersManager

    import airflow_provider_cirrus.hooks.cirrus
    import airflow_provider_cirrus.operators.cirrus  # noqa: F401

    bag = DagBag(dag_folder="/dev/null", include_examples=False)
    for file in sys.argv[1:]:
        bag.process_file(file)
    manager = ProvidersManager()
    form = {name for name in manager.connection_form_widgets if "__cirrus__" in name}
    behaviour = manager.field_behaviours["cirrus"]

ours = [str(warning.message) for warning in seen if any(name in str(warning.filename) for name in OURS)]
runs = {}
for dag_id, dag in sorted(bag.dags.items()):
    run = dag.test()
    runs[dag_id] = {ti.task_id: ti.state for ti in run.get_task_instances()}
found = {
    "warnings": ours,
    "import_errors": {Path(name).name: error for name, error in bag.import_errors.items()},
    "runs": runs,
    "form": sorted(form),
    "behaviour": behaviour,
}
print(json.dumps(found))
