"""How long the pages of a sandbox's inbox take with many messages, and what it keeps of them in memory."""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
from _common import STREAM, client, read, rows

from airflow_provider_cirrus.sandbox import Sandbox

DEFINITION = {
    "name": "order_update",
    "language": "en",
    "category": "UTILITY",
    "components": [
        {
            "type": "BODY",
            "text": "Hello {{1}}, your order {{2}} left our shop today and will be with you tomorrow.",
            "example": {"body_text": [["Ann", "A-17"]]},
        }
    ],
}
PAGES = {
    "inbox": "/",
    "inbox, page 500": "/?page=500",
    "a recipient": "/to/447000000007",
    "a message": "/messages/1",
    "search, a name that many have": "/?query=hello",
    "search, a phrase of the template": "/?query=%22left+our+shop+today%22+A-0000042",
    "search, a number": "/?query=to:447000000007",
    "search, an hour": "/?query=after:2026-01-01+is:accepted",
    "latest?query=, of the newest": "/_sandbox/latest?query=hello",
    "latest?query=, of nothing": "/_sandbox/latest?query=nowhere+to+be+found",
    "summary": "/_sandbox/summary",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=100_000)
    count = options.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "order_update.en.json").write_text(json.dumps(DEFINITION))
        with Sandbox(templates=folder, keep=count, stream_id=STREAM) as sandbox:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with client(sandbox.base_url, 1) as sender:
                messages = (message for _, message in read(rows(count)))
                while batch := list(itertools.islice(messages, 20)):
                    sender.send(batch)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"{count:,} messages: {(after - before) * 1024 / count:,.0f} bytes each in memory")
            with httpx.Client(base_url=sandbox.base_url, trust_env=False, timeout=120) as http:
                for name, path in PAGES.items():
                    took = []
                    for _ in range(4):
                        start = time.perf_counter()
                        http.get(path)
                        took.append(time.perf_counter() - start)
                    first, then = took[0] * 1000, median(took[1:]) * 1000
                    print(f"{name:35} first {first:6,.0f} ms, then {then:6,.0f} ms")
            searched = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"after the searches: {(searched - before) * 1024 / count:,.0f} bytes each in memory")


if __name__ == "__main__":
    main()
