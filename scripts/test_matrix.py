"""
Run unit tests, integration tests and the example DAGs on lines of Airflow, each in an environment of its own.

    python -m scripts.test_matrix [LINE ...]

Without a name: on all lines of :data:`scripts.lock.LINES`. The environments are made as `make venv-LINE` does, and the
index is not asked for anything but the versions of their constraints files. Ends with one line per line of Airflow.
Standard library only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from scripts.lock import LINES, ROOT

#: What a line is tested with, and what is left out: the simulated worlds and what looks at the source alone know no
#: Airflow, and are tested once.
TESTS = ("tests/unit", "tests/integration", "-n", "3", "--dist", "loadgroup", "-m", "not source")


_SUMMARY = re.compile(r"\b\d+ (passed|failed|skipped|errors?)\b.* in \d")


def python_of(name: str) -> str:
    """Return the interpreter of a line's environment, made where it is missing."""
    group = LINES[name].group
    # `make venv` calls the newest released line's .venv.
    directory = ".venv" if group == "dev" else f".venv-{name}"
    subprocess.run(
        [sys.executable, "-m", "scripts.make_venv", directory, f"constraints/airflow-{name}.txt", group],
        cwd=ROOT,
        check=True,
    )
    return str(ROOT / directory / "bin" / "python")


def version_of(python: str) -> str:
    """Return which Airflow it is, on which Python."""
    code = "import importlib.metadata as m, platform; print(m.version('apache-airflow'), platform.python_version())"
    airflow, own = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return f"Airflow {airflow} on Python {own}"


def test(python: str, arguments: list[str]) -> tuple[bool, str]:
    """Run the tests; return whether they passed, and pytest's last line."""
    command = [python, "-m", "pytest", *TESTS, *arguments]
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            # Airflow logs behind it, where a process of a test ends late.
            last = line.strip() if _SUMMARY.search(line) else last
    return running.returncode == 0, re.sub(r"^=+ | =+$", "", last)


def main() -> None:
    """Test the lines named on the command line, or all."""
    arguments = os.environ.get("PYTEST_ARGS", "").split()
    names = sys.argv[1:] or list(LINES)
    if strange := [name for name in names if name not in LINES]:
        raise SystemExit(f"there is no line {strange[0]!r}; there are {', '.join(LINES)}")
    found: list[str] = []
    failed = False
    for name in names:
        python = python_of(name)
        version = version_of(python)
        print(f"== {name}: {version}", flush=True)
        start = time.monotonic()
        passed, last = test(python, arguments)
        failed = failed or not passed
        found.append(f"{name:8}{version:36}{last} ({(time.monotonic() - start) / 60:.1f} min)")
    print(*found, sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
