"""
Run the example DAG in a real Airflow against the sandbox and show who got what.

python -m scripts.demo

Everything it makes is in ``.demo/``; the migrated database there is what makes a second run quick.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shlex
import shutil
import sys
import textwrap
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.local_airflow import airflow_environment
from scripts.local_sandbox import LocalSandbox
from scripts.processes import ROOT, ScriptError, Supervised, raise_on_sigterm, tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DAG_FILE = ROOT / "example_dags" / "example_cirrus_send_template.py"

RUN_SECONDS = 180.0

# Asked of the installation: importing Airflow here would write a configuration into the home directory.
AIRFLOW_VERSION = version("apache-airflow")


def main() -> int:
    """Run the demo; 0 only if every task succeeded and every accepted message is in the inbox."""
    parser = argparse.ArgumentParser(description=__doc__.strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=ROOT / ".demo", help="where it keeps its files")
    parser.add_argument("--dag-file", type=Path, default=DAG_FILE, help="the DAG's id is the file's name")
    arguments = parser.parse_args()
    home: Path = arguments.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    raise_on_sigterm()
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another demo is running in {home}", file=sys.stderr)
            return 1
        try:
            return demo(home, arguments.dag_file.absolute())
        except ScriptError as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            return 130


def demo(home: Path, dag_file: Path) -> int:
    """Run the DAG of that file, which has the file's name."""
    dag_id = dag_file.stem
    if not dag_file.is_file():
        raise ScriptError(f"there is no {dag_file}")
    log = home / "airflow.log"
    templates = dag_file.parent / "templates"
    shown_by = templates if templates.is_dir() else None
    data = home / "sandbox.db"
    data.unlink(missing_ok=True)
    with LocalSandbox(home / "sandbox.log", templates=shown_by, data=data) as sandbox:
        env = airflow_environment(
            home / "airflow", dag_file.parent, env={"AIRFLOW_CONN_CIRRUS_DEFAULT": sandbox.connection_uri}
        )
        migrate(home, env)
        print(f"Running {dag_id} in Airflow {AIRFLOW_VERSION} against the sandbox; its inbox is {sandbox.url} ...\n")
        sys.stdout.flush()
        result_file = home / "run.json"
        result_file.unlink(missing_ok=True)
        run_logged([sys.executable, "-m", "scripts.run_dag", str(dag_file), dag_id, str(result_file)], env, log, ROOT)
        result = json.loads(result_file.read_text())
        inbox = sandbox.inbox()
        (home / "inbox.json").write_text(json.dumps(inbox, indent=2, ensure_ascii=False))

    print("\n".join(table(("task", "state", "returned"), list(task_rows(result["tasks"])))))
    print("\nWho got what:\n")
    columns = ("recipient", "template", "header", "body", "message id", "schedule")
    print("\n".join(table(columns, [message_row(message) for message in inbox["messages"]])))
    print(f"\nWhere to look, in {home}:")
    print("  inbox.json               what the sandbox received, message by message")
    print("  run.json                 the run's tasks with their XCom values")
    print("  airflow.log, sandbox.log what the two printed")
    show = [sys.executable, "-m", "airflow_provider_cirrus.sandbox", "--data", str(data)]
    show += [] if shown_by is None else ["--templates", str(shown_by)]
    print(f"To see the messages as their recipients would: {shlex.join(show)}")
    print("To look around in Airflow's own pages: make up")

    if faults := list(find_faults(result, inbox)):
        raise ScriptError("\n".join(faults) + evidence(log))
    count = len(inbox["messages"])
    print(f"\nDone: {len(result['tasks'])} task instances succeeded, {count} messages are in the inbox.")
    return 0


def migrate(home: Path, env: Mapping[str, str]) -> None:
    """Make the database, unless an earlier run with this Airflow did."""
    stamp = home / "airflow" / "migrated"
    if stamp.exists() and stamp.read_text() == AIRFLOW_VERSION:
        return
    # The demo's runs are nobody's data: beginning anew is quicker and surer than an upgrade.
    shutil.rmtree(home / "airflow", ignore_errors=True)
    (home / "airflow").mkdir(parents=True)
    print("Making Airflow's database (only the first time) ...", flush=True)
    run_logged([sys.executable, "-m", "airflow", "db", "migrate"], env, home / "migrate.log", home)
    stamp.write_text(AIRFLOW_VERSION)


