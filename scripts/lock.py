"""
Write the constraints files anew, from what the package index offers today.

    python -m scripts.lock [LINE ...]

Each line of Airflow is resolved in an environment of its own with the interpreter that runs this; use Python
3.11, the oldest one supported, so that the versions suit every later one. Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from scripts.make_venv import EVERYTHING

ROOT = Path(__file__).resolve().parent.parent

#: Lines of Airflow: the versions that pip chooses from, and the dependency group with which each is used. A line that
#: is not released yet is named by its newest version before that.
LINES = {
    "3.4": ("3.4.0b2", "airflow-3-4"),
    "3.3": ("3.3.*", "dev"),
    "2.11": ("2.11.*", "airflow-2-11"),
}

HEADER = """\
# Versions with which this project is developed and tested on Airflow {line}.
# Made by `make lock`; do not edit. Build tools (pip, hatchling) are listed, too, so that an install repeats.
"""


def run(*command: str) -> str:
    """Run a command and return what it printed; its errors are shown only if it fails."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.stderr.write(result.stdout + result.stderr)
        raise SystemExit(f"{' '.join(command)} failed with status {result.returncode}")
    return result.stdout


def resolve(line: str, directory: Path) -> list[str]:
    """Install everything for one line of Airflow and return ``name==version`` for each package."""
    versions, group = LINES[line]
    venv.create(directory, with_pip=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Some Pythons put setuptools into a new environment; it is listed only if something needs it.
    present = run(*pip, "freeze", "--all")
    if "setuptools==" in present:
        run(*pip, "uninstall", "--yes", "setuptools")
    run(*pip, "install", "--upgrade", "pip>=25.1")
    run(*pip, "install", "hatchling", "editables")
    run(
        *pip,
        "install",
        "--no-build-isolation",
        "--editable",
        EVERYTHING,
        "--group",
        group,
        f"apache-airflow=={versions}",
    )
    frozen = run(*pip, "freeze", "--all", "--exclude-editable").splitlines()
    # Only what an index can serve anywhere: no paths, no addresses.
    if unpinned := [entry for entry in frozen if "==" not in entry or "@" in entry]:
        raise SystemExit(f"not a plain version: {unpinned}")
    return sorted(frozen, key=str.lower)


def main() -> None:
    """Write the constraints files of the lines named on the command line, or of all."""
    for line in sys.argv[1:] or LINES:
        with tempfile.TemporaryDirectory() as directory:
            versions = resolve(line, Path(directory))
        target = ROOT / "constraints" / f"airflow-{line}.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text(HEADER.format(line=line) + "\n".join(versions) + "\n")
        print(f"{target.relative_to(ROOT)}: {len(versions)} versions")


if __name__ == "__main__":
    main()
