"""
Run Airflow and the sandbox in the foreground until Ctrl-C.

python -m scripts.up

The ports come from AIRFLOW_PORT (8080) and SANDBOX_PORT (8787); Airflow's home is ``.up/``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from scripts.local_airflow import LocalAirflow
from scripts.local_sandbox import LocalSandbox
from scripts.processes import ROOT, ScriptError, port_is_free, raise_on_sigterm

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE_DAGS = ROOT / "example_dags"


def main() -> int:
    """Run both until Ctrl-C or SIGTERM, or until one of them ends by itself, which is an error."""
    raise_on_sigterm()
    # A shell starts background jobs with SIGINT ignored; whoever sends it to us means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        serve(
            ROOT / ".up",
            airflow_port=port_from("AIRFLOW_PORT", 8080),
            sandbox_port=port_from("SANDBOX_PORT", 8787),
        )
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except ScriptError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def port_from(variable: str, default: int) -> int:
    """Read a port from the environment and make sure that nobody has it."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ScriptError(f"{variable} is {text!r}; it must be a port between 1 and 65535")
    port = int(text)
    if not port_is_free(port):
        raise ScriptError(
            f"port {port} is taken by another program (or not allowed to you); choose another one: "
            f"make up {variable}={port + 1}"
        )
    return port


def connections(home: Path, sandbox_uri: str) -> dict[str, str]:
    """
    Return the connections that the example DAGs need, as environment variables.

    :param home: where the database is made
    :param sandbox_uri: of the local Cirrus
    """
    shop = {"conn_type": "sqlite", "host": str(home / "shop.db")}
    return {"AIRFLOW_CONN_CIRRUS_DEFAULT": sandbox_uri, "AIRFLOW_CONN_SHOP": json.dumps(shop)}


def serve(home: Path, *, airflow_port: int, sandbox_port: int) -> None:
    """Start both, say where they are, and stay until interrupted."""
    if airflow_port == sandbox_port:
        raise ScriptError(f"AIRFLOW_PORT and SANDBOX_PORT are both {airflow_port}; they must differ")
    home.mkdir(exist_ok=True)
    print("Starting the sandbox and Airflow (half a minute) ...", flush=True)
    with LocalSandbox(home / "sandbox.log", port=sandbox_port, templates=EXAMPLE_DAGS / "templates") as sandbox:
        env = connections(home, sandbox.connection_uri)
        with LocalAirflow(home, EXAMPLE_DAGS, env=env, port=airflow_port) as airflow:
            dag_ids = sorted(file.stem for file in EXAMPLE_DAGS.glob("example_*.py"))
            for dag_id in dag_ids:
                airflow.wait_for_dag(dag_id)
            print(
                f"""
Airflow   {airflow.base_url}   no login: whoever opens the page is the admin
          DAGs: {", ".join(dag_ids)}
          connections: cirrus_default, to the sandbox, and shop, a SQLite file (from the environment, so not on
          the Connections page)
          log: {airflow.log}
Inbox     {sandbox.url}   the messages that the sandbox received; as JSON at {sandbox.url}/inbox.json
          log: {sandbox.log}

Ctrl-C stops both.""",
                flush=True,
            )
            while True:
                airflow.check_alive()
                sandbox.check_alive()
                time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
