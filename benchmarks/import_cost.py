"""
What a DAG file pays for importing the operators, on top of what Airflow itself loads.

    python benchmarks/import_cost.py

Each figure is the median over fresh processes; the ratio to Airflow's own import, taken in the same processes,
is what can be compared between machines. Ends with status 1 where the increment is above 40 ms.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 15
LIMIT_MS = 40.0

PROGRAM = """
import json, sys, time
begun = time.perf_counter()
import airflow.sdk
between = time.perf_counter()
known = len(sys.modules)
import airflow_provider_cirrus.operators.cirrus
ended = time.perf_counter()
print(json.dumps([between - begun, ended - between, len(sys.modules) - known]))
"""


def main() -> int:
    taken = []
    for _ in range(RUNS + 1):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        taken.append(json.loads(done.stdout.splitlines()[-1]))
    # The first run also fills the file cache.
    airflow, ours, modules = (statistics.median(values) for values in zip(*taken[1:], strict=True))
    print(f"airflow.sdk                       {airflow * 1000:7.1f} ms")
    print(f"airflow_provider_cirrus.operators {ours * 1000:7.1f} ms, {modules:.0f} modules, at most {LIMIT_MS:.0f} ms")
    print(f"ratio                             {ours / airflow:7.4f}")
    return int(ours * 1000 > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
