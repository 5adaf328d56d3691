"""
Install the wheel where there is nothing but Airflow, and send with it; write down what came with it.

    python -m scripts.try_wheel [LINE ...] [--sbom FILE]

For each line of :data:`scripts.lock.LINES`, 2.11 and the newest released one where none is named: a new environment
with Airflow and the wheel in dist/ (`make build`), in the versions of the line's constraints file and without any
extra; then Airflow lists the provider, and a DAG sends to a sandbox that runs beside it. ``--sbom`` writes what the
last of these environments holds as CycloneDX JSON. Needs the environment of `make venv`, for the sandbox.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import airflow_environment
from scripts.processes import ROOT, ScriptError
from scripts.test_matrix import NEWEST

DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG("bare", schedule=None):
    SendTemplateOperator(task_id="send", template="order_update", language="en", to="+447700900101")
"""

# In an environment of its own, so that what is written down is what users get.
_CYCLONEDX = "cyclonedx-bom>=6"


def call(*words: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program; return what it printed."""
    done = subprocess.run([str(word) for word in words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScriptError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def install(line: str, wheel: Path, directory: Path) -> Path:
    """Make the environment; return its Python."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    constraints = ROOT / "constraints" / f"airflow-{line}.txt"
    call(python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--constraint", constraints, wheel)
    return python


def send(python: Path, home: Path) -> str:
    """Run the DAG; return which Airflow it was."""
    dags = home / "dags"
    dags.mkdir()
    (dags / "bare.py").write_text(DAG)
    with Sandbox() as sandbox:
        env = airflow_environment(
            home, dags, python=python, env={"AIRFLOW_CONN_CIRRUS_DEFAULT": sandbox.connection_uri}
        )
        call(python, "-m", "airflow", "db", "migrate", env=env)
        listed = call(python, "-m", "airflow", "providers", "list", "--output", "json", env=env)
        if "airflow-provider-cirrus" not in listed:
            raise ScriptError(f"Airflow does not list the provider: {listed}")
        result = home / "result.json"
        call(python, "-m", "scripts.run_dag", dags / "bare.py", "bare", result, env=env)
        found = json.loads(result.read_text())
        if found["state"] != "success" or [one["recipient"] for one in sandbox.messages] != ["447700900101"]:
            raise ScriptError(f"the DAG ended as {found['state']}; {len(sandbox.messages)} messages arrived")
    return str(found["airflow"])


def write_sbom(python: Path, target: Path, folder: Path) -> None:
    """Write what an environment holds."""
    tools = folder / "tools"
    venv.create(tools, with_pip=True)
    call(tools / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check", "install", _CYCLONEDX)
    words = ["environment", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", target]
    call(tools / "bin" / "cyclonedx-py", *words, python)


def main() -> int:
    """Try the wheel; return the status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.try_wheel")
    parser.add_argument("lines", nargs="*", default=["2.11", NEWEST])
    parser.add_argument("--sbom", type=Path)
    options = parser.parse_args()
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    if len(wheels) != 1:
        print(f"there are {len(wheels)} wheels in dist/; `make build` makes one", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cirrus-wheel-") as place:
        folder = Path(place)
        python = folder
        try:
            for line in options.lines:
                python = install(line, wheels[0], folder / line)
                home = folder / f"home-{line}"
                home.mkdir()
                print(f"{line:6}Airflow {send(python, home)}: listed, and sent one message", flush=True)
            if options.sbom is not None:
                write_sbom(python, options.sbom.absolute(), folder)
                parts = len(json.loads(options.sbom.read_text())["components"])
                print(f"{options.sbom}: {parts} components")
        except ScriptError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
