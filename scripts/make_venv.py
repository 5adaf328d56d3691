"""
Make or refresh a virtual environment with exactly the versions of a constraints file.

    python -m scripts.make_venv DIRECTORY CONSTRAINTS GROUP

Uses the standard library only: it runs before anything is installed. Does nothing when the environment is as
it should be, and is safe to run from several makes at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: This project with its extras, as pip takes it.
EVERYTHING = ".[holidays,parquet,sandbox,sql,xlsx]"

STAMP = "cirrus.stamp"


def stamp_for(directory: Path, constraints: Path) -> list[str]:
    """Say what the environment has to be: what it stands on, and what is installed in it."""
    # The path counts: an environment that was moved or copied starts its programs from the old place.
    base = repr((sys.version, str(directory)))
    contents = [path.read_bytes() for path in (ROOT / "pyproject.toml", constraints, Path(__file__))]
    return [base, hashlib.sha256(b"\0".join(contents)).hexdigest()]


def stamp_of(directory: Path) -> list[str]:
    """Say what the environment is; nothing if it is missing, unfinished or no longer runs."""
    try:
        stamp = (directory / STAMP).read_text().splitlines()
        runs = subprocess.run([directory / "bin" / "python", "-c", ""], check=False).returncode == 0
    except OSError:
        return []
    return stamp if runs else []


def pip(directory: Path, constraints: Path, *arguments: str) -> None:
    """Run ``pip install`` under the constraints; what it prints is shown only if it fails."""
    command = [str(directory / "bin" / "python"), "-m", "pip", "-q", "--disable-pip-version-check", "install"]
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(
            [*command, "--constraint", str(constraints), *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if result.returncode:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace"))
            raise SystemExit(f"pip install {' '.join(arguments)} failed with status {result.returncode}")


def install(directory: Path, constraints: Path, group: str) -> None:
    """Install this project with all its extras, and a dependency group."""
    pip(directory, constraints, "pip")
    # For `make build` and the packaging test, which build without an environment of their own.
    pip(directory, constraints, "hatchling", "editables")
    # Some of what Airflow 2.11 needs comes as source only, and builds in isolation only.
    pip(directory, constraints, "--build-constraint", str(constraints), "--editable", EVERYTHING, "--group", group)


def main() -> None:
    """Bring the environment named on the command line up to date."""
    directory, constraints = (Path(argument).absolute() for argument in sys.argv[1:3])
    group = sys.argv[3]
    with constraints.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another make may be at the same environment
        wanted, present = stamp_for(directory, constraints), stamp_of(directory)
        if present == wanted:
            return
        print(f"Installing into {os.path.relpath(directory)} (about a minute) ...", flush=True)
        if present[:1] != wanted[:1]:
            venv.create(directory, clear=True, with_pip=True)
        # Gone until all is done: an install that is broken off begins anew.
        (directory / STAMP).unlink(missing_ok=True)
        install(directory, constraints, group)
        (directory / STAMP).write_text("\n".join(wanted))


if __name__ == "__main__":
    main()
