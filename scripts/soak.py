"""
Send for half an hour while all that can go wrong does, and see that nothing grows and nobody is lost or messaged twice.

    python -m scripts.soak [--minutes 30] [--messages 500000] [--seed 1]

One task's send, in a process of its own: an audience in a file, rules, a ledger in SQLite, a report. The sandbox
answers late, wrong, half or not at all, by chance, from the seed. Memory and open files of the sender are read every
second. Ends with one page, and with status 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.processes import ROOT

#: What goes wrong with a request, how often, and with which details.
FAULTS: dict[str, tuple[float, dict[str, Any]]] = {
    "latency": (0.3, {"delay": 0.5}),
    # Few, as each of them slows the send down for a while.
    "rate_limited": (0.001, {}),
    "rate_limited_retry_after": (0.0005, {}),
    "rate_limited_retry_date": (0.0005, {}),
    "server_error_before": (0.003, {}),
    "server_error_after": (0.003, {}),
    "bad_gateway_html": (0.002, {}),
    "garbage": (0.002, {}),
    "truncated": (0.002, {}),
    "drop_before": (0.003, {}),
    "drop_after": (0.003, {}),
    "missing_entry": (0.003, {}),
    "flooding": (0.0002, {}),
    "dripping": (0.0002, {"delay": 0.01}),
    "hang_after": (0.0002, {}),
}
#: How much the sender may grow after its first fifth, in bytes and in open files.
GROWTH, MORE_FILES = 24 * 1024 * 1024, 8
#: Seconds from which on that is looked at.
LONG = 120


_WELL = ("nobody twice, nobody lost; too short to say what grew", "nobody twice, nobody lost, nothing grew")


def send(asked: dict[str, Any]) -> None:
    """Be the sender: the program of a process."""
    from airflow_provider_cirrus import Columns, Delivery, Report, Rules
    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.delivery import deliver as door
    from airflow_provider_cirrus.delivery.ledger.base import TaskTry, is_global
    from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
    from airflow_provider_cirrus.delivery.sql.store import engine_for

    folder = Path(asked["folder"])
    ledger = SqlLedger(engine_for(f"sqlite:///{folder / 'ledger.db'}"), "soak/run/send", "try1", is_global=is_global)
    ledger.open(TaskTry())
    messages, total = door.messages_of(
        {"template": "order_update", "language": "en"},
        audience=str(folder / "audience.jsonl"),
        columns=Columns(to="phone", body=("name",), key="order"),
    )
    with CirrusClient(
        asked["token"], asked["stream"], base_url=asked["url"], pool_size=32, attempts=1, timeout=5
    ) as client:
        found = door.deliver(
            messages,
            client,
            total=total,
            rules=Rules(frequency_cap={"max_messages": 1, "days": 7}, suppression=str(folder / "stopped.csv")),
            delivery=Delivery(circuit_breaker=False),
            report=Report(str(folder / "report.jsonl")),
            ledger=ledger,
            messages_per_second=asked["rate"],
        )
    print(json.dumps(found.counts))


def person(place: int) -> str:
    """Return a number with which the sandbox does nothing special."""
    return f"447{place // 90 * 100 + place % 90:09d}"


def prepare(folder: Path, count: int) -> None:
    """Write the audience, one in a hundred of whom is suppressed, and one in two hundred stands in it twice."""
    with (folder / "audience.jsonl").open("w") as audience, (folder / "stopped.csv").open("w") as stopped:
        stopped.write("phone\n")
        for place in range(count):
            who = person(place if place % 200 != 199 else place - 1)
            order = f"A-{place if place % 200 != 199 else place - 1}"
            audience.write(json.dumps({"phone": who, "name": "Ann", "order": order}) + "\n")
            if place % 100 == 50:
                stopped.write(f"{who}\n")


class Readings:
    """What the sender holds, second by second."""

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.files: list[int] = []

    def take(self, process: psutil.Process) -> None:
        """Read once; nothing, where it has just ended."""
        try:
            memory, files = process.memory_info().rss, process.num_fds()
        except psutil.Error:
            return
        self.memory.append(memory)
        self.files.append(files)

    def growth(self) -> tuple[int, int]:
        """Return by how much the last two fifths hold more than the second fifth, at their most."""
        fifth = max(1, len(self.memory) // 5)
        early, late = slice(fifth, 2 * fifth), slice(-2 * fifth, None)
        return (
            max(self.memory[late]) - max(self.memory[early]),
            max(self.files[late]) - max(self.files[early]),
        )


def compare(sandbox: Sandbox, report: Path, count: int, found: dict[str, int]) -> list[str]:
    """
    Return what is wrong with the outcomes.

    The sandbox counts all messages, and remembers the newest of them, about a quarter of a million: of these ids and
    recipients are compared.
    """
    arrived: Counter[str] = Counter()
    ids: dict[str, str] = {}
    for message in sandbox.messages:
        arrived[message["recipient"]] += 1
        ids[message["recipient"]] = message["id"]
    wrong = []
    if twice := max(sandbox.counts["duplicates"], sum(times > 1 for times in arrived.values())):
        wrong.append(f"{twice} people were messaged twice")
    outcomes: Counter[str] = Counter()
    indexes: set[int] = set()
    told: set[str] = set()
    strangers = 0
    with report.open() as lines:
        for line in map(json.loads, lines):
            outcomes[line["outcome"]] += 1
            indexes.add(line["index"])
            if line["outcome"] in ("accepted", "unknown"):
                told.add(line["recipient"])
            known = ids.get(line["recipient"], line["message_id"])
            strangers += line["outcome"] == "accepted" and known != line["message_id"]
    if len(indexes) != count or sum(outcomes.values()) != count:
        wrong.append(f"the report has {sum(outcomes.values())} lines of {len(indexes)} messages, not {count}")
    if outcomes != Counter({name: number for name, number in found.items() if number and name in outcomes}):
        wrong.append(f"the report counts {dict(outcomes)}, the summary {found}")
    if strangers:
        wrong.append(f"{strangers} accepted messages arrived as others")
    accepted, may_have = outcomes["accepted"], outcomes["accepted"] + outcomes["unknown"]
    if not accepted <= sandbox.counts["accepted"] <= may_have:
        wrong.append(f"{sandbox.counts['accepted']} messages arrived, {accepted} to {may_have} are told")
    if lost := len(arrived.keys() - told):
        wrong.append(f"{lost} people got a message that the report does not know of")
    return wrong


def main() -> int:
    """Run it; return the status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(json.loads(options.send))
        return 0
    # Faster than it would take: whatever goes wrong takes time, too.
    rate = 1.5 * options.messages / options.minutes / 60
    readings = Readings()
    with (
        tempfile.TemporaryDirectory(prefix="cirrus-soak-") as place,
        Sandbox(messages_per_second=round(rate * 1.2) + 1, keep=2 * options.messages) as sandbox,
    ):
        folder = Path(place)
        prepare(folder, options.messages)
        for number, (name, (probability, details)) in enumerate(FAULTS.items()):
            sandbox.add_fault(name, probability=probability, seed=options.seed * 100 + number, times=None, **details)
        asked = {"folder": place, "url": sandbox.base_url, "token": sandbox.token, "stream": sandbox.stream_id}
        begun = time.monotonic()
        words = [sys.executable, "-m", "scripts.soak", "--send", json.dumps({**asked, "rate": rate})]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sender:
            process = psutil.Process(sender.pid)
            while sender.poll() is None:
                readings.take(process)
                time.sleep(1)
            output, errors = sender.communicate()
        seconds = time.monotonic() - begun
        if sender.returncode:
            print(errors[-4000:], file=sys.stderr)
            return 1
        found = json.loads(output.splitlines()[-1])
        struck = {str(fault["name"]): int(fault["struck"]) for fault in sandbox.faults}
        wrong = compare(sandbox, folder / "report.jsonl", options.messages, found)
    memory, files = readings.growth()
    # A sender that has just begun grows.
    is_long = len(readings.memory) >= LONG
    if is_long and memory > GROWTH:
        wrong.append(f"the sender grew by {memory / 1e6:.0f} MB")
    if is_long and files > MORE_FILES:
        wrong.append(f"the sender held {files} more open files")
    print(page(options.messages, seconds, found, struck, readings, wrong))
    return int(bool(wrong))


def page(
    count: int, seconds: float, found: dict[str, int], struck: dict[str, int], readings: Readings, wrong: list[str]
) -> str:
    """Return what is to be told, in Markdown."""
    memory, files = readings.growth()
    outcomes = ", ".join(f"{number:,} {name}" for name, number in found.items() if number)
    faults = ", ".join(f"{number:,} {name}" for name, number in struck.items())
    lines = [
        f"# {count:,} messages in {seconds / 60:.1f} minutes",
        "",
        "| | |",
        "|---|---|",
        f"| Outcomes | {outcomes} |",
        f"| Faults | {faults} |",
        f"| Memory | {max(readings.memory) / 1e6:.0f} MB at most; {memory / 1e6:+.0f} MB from the second fifth on |",
        f"| Open files | {max(readings.files)} at most; {files:+d} from the second fifth on |",
        f"| Verdict | {'; '.join(wrong) or _WELL[len(readings.memory) >= LONG]} |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
