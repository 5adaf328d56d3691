"""
What a DAG file pays for checking its send against a definition, beyond parsing it.

    python benchmarks/template_check.py [--files 1000] [--rounds 5]

As many DAG files, each with one send of a template that is defined in a folder of 100, are executed in one process, as
Airflow's parser does; with and without ``templates_path``, in turns. Ends with status 1 where the difference is above
1 ms for each file.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT_MS = 1.0
DAG = """
from airflow.sdk import DAG
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG("dag_{number}", schedule=None):
    SendTemplateOperator(
        task_id="send", template="template_{template}", language="en", to="+447700900123", body=["Ann", "Friday"]{more}
    )
"""


def definition(number: int) -> dict[str, Any]:
    text = "Hello {{1}}, what you ordered from us will be at your door on {{2}} in the morning."
    return {
        "name": f"template_{number}",
        "language": "en",
        "category": "UTILITY",
        "components": [{"type": "BODY", "text": text}, {"type": "FOOTER", "text": "Two Wheels"}],
    }


def parse(files: list[Path]) -> float:
    """Execute the files; return seconds for each."""
    begun = time.perf_counter()
    for file in files:
        runpy.run_path(str(file))
    return (time.perf_counter() - begun) / len(files)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "templates"
        folder.mkdir()
        for number in range(100):
            (folder / f"template_{number}.en.json").write_text(json.dumps(definition(number)))
        kinds: dict[str, list[Path]] = {"without": [], "with": []}
        for number in range(options.files):
            for kind, files in kinds.items():
                more = f", templates_path={str(folder)!r}" if kind == "with" else ""
                file = Path(place) / f"{kind}_{number}.py"
                file.write_text(DAG.format(number=number, template=number % 100, more=more))
                files.append(file)
        taken: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, files in kinds.items():
                taken[kind].append(parse(files) * 1000)
    more = statistics.median(b - a for a, b in zip(taken["without"], taken["with"], strict=True))
    for kind, values in taken.items():
        print(f"{kind:8} definitions {statistics.median(values):6.2f} ms for each file")
    print(f"more: {more:.2f} ms for each; target: at most {LIMIT_MS} ms: {'met' if more <= LIMIT_MS else 'missed'}")
    return 0 if more <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
