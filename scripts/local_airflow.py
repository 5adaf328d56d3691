"""
A real Airflow on this machine: ``airflow standalone`` with a home, ports and processes of its own.

It runs the API server, the scheduler, the DAG processor and the triggerer on SQLite, and is driven through
its public REST API, as a user's Airflow would be::

    with LocalAirflow(home, dags_folder, env={"AIRFLOW_CONN_CIRRUS_DEFAULT": uri}) as airflow:
        airflow.wait_for_dag("my_dag")
        run_id = airflow.trigger("my_dag", conf={"to": "+44…"})
        assert airflow.wait_for_run("my_dag", run_id) == "success"
        print(airflow.xcom("my_dag", run_id, "send"))
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from scripts.processes import ScriptError, Supervised, free_ports, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    import psutil

START_SECONDS = 180.0
"""Patience with the start: about 25 s on two idle cores, several times that on busy ones."""

LOOPBACK = "127.0.0.1"

_PAGE = 100  # Airflow's own limit on one page of a listing
_COMPONENTS = ("scheduler", "triggerer", "dag_processor")

#: For DAG files that do not change: to parse them every few seconds keeps a processor busy.
PARSE_ONCE = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}


class LocalAirflowError(ScriptError):
    """The local Airflow did not do in time what it should; the text ends with the tail of its log."""


class RequestError(LocalAirflowError):
    """The REST API answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def airflow_environment(
    home: Path,
    dags_folder: Path,
    *,
    python: Path | str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """
    Build the environment for an Airflow that knows nothing of its caller's Airflow.

    The caller's PATH, proxies, locale and the like stay; its AIRFLOW variables go, so that no connection or
    setting of a developer's own Airflow decides a test. Nothing here is version-bound: unknown settings are
    ignored by older and newer Airflows.

    :param env: what to set on top; wins over everything here.
    """
    result = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW"))}
    # `airflow standalone` starts its parts by the name "airflow".
    result["PATH"] = os.pathsep.join([str(Path(python).parent), result.get("PATH", os.defpath)])
    for name in ("NO_PROXY", "no_proxy"):
        result[name] = ",".join(filter(None, [result.get(name), LOOPBACK, "localhost"]))
    result |= {
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        # Spelt out: the configuration file that Airflow writes holds absolute paths, and a home may be moved.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # LocalExecutor starts this many workers at once; the default of 32 takes long on a small machine.
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return result | dict(env or {})


class LocalAirflow:
    """
    One running Airflow; a context manager that leaves no process behind.

    :param home: its AIRFLOW_HOME; made if missing. A migrated database found there is used again.
    :param dags_folder: where its DAG files are; files copied there later are found within seconds.
    :param env: environment variables on top of ours, such as AIRFLOW_CONN_… or AIRFLOW__….
    :param python: the interpreter whose environment holds the Airflow to run; ours by default.
    :param port: the port of the API and the web pages; a free one by default.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        python: Path | str = sys.executable,
        port: int | None = None,
    ) -> None:
        self.home = home.absolute()
        self.dags_folder = dags_folder.absolute()
        # Not resolved: a virtual environment's python is a link, and its directory is what counts.
        self.python = Path(python).absolute()
        api, worker_logs, trigger_logs = free_ports(3)
        self.port = port or api
        self.base_url = f"http://{LOOPBACK}:{self.port}"
        self.log = self.home / "standalone.log"
        own = {
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        }
        self.env = airflow_environment(self.home, self.dags_folder, python=self.python, env=own | dict(env or {}))
        self._process = Supervised(
            [str(self.python), "-m", "airflow", "standalone"], env=self.env, log=self.log, cwd=self.home
        )
        self._triggerers: list[Supervised] = []
        # Loopback only: a proxy from the environment has no part in this.
        self._http = httpx.Client(base_url=self.base_url, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start Airflow and wait until all its parts are up; on failure nothing is left running."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC)
        try:
            self._process.start()
            self._until(lambda: self._healthy(started), timeout, "Airflow is not up")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process of this Airflow. Safe to call twice, or if it never started."""
        try:
            for process in [*self._triggerers, self._process]:
                process.stop()
        finally:
            self._http.close()

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines that Airflow's parts printed, the API's access log left out."""
        kept = [line for line in tail(self.log, 5_000).splitlines() if "[http.access]" not in line]
        return "\n".join(kept[-lines:])

    def processes(self) -> list[psutil.Process]:
        """List the live processes of this Airflow: its parts, workers, supervisors and tasks."""
        return [member for process in (self._process, *self._triggerers) for member in process.members()]

    def start_triggerer(self) -> None:
        """Start another triggerer, as whoever looks after an Airflow does when one has died."""
        triggerer = Supervised(
            [str(self.python), "-m", "airflow", "triggerer"],
            env=self.env,
            log=self.home / f"triggerer-{len(self._triggerers) + 1}.log",
            cwd=self.home,
        )
        self._triggerers.append(triggerer)
        triggerer.start()

    def check_alive(self) -> None:
        """Raise if ``airflow standalone`` itself has ended."""
        status = self._process.returncode()
        if status is not None:
            raise LocalAirflowError(f"airflow standalone ended with status {status}{self._evidence()}")

    def cli(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``airflow <arguments>`` in this Airflow's environment; takes seconds, and may fail unraised."""
        return subprocess.run(
            [str(self.python), "-m", "airflow", *arguments],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def request(
        self, method: str, path: str, json: object = None, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """
        Call this Airflow's REST API as an admin and return the decoded answer, None if it is empty.

        :param path: from the root of the server, such as ``/api/v2/pools`` or ``/ui/connections/hook_meta``.
        """
        if "Authorization" not in self._http.headers:
            self._log_in()
        response = self._http.request(method, path, json=json, params=params)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            response = self._http.request(method, path, json=json, params=params)
        if response.is_error:
            raise RequestError(
                response.status_code,
                f"{method} {path} was answered by {response.status_code}: {response.text[:2000]}",
            )
        return response.json() if response.content else None

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that do not load: name to traceback."""
        errors = self._list("/api/v2/importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """Wait until the DAG is known and can be triggered."""

        def known() -> bool:
            try:
                dag = self.request("GET", f"/api/v2/dags/{quote(dag_id, safe='')}")
            except RequestError as error:
                if error.status == httpx.codes.NOT_FOUND:
                    return False
                raise
            return not dag["is_stale"]

        def state() -> str:
            errors = self.import_errors()
            return "".join(f"\n{name} does not load:\n{trace}" for name, trace in errors.items())

        self._until(known, timeout, f"DAG {dag_id!r} is not there", state)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of the DAG and return its run id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        run = self.request("POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 180) -> str:
        """Wait until the run has ended and return its state: "success" or "failed"."""
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self.request("GET", _run_path(dag_id, run_id))["state"]
            return state in {"success", "failed"}

        self._until(
            ended,
            timeout,
            f"run {run_id!r} of {dag_id!r} has not ended",
            lambda: f"\nthe run is {state}{self._states(dag_id, run_id)}",
        )
        return state

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Iterable[str],
        *,
        map_index: int = -1,
        timeout: float = 120,
    ) -> dict[str, Any]:
        """Wait until the task instance is in one of the states and return it."""
        wanted = set(states)
        found: list[dict[str, Any]] = []

        def reached() -> bool:
            found[:] = [
                instance
                for instance in self.task_instances(dag_id, run_id)
                if (instance["task_id"], instance["map_index"]) == (task_id, map_index) and instance["state"] in wanted
            ]
            return bool(found)

        self._until(
            reached,
            timeout,
            f"task {task_id!r} is not {' or '.join(sorted(wanted))}",
            lambda: self._states(dag_id, run_id),
        )
        return found[0]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances as the REST API describes them, one per map index."""
        return self._list(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what the task pushed, as plain JSON values; None if it pushed nothing under that key."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}"
        try:
            entry = self.request("GET", path, params={"map_index": map_index})
        except RequestError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return entry["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try of a task as text, one line per event."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        answer = self.request("GET", path, params={"map_index": map_index, "full_content": "true"})
        return "\n".join(_log_line(event) for event in answer["content"])

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str | tuple[str, int]],
        *,
        downstream: bool = False,
        keep_state: bool = False,
    ) -> None:
        """
        Clear tasks of a run, whatever their state, so that they run again: by id, or (id, map index).

        :param keep_state: keep what the tasks remember, which Airflow 3.4 and later else discard.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        if keep_state:
            # Earlier versions refuse what they do not know.
            body["keep_task_state"] = True
        self.request("POST", f"/api/v2/dags/{quote(dag_id, safe='')}/clearTaskInstances", json=body)

    def _log_in(self) -> None:
        response = self._http.get("/auth/token")
        response.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def _list(self, path: str, key: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            page = self.request("GET", path, params={"limit": _PAGE, "offset": len(items)})
            items += page[key]
            if not page[key] or len(items) >= page["total_entries"]:
                return items

    def _healthy(self, since: datetime) -> bool:
        # A part that cannot bind its port dies alone; standalone goes on and would never become healthy.
        if "address already in use" in self.log_tail(400).lower():
            raise LocalAirflowError(f"a port was taken by another program while Airflow started{self._evidence()}")
        try:
            health = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return False
        for component in _COMPONENTS:
            heartbeat = health[component][f"latest_{component}_heartbeat"]
            # An earlier Airflow in the same home may have left a heartbeat that still counts as healthy.
            if health[component]["status"] != "healthy" or datetime.fromisoformat(heartbeat) < since:
                return False
        return True

    def _until(
        self,
        condition: Callable[[], bool],
        timeout: float,
        failure: str,
        state: Callable[[], str] | None = None,
    ) -> None:
        deadline = time.monotonic() + timeout
        while True:
            self.check_alive()
            try:
                if condition():
                    return
            except httpx.TransportError as error:
                # A busy machine: the API server was too slow once. The deadline decides.
                if time.monotonic() >= deadline:
                    raise LocalAirflowError(f"{failure}: {error!r}{self._evidence()}") from error
            if time.monotonic() >= deadline:
                detail = state() if state is not None else ""
                raise LocalAirflowError(f"{failure} after {timeout:g} s{detail}{self._evidence()}")
            time.sleep(0.25)

    def _states(self, dag_id: str, run_id: str) -> str:
        return "".join(
            f"\n  {instance['task_id']} [{instance['map_index']}]: {instance['state']}, try {instance['try_number']}"
            for instance in self.task_instances(dag_id, run_id)
        )

    def _evidence(self) -> str:
        return f"\n--- the last lines of {self.log} ---\n{self.log_tail()}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _log_line(event: str | Mapping[str, Any]) -> str:
    """Write one event of a task's log with all its fields: a traceback is among them, not in the text."""
    if isinstance(event, str):
        return event
    fields = {key: value for key, value in event.items() if key not in {"timestamp", "level", "event"}}
    details = "".join(f" {key}={value}" for key, value in fields.items() if value is not None)
    return f"{event.get('timestamp') or '-'} {event.get('level') or '-'} {event['event']}{details}"
