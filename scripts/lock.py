"""
Write the constraints files anew, from what the package index offers today.

    python -m scripts.lock [LINE ...]

Each line of Airflow is resolved for Python 3.11, the oldest one supported, so that the versions suit every later one.
uv resolves, in an environment that is thrown away. Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Line(NamedTuple):
    """
    A line of Airflow as it is resolved.

    :ivar requirements: its version, and what a fresh install of it needs beside that to run
    :ivar group: the dependency group that is installed with it
    :ivar options: of uv
    """

    requirements: tuple[str, ...]
    group: str = "test"
    options: tuple[str, ...] = ()


#: A line that is not released yet is named by its newest version before that.
LINES = {
    "3.4": Line(("apache-airflow==3.4.0b2",), options=("--prerelease", "allow")),
    "3.3": Line(("apache-airflow==3.3.*",), group="dev"),
    # The API servers of 3.0 and 3.2 do not start with later ones.
    "3.2": Line(("apache-airflow==3.2.*", "fastapi<0.137", "cadwyn<7", "sqlalchemy<2.1", "starlette<1")),
    "3.1": Line(("apache-airflow==3.1.*",)),
    "3.0": Line(("apache-airflow==3.0.*", "fastapi<0.119", "cadwyn<5.5", "universal-pathlib<0.3")),
    "2.11": Line(("apache-airflow==2.11.*",)),
    # The oldest versions that pyproject.toml names, each as it stands there.
    "lowest": Line(("universal-pathlib<0.3",), options=("--resolution", "lowest-direct")),
}

#: Build tools; listed, too, so that an install repeats.
TOOLS = ("pip>=25.3", "hatchling>=1.26", "editables>=0.5")

HEADER = """\
# Versions with which this project is {use} on {line}.
# Made by `make lock`; do not edit. Build tools (pip, hatchling) are listed, too, so that an install repeats.
"""


def resolve(name: str, uv: str, directory: Path) -> list[str]:
    """Return ``name==version`` of every package of a line."""
    line = LINES[name]
    more = directory / "requirements.in"
    more.write_text("\n".join((*line.requirements, *TOOLS)))
    command = [uv, "pip", "compile", "pyproject.toml", str(more), "--all-extras", "--group", line.group]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    command += line.options
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{name} cannot be resolved:\n{result.stdout}{result.stderr}")
    found = [entry for entry in result.stdout.splitlines() if entry and not entry.startswith("#")]
    # Only what an index can serve anywhere: no paths, no addresses.
    if strange := [entry for entry in found if "==" not in entry or "@" in entry or "/" in entry]:
        raise SystemExit(f"not a plain version: {strange}")
    return sorted(found, key=str.lower)


def main() -> None:
    """Write the constraints files of the lines named on the command line, or of all."""
    with tempfile.TemporaryDirectory() as directory:
        tools = Path(directory) / "tools"
        venv.create(tools, with_pip=True)
        subprocess.run([str(tools / "bin" / "python"), "-m", "pip", "--quiet", "install", "uv"], check=True)
        for name in sys.argv[1:] or LINES:
            versions = resolve(name, str(tools / "bin" / "uv"), Path(directory))
            use = "tested" if LINES[name].group == "test" else "developed and tested"
            line = "the oldest versions that pyproject.toml allows" if name == "lowest" else f"Airflow {name}"
            target = ROOT / "constraints" / f"airflow-{name}.txt"
            target.write_text(HEADER.format(use=use, line=line) + "\n".join(versions) + "\n")


if __name__ == "__main__":
    main()
