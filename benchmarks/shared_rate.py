"""
How much of a stream's limit eight tasks of two DAGs use together, and whether it is ever exceeded.

    python benchmarks/shared_rate.py [--messages 6000] [--uri postgresql://...]

Each task is a process of its own with its own part of the audience; they begin at different times, end at different
times, and one is killed in the middle and tried again. They share nothing but the ledger's database, which is a SQLite
file or the one that is named. Measured is what arrives at a sandbox that itself answers 429 to the 81st message within
any second: over the time in which at least one task has work, but for the first two seconds, and in the tail, from the
end of the last but one task on. Ends with status 1 below 95 % of the limit, or where a second held more than it.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import client, rows

from airflow_provider_cirrus.delivery import deliver as door
from airflow_provider_cirrus.delivery.ledger.base import TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.shared_rate.sql import SharedRateStore
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox import Sandbox

LIMIT, TASKS = 80, 8
TARGET = 0.95


def send(asked: dict[str, Any]) -> None:
    """Be one task: the program of a process."""
    ledger = SqlLedger(engine_for(asked["uri"]), asked["task"], f"try{asked['attempt']}")
    ledger.open(TaskTry(asked["attempt"]))
    chosen = [row["phone"] for place, row in enumerate(rows(asked["messages"])) if place % TASKS in asked["parts"]]
    messages, total = door.messages_of({"template": "order_update", "language": "en"}, to=chosen)
    with client(asked["url"], 16) as cirrus:
        found = door.deliver(
            messages,
            cirrus,
            total=total,
            ledger=ledger,
            messages_per_second=LIMIT,
            this_try=door.ThisTry(asked["attempt"], stream_rate=LIMIT),
        )
    print(json.dumps(found.counts))


def start(url: str, uri: str, place: int, messages: int, attempt: int = 1) -> subprocess.Popen[str]:
    dag = "news" if place % 2 else "orders"
    asked = {"url": url, "uri": uri, "task": f"{dag}/run/send/{place}", "parts": [place], "attempt": attempt}
    words = [sys.executable, __file__, "--send", json.dumps({**asked, "messages": messages})]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=6_000)
    parser.add_argument("--uri")
    parser.add_argument("--send", type=json.loads)
    options = parser.parse_args()
    if options.send:
        send(options.send)
        return 0
    # The sandbox stands in for a server that does not stand still now and then, with all that it remembers.
    gc.disable()
    with tempfile.TemporaryDirectory() as folder, Sandbox(messages_per_second=LIMIT, keep=1_000_000) as server:
        uri = options.uri or f"sqlite:///{Path(folder) / 'ledger.db'}"
        engine = engine_for(uri)
        SharedRateStore(engine, "somebody", LIMIT)
        SqlLedger(engine, "somebody", "try").open(TaskTry(1))
        engine.dispose()
        processes = []
        for place in range(TASKS):
            processes.append(start(server.base_url, uri, place, options.messages))
            time.sleep(0.4)
        while server.counts["accepted"] < options.messages // 3:
            time.sleep(0.05)
        processes[3].kill()
        processes[3].wait()
        time.sleep(3)
        processes[3] = start(server.base_url, uri, 3, options.messages, attempt=2)
        ends = []
        for process in processes:
            process.communicate()
            ends.append(time.time())
        arrived = [(one["time"], len(one["json"]["data"])) for one in server.requests if one["operation"] == "send"]
        refused = sum(one["status"] == 429 for one in server.requests)
        twice = len(server.messages) - len({one["recipient"] for one in server.messages})
    arrived.sort()
    above = {
        round(begin - arrived[0][0], 1)
        for begin, _ in arrived
        if sum(c for m, c in arrived if begin <= m < begin + 1) > LIMIT
    }
    print(f"above the limit at {sorted(above)}")
    most = max(sum(count for moment, count in arrived if begin <= moment < begin + 1) for begin, _ in arrived)
    steady = [one for one in arrived if one[0] >= arrived[0][0] + 2]
    used = sum(count for _, count in steady[:-1]) / (steady[-1][0] - steady[0][0]) / LIMIT
    print(f"all the time     {used:6.1%} of {LIMIT} messages/s over {steady[-1][0] - steady[0][0]:.0f} s")
    print(f"any second       {most:6d} messages at most, {refused} requests answered 429, {twice} messages twice")
    missed = used < TARGET or most > LIMIT or refused > 0 or twice > 0
    print(f"target: at least {TARGET:.0%}, never above {LIMIT}: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
