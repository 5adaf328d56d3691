"""
A real Airflow of many processes: Celery workers on a Redis, everything it knows in a PostgreSQL.

Whatever ends is started again, as systemd or Kubernetes would; so each part can be killed at any moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from scripts.local_airflow import START_SECONDS, LocalAirflow, LocalAirflowError
from scripts.processes import Supervised, tail

PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")


class CeleryAirflow(LocalAirflow):
    """
    :param database: the URI of an empty PostgreSQL database
    :param broker: the URL of a Redis
    :param workers: Celery workers
    :param concurrency: tasks that each of them runs at once
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        database: str,
        broker: str,
        workers: int,
        concurrency: int,
        env: Mapping[str, str] | None = None,
    ) -> None:
        own = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "32",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": database.replace("postgresql+psycopg2", "db+postgresql"),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(concurrency),
            # A task that was handed to a worker just before that was killed: handed out again after ten minutes, else.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            # Only the scheduler that has a task looks at its heartbeat: a new one must soon take over what it had.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        }
        super().__init__(home, dags_folder, env=own | dict(env or {}))
        self._workers = workers
        self._running: dict[str, Supervised] = {}
        self._past: list[Supervised] = []
        self._started = 0

    def start(self, timeout: float = START_SECONDS) -> None:
        """Make the database, start all parts, and wait until they are up."""
        self.home.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC)
        try:
            made = self.cli("db", "migrate")
            if made.returncode:
                raise LocalAirflowError(f"airflow db migrate failed: {made.stdout[-2000:]}{made.stderr[-2000:]}")
            for part in [*PARTS, *(f"worker-{number}" for number in range(self._workers))]:
                self._start(part)
            self._until(lambda: self._healthy(started), timeout, "Airflow is not up")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process, orphans included."""
        # At once: their database goes with them.
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for part in [*self._running.values(), *self._past]:
            part.stop()
        super().stop()

    def processes(self) -> list[psutil.Process]:
        """List the live processes of all parts, orphans included."""
        return [member for process in [*self._running.values(), *self._past] for member in process.members()]

    def check_alive(self) -> None:
        """Start again what has ended."""
        for part, process in list(self._running.items()):
            if process.returncode() is not None:
                self._past.append(process)
                self._start(part)

    def workers_at_work(self) -> list[str]:
        """Return the workers that run a task."""
        return [part for part in self._running if part.startswith("worker-") and self._tasks(part)]

    def kill(self, part: str) -> None:
        """Kill a part with everything that it has started."""
        self._kill_but(part, kept=())

    def kill_but_tasks(self, part: str) -> list[psutil.Process]:
        """Kill a worker and the supervisors of its tasks; return its tasks, which go on as orphans."""
        tasks = self._tasks(part)
        self._kill_but(part, kept=tasks)
        return [task for task in tasks if task.is_running()]

    def _kill_but(self, part: str, kept: Collection[psutil.Process]) -> None:
        process = self._running[part]
        # It would end what is to go on.
        process.abandon()
        for member in process.members():
            if member not in kept:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        self.check_alive()

    def _tasks(self, part: str) -> list[psutil.Process]:
        """Return the processes of tasks: a worker's process of its pool supervises, and its child is the task."""
        members = self._running[part].members()
        worker = [member for member in members if member.ppid() not in {other.pid for other in members}]
        return [task for one in worker for slot in one.children() for task in slot.children()]

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of each part's log."""
        return "\n".join(f"== {path.name}\n{tail(path, lines)}" for path in sorted(self.home.glob("*.log")))

    def _start(self, part: str) -> None:
        self._started += 1
        name = f"{part}-{self._started}"
        command = [part]
        if part.startswith("worker-"):
            command = ["celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip"]
            command += ["--celery-hostname", f"{name}@%h", "--pid", str(self.home / f"{name}.pid")]
        process = Supervised(
            [str(self.python), "-m", "airflow", *command],
            env=self.env,
            log=self.home / f"{name}.log",
            cwd=self.home,
        )
        process.start()
        self._running[part] = process
