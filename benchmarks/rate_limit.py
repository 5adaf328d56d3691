"""
How much of the account's limit is used, and whether it is ever exceeded, where every answer takes a second.

    python benchmarks/rate_limit.py [--seconds 25]

80 messages a second, as the server saw them arrive; the sandbox itself answers 429 to the 81st within any second.
Two figures: from the first answer on, which is what a long send comes to, and of the whole run, whose first seconds
go by with one request and whose last is the wait for an answer. Ends with status 1 where the first is below 97 % of
the limit, or where any one second held more than it.
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
TARGET = 0.97
ANSWER = 1.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=25)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as place, Sandbox(messages_per_second=LIMIT, keep=100_000) as server:
        folder = Path(place)
        audience = write_audience(folder / "audience.jsonl", LIMIT * seconds)
        server.add_fault("latency", on="send", delay=ANSWER, times=None)
        with client(server.base_url, 16) as cirrus:
            sent = Dispatcher(cirrus.send, STREAM, sql_ledger(folder / "ledger.db"), messages_per_second=LIMIT).run(
                read(audience)
            )
        requests = sorted(server.requests, key=lambda request: request["time"])
    assert sent.counts["accepted"] == LIMIT * seconds, sent.counts
    arrived = [(request["time"], len(request["json"]["data"])) for request in requests]
    refused = sum(request["status"] == 429 for request in requests)
    begun = arrived[0][0]
    # The last request opens a time of its own, which is not over yet; so does the first that comes after an answer.
    steady = [one for one in arrived if one[0] >= begun + ANSWER]
    span = steady[-1][0] - steady[0][0]
    achieved = sum(count for _, count in steady[:-1]) / span
    whole = LIMIT * seconds / sent.seconds
    most = max(sum(count for moment, count in arrived if begin <= moment < begin + 1) for begin, _ in arrived)
    print(f"first answer on  {achieved:6.1f} messages/s over {span:.1f} s: {achieved / LIMIT:.1%} of {LIMIT}")
    print(f"whole run        {whole:6.1f} messages/s over {sent.seconds:.1f} s: {whole / LIMIT:.1%} of {LIMIT}")
    print(f"any second       {most:6d} messages at most, {refused} requests answered 429")
    missed = achieved < TARGET * LIMIT or most > LIMIT or refused > 0
    print(
        f"target: at least {TARGET:.0%} from the first answer on, never above {LIMIT}: {'missed' if missed else 'met'}"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
