"""
Run unit tests, integration tests and the example DAGs on lines of Airflow, each in an environment of its own.

    python -m scripts.test_matrix [LINE ...]

Without a name: on all lines of :data:`scripts.lock.LINES`, and the newest released one on all of :data:`PYTHONS`,
called py3.13 and so on; ``3.0:unit`` is a line of which the unit tests are enough. The environments are made as `make
venv-LINE` does, and the index is not asked for anything but the versions of their constraints files. Ends with one line
for each; a Python that is not here is named there. Standard library only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from scripts.lock import LINES, ROOT

#: What a line is tested with, and what is left out: the simulated worlds and what looks at the source alone know no
#: Airflow, and are tested once.
PARTS = {"": ("tests/unit", "tests/integration"), "unit": ("tests/unit",)}
OPTIONS = ("-n", "3", "--dist", "loadgroup", "-m", "not source")


#: On which the newest released line is tested, beside the one that all others are.
PYTHONS = ("3.12", "3.13", "3.14")
NEWEST = next(name for name, line in LINES.items() if line.group == "dev")

_SUMMARY = re.compile(r"\b\d+ (passed|failed|skipped|errors?)\b.* in \d")


def python_of(name: str) -> str | None:
    """Return the interpreter of an environment, made where it is missing; None where the Python for it is not here."""
    base: str | None = sys.executable
    if name.startswith("py"):
        base, line, group, directory = find_python(name.removeprefix("py")), NEWEST, "test", f".venv-{name}"
    else:
        # `make venv` calls the newest released line's .venv.
        line, group = name, LINES[name].group
        directory = ".venv" if group == "dev" else f".venv-{name}"
    if base is None:
        return None
    subprocess.run(
        [base, "-m", "scripts.make_venv", directory, f"constraints/airflow-{line}.txt", group], cwd=ROOT, check=True
    )
    return str(ROOT / directory / "bin" / "python")


def find_python(version: str) -> str | None:
    """Return a Python that starts: a version manager's shim may be found and still not run."""
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (f"python{version}", *sorted(map(str, managed.glob(f"{version}.*/bin/python")))):
        try:
            done = subprocess.run([candidate, "-c", ""], check=False, capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return None


def version_of(python: str) -> str:
    """Return which Airflow it is, on which Python."""
    code = "import importlib.metadata as m, platform; print(m.version('apache-airflow'), platform.python_version())"
    airflow, own = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return f"Airflow {airflow} on Python {own}"


def test(python: str, part: str, arguments: list[str]) -> tuple[bool, str]:
    """Run the tests; return whether they passed, and pytest's last line."""
    command = [python, "-m", "pytest", *PARTS[part], *OPTIONS, *arguments]
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
    known = [*LINES, *(f"py{version}" for version in PYTHONS)]
    names = sys.argv[1:] or known
    chosen = [(name, *name.partition(":")[::2]) for name in names]
    if strange := [name for name, line, part in chosen if line not in known or part not in PARTS]:
        raise SystemExit(f"there is no line {strange[0]!r}; there are {', '.join(known)}, and :unit after them")
    found: list[str] = []
    failed = False
    for label, name, part in chosen:
        if (python := python_of(name)) is None:
            found.append(f"{label:9}not tested: there is no Python {name.removeprefix('py')} here")
            continue
        version = version_of(python)
        print(f"== {label}: {version}", flush=True)
        start = time.monotonic()
        passed, last = test(python, part, arguments)
        failed = failed or not passed
        found.append(f"{label:9}{version:36}{last} ({(time.monotonic() - start) / 60:.1f} min)")
    print(*found, sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
