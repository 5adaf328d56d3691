"""
How much of the account's limit is used, and whether it is ever exceeded, where every answer takes a second.

    python benchmarks/rate_limit.py [--seconds 25]

80 messages a second, as the server saw them arrive; the sandbox itself answers 429 to the 81st within any second.
Ends with status 1 below 95 % of the limit, or where any one second held more than it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from _common import STREAM, client, read, sql_ledger, write_audience

from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.sandbox import Sandbox

LIMIT = 80
TARGET = 0.95


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=25)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as place, Sandbox(messages_per_second=LIMIT, keep=100_000) as server:
        folder = Path(place)
        audience = write_audience(folder / "audience.jsonl", LIMIT * seconds)
        server.add_fault("latency", on="send", delay=1.0, times=None)
        with client(server.base_url, 16) as cirrus:
            sent = Dispatcher(cirrus.send, STREAM, sql_ledger(folder / "ledger.db"), messages_per_second=LIMIT).run(
                read(audience)
            )
        requests = sorted(server.requests, key=lambda request: request["time"])
    assert sent.counts["accepted"] == LIMIT * seconds, sent.counts
    arrived = [(request["time"], len(request["json"]["data"])) for request in requests]
    refused = sum(request["status"] == 429 for request in requests)
    span = arrived[-1][0] - arrived[0][0]
    # The last request opens a time of its own, which is not over yet.
    achieved = sum(count for _, count in arrived[:-1]) / span
    most = max(sum(count for moment, count in arrived if begin <= moment < begin + 1) for begin, _ in arrived)
    print(f"achieved     {achieved:6.1f} messages/s over {span:.1f} s: {achieved / LIMIT:.1%} of {LIMIT}")
    print(f"any second   {most:6d} messages at most, {refused} requests answered 429")
    print(f"whole run    {sent.seconds:6.1f} s, the last answer included")
    missed = achieved < TARGET * LIMIT or most > LIMIT or refused > 0
    print(f"target: at least {TARGET:.0%}, never above {LIMIT}: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
