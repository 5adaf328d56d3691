"""Everything runs once at DEBUG; then all that is left is searched for the token, a code and every whole number."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow

PEOPLE = [f"4477009003{place:02d}" for place in (1, 2, 3, 4, 90, 91, 95)]
GONE, ONE, CODE = "447700900305", "447700900306", "739164"
# Where each may stand, and why. Everything else is a leak.
MAY_STAND = {
    # XComs of the user's own tasks, which hand a number and a code on: whoever writes such a task decides that.
    "one_number": {ONE},
    "code": {CODE},
    # The result of a check says whose it is, as docs/privacy.md has it.
    "check": {ONE},
}


class Packets:
    """What StatsD is told."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self.seen: list[bytes] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ends.is_set():
            try:
                self.seen.append(self._socket.recv(65_536))
            except TimeoutError:
                continue

    def close(self) -> None:
        self._ends.set()
        self._thread.join(5)
        self._socket.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where numbers and a code are that no DAG file has."""
    made = tmp_path_factory.mktemp("leaks")
    (made / "people.csv").write_text("phone,name\n" + "".join(f"+{number},Ann\n" for number in [*PEOPLE, GONE]))
    (made / "one.csv").write_text(f"phone\n+{ONE}\n")
    (made / "one.txt").write_text(f"+{ONE}\n")
    (made / "gone.txt").write_text(f"+{GONE}\n")
    (made / "code.txt").write_text(f"{CODE}\n")
    (made / "menu.pdf").write_bytes(b"%PDF-1.4 menu")
    return made


@pytest.fixture(scope="module")
def packets() -> Iterator[Packets]:
    made = Packets()
    yield made
    made.close()


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox, files: Path, packets: Packets
) -> Iterator[LocalAirflow]:
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(Path(__file__).parent / "dags" / "cirrus_leaks.py", dags)
    home = tmp_path_factory.mktemp("airflow")
    (home / "tmp").mkdir()
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW_CONN_LEAKS_LEDGER": f"sqlite:///{files}/ledger.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(packets.port),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(home / "lineage.json"), "append": True}
        ),
        "CIRRUS_TEST_LEAKS": str(files),
        "TMPDIR": str(home / "tmp"),
        **PARSE_ONCE,
    }
    _sandbox.reset()
    with LocalAirflow(home, dags, env=env) as airflow:
        yield airflow


def left_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()


def places_of(what: str, found: dict[str, bytes]) -> list[str]:
    """Where a text stands, with a few bytes around it."""
    pattern = re.compile(b"(?<![0-9])" + re.escape(what.encode()) + b"(?![0-9])")
    return [
        f"{place}: …{content[max(0, hit.start() - 60) : hit.end() + 10]!r}"
        for place, content in found.items()
        for hit in list(pattern.finditer(content))[:1]
    ]


def test_nothing_that_is_left_holds_what_is_nobodys_business(
    airflow: LocalAirflow, sandbox: Sandbox, files: Path, packets: Packets
) -> None:
    airflow.wait_for_dag("leaks")
    run_id = airflow.trigger("leaks")
    airflow.wait_for_run("leaks", run_id)
    states = {task["task_id"]: task["state"] for task in airflow.task_instances("leaks", run_id)}
    assert states == {
        "one_number": "success",
        "code": "success",
        "upload": "success",
        "people": "success",
        "secret": "success",
        "check": "success",
        "fails": "failed",
    }
    # It did touch all of them.
    assert {message["recipient"] for message in sandbox.messages} >= {*PEOPLE[:4], ONE}
    assert CODE in json.dumps(sandbox.messages)

    token = sandbox.token
    for process in airflow.processes():
        for word in process.cmdline():
            assert token not in word
    environments = [process.environ() for process in airflow.processes() if process.status() != psutil.STATUS_ZOMBIE]
    # The connection is in the environment, as whoever set it up wants; no other variable has it, nor a number.
    for environment in environments:
        rest = {name: value for name, value in environment.items() if name != "AIRFLOW_CONN_CIRRUS_DEFAULT"}
        assert token not in " ".join(rest.values())
        assert not [number for number in [*PEOPLE, ONE, GONE] if number in " ".join(rest.values())]

    xcoms = {
        task: json.dumps(airflow.xcom("leaks", run_id, task)).encode() for task in states if task not in ("fails",)
    }
    for what in (token, CODE, *PEOPLE, ONE, GONE):
        allowed = {task for task, values in MAY_STAND.items() if what in values}
        assert {place.partition(":")[0] for place in places_of(what, xcoms)} <= allowed

    airflow.stop()
    found = {f"home/{place}": content for place, content in left_in(airflow.home)}
    # What the test itself has written there.
    own = ("people.", "one.", "gone.", "code.")
    found |= {f"files/{place}": content for place, content in left_in(files) if not place.startswith(own)}
    found |= {"statsd": b"\n".join(packets.seen)}
    assert b"cirrus.messages.accepted" in found["statsd"]
    assert b"people.csv" in found["home/lineage.json"]
    assert any(place.endswith(".log") and b"DEBUG" in content.upper() for place, content in found.items())
    # At DEBUG Airflow's supervisor writes down every XCom; these were looked at by task, as those in its database.
    log = found["home/standalone.log"].splitlines()
    assert any(b"SetXCom(" in line for line in log)
    found["home/standalone.log"] = b"\n".join(line for line in log if b"XCom" not in line)
    searched = {place: content for place, content in found.items() if not place.startswith("home/airflow.db")}
    for what in (token, CODE, *PEOPLE, ONE, GONE):
        assert places_of(what, searched) == []
    database = {place: content for place, content in found.items() if place.startswith("home/airflow.db")}
    for what in (token, *PEOPLE, GONE):
        assert places_of(what, database) == []