def run_logged(argv: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path) -> None:
    """Run a program to its end with its output in a file; raise with the file's last lines if it fails."""
    # Briefly only: the SDK's runner does not heed SIGTERM while a task runs.
    process = Supervised(argv, env=env, log=log, cwd=cwd, term_seconds=2)
    try:
        process.start()
        status = process.wait(RUN_SECONDS)
    except ScriptError as error:
        raise ScriptError(f"{error}{evidence(log)}") from error
    finally:
        process.stop()
    if status:
        raise ScriptError(f"{' '.join(argv)} ended with status {status}{evidence(log)}")


def evidence(log: Path) -> str:
    """Return the last lines of a log, under a heading."""
    return f"\n--- the last lines of {log} ---\n{tail(log)}"


def find_faults(result: Mapping[str, Any], inbox: Mapping[str, Any]) -> Iterator[str]:
    """Compare what Airflow says happened with what the sandbox has."""
    for task in result["tasks"]:
        if task["state"] != "success":
            yield f"task {name_of(task)} is {task['state']}"
    if result["state"] != "success":
        yield f"the run is {result['state']}"
    accepted = sum(accepted_count(task["xcom"].get("return_value")) for task in result["tasks"])
    received = len(inbox["messages"])
    if received < max(accepted, 1):
        yield f"the operators say that {accepted} messages were accepted, the inbox holds {received}"
    known = {str(message["id"]) for message in inbox["messages"]}
    for task in result["tasks"]:
        for message_id in accepted_ids(task["xcom"].get("return_value")):
            if message_id not in known:
                yield f"message {message_id} of task {name_of(task)} is not in the inbox"


def accepted_count(value: object) -> int:
    """Return how many messages an operator's result says were accepted; 0 for other results."""
    count = value.get("accepted") if isinstance(value, dict) else None
    return count if isinstance(count, int) else 0


def accepted_ids(value: object) -> Iterator[str]:
    """List the ids of the accepted messages in an operator's result."""
    if isinstance(value, dict):
        for outcome in value.get("outcomes") or ():
            if outcome["outcome"] == "accepted" and outcome["message_id"]:
                yield str(outcome["message_id"])


def name_of(task: Mapping[str, Any]) -> str:
    """Return a task instance's name, with its map index if it has one."""
    return str(task["task_id"]) if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def task_rows(tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Make a row per task instance: name, state, and what it returned without the per-message part."""
    for task in tasks:
        value = task["xcom"].get("return_value")
        if isinstance(value, dict):
            plain = {key: item for key, item in value.items() if not isinstance(item, list | dict)}
            value = ", ".join(f"{key}={item}" for key, item in plain.items() if item not in (0, None))
        yield name_of(task), str(task["state"]), "" if value is None else str(value)


def message_row(message: Mapping[str, Any]) -> tuple[str, ...]:
    """Make a row for a message of the inbox."""
    parameters: dict[str, list[str]] = {}
    for component in message["components"]:
        shown = [show_parameter(parameter) for parameter in component.get("parameters", ())]
        parameters.setdefault(component["type"].lower(), []).extend(shown)
    schedule = message.get("schedule")
    return (
        f"+{message['recipient']}",
        f"{message['template']} ({message['language']})",
        ", ".join(parameters.get("header", ())),
        " | ".join(parameters.get("body", ())),
        str(message["id"]),
        datetime.fromtimestamp(schedule, UTC).strftime("%Y-%m-%d %H:%M UTC") if schedule else "now",
    )


def show_parameter(parameter: Mapping[str, Any]) -> str:
    """Write one parameter of a component: its text, or the kind of its media and where that is."""
    kind = str(parameter.get("type", ""))
    value = parameter.get(kind)
    if isinstance(value, dict):
        return f"{kind} {value.get('id') or value.get('link') or value}"
    return str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out rows in columns; long cells are shortened."""
    cells = [[textwrap.shorten(cell, 60, placeholder=" ...") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
