"""
Run the benchmarks, and write docs/performance.md from what they print.

    python -m scripts.bench [NAME ...]

With names, those alone are run, and what the page says of the others stays. Ends with status 1 where a target is
missed.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version

from scripts.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"

#: Each benchmark, in the order of the page: its title, and arguments that keep all of them below half an hour.
BENCHMARKS: dict[str, tuple[str, list[str]]] = {
    "alternatives": ("What you would do instead", []),
    "mapped_http": ("One task, and a mapped operator for each message", []),
    "scheduler": ("Under Airflow's scheduler, with each ledger", ["--runs", "2"]),
    "throughput": ("Beside a bare pool, without Airflow", []),
    "rate_limit": ("How much of a limit is used", []),
    "shared_rate": ("How much of a limit many tasks use together", []),
    "rules": ("What the rules cost", ["--recipients", "100000"]),
    "daily_budget": ("What a daily budget costs", []),
    "resume": ("How long a retry takes to go on", []),
    "claimed": ("What is not sent again", []),
    "memory": ("Memory, from a file", ["--recipients", "10000000"]),
    "sql_memory": ("Memory, from a query", []),
    "ledger_size": ("The ledger in Airflow's own database", []),
    "prune": ("The ledger in a database of yours", []),
    "plan": ("A plan", []),
    "lookup": ("Lists of consent", []),
    "steering": ("Watching and steering", []),
    "import_cost": ("What a DAG file pays for an import", []),
    "template_check": ("What a DAG file pays for a check", []),
    "inbox": ("The sandbox's inbox", []),
}

HEAD = """\
# Performance

This page is written by `make bench`, from what the benchmarks print; `make bench BENCHMARKS="rules resume"` runs these
alone. Read ratios, which are taken within one run, rather than figures: machines differ, and the same one from day to
day. Each section was measured on the machine that it names.

What must hold rather than be fast is tested: at most 30 modules are added by an import
(`tests/unit/test_imports.py`), and a file of 100 MB is uploaded with less than 16 MB of memory, from a disk
(`tests/integration/test_memory.py`) and from S3 (`tests/integration/test_object_storage.py`).
"""


def machine() -> str:
    """Say on what it is measured."""
    day = datetime.now(UTC).date().isoformat()
    python, airflow = platform.python_version(), version("apache-airflow")
    return f"{day}, {os.cpu_count()} cores, Python {python}, Airflow {airflow}"


def section(name: str, output: str, where: str) -> str:
    """Return what the page says of a benchmark."""
    title, arguments = BENCHMARKS[name]
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    # Of the docstring all but the command line.
    told = [part for part in (ast.get_docstring(ast.parse(source)) or "").split("\n\n") if not part.startswith("    ")]
    command = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    return "\n".join(
        [f"## {title}", "", "\n\n".join(told), "", f"`{command}`, {where}:", "", "```text", output, "```\n"]
    )


def sections(page: str) -> dict[str, str]:
    """Return the sections of a page, by the names of their benchmarks."""
    found = {}
    for part in re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]:
        named = re.search(r"^`python benchmarks/(\w+)\.py", part, flags=re.MULTILINE)
        if named:
            found[named[1]] = f"{part.strip()}\n"
    return found


def run(name: str) -> tuple[int, str]:
    """Run a benchmark; return its status, and what it printed."""
    words = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *BENCHMARKS[name][1]]
    lines = []
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    return running.returncode, "\n".join(line for line in lines if line)


def main() -> int:
    """Run those that are named, or all; return the status."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if strange := [name for name in names if name not in BENCHMARKS]:
        raise SystemExit(f"there is no benchmark {strange[0]!r}; there are {', '.join(BENCHMARKS)}")
    found = sections(PAGE.read_text())
    missed = []
    for name in names:
        begun = time.monotonic()
        print(f"== {name}", flush=True)
        status, output = run(name)
        print(f"({time.monotonic() - begun:.0f} s)", flush=True)
        if status:
            missed.append(name)
        found[name] = section(name, output, machine())
        # Each time, so that what has been measured is not lost with what comes after it.
        PAGE.write_text("\n".join([HEAD, *(found[one] for one in BENCHMARKS if one in found)]).rstrip() + "\n")
    if missed:
        print(f"missed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
