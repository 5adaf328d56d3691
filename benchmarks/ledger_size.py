"""
What the ledger in Airflow's task state store writes and keeps of a large send, and how long the next try takes to load.

    python benchmarks/ledger_size.py [--messages 1000000] [--at-once 20]

Each write holds the intents of a request and the outcomes of the one before, as at 80 messages a second, which makes
the most writes. The store is a dict of JSON texts that takes 10 ms to read a value, as Airflow's was measured to.
Ends with status 1 where more than 3 times as much is written as is kept, or where it takes more than 15 s to load; both
are for 1,000,000 messages.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time

from _common import MemoryStore, fill, state_ledger

from airflow_provider_cirrus.delivery.ledger.base import KEY_BYTES
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex

GET_SECONDS = 0.010
MOST_WRITTEN, MOST_SECONDS = 3.0, 15.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--at-once", type=int, default=20)
    options = parser.parse_args()
    count = options.messages
    keys = [hashlib.blake2b(str(place).encode(), digest_size=KEY_BYTES).digest() for place in range(count)]
    store = MemoryStore()
    begun = time.perf_counter()
    fill(state_ledger(store), keys, options.at_once)
    writing = time.perf_counter() - begun
    kept = sum(len(text) for text in store.kept.values())
    ratio = store.written / kept
    print(
        f"written  {store.written / 1e6:8.1f} MB in {store.writes:,} writes, {store.written / count:.0f} bytes a "
        f"message; {writing / count * 1e6:.0f} µs a message, beside what the store takes"
    )
    print(f"kept     {kept / 1e6:8.1f} MB in {len(store.kept):,} values, {kept / count:.0f} bytes a message")
    print(f"written / kept  {ratio:.2f}")
    store.get_seconds = GET_SECONDS
    index = TempIndex()
    try:
        begun = time.perf_counter()
        known = index.load(state_ledger(store, 2).load())
        seconds = time.perf_counter() - begun
    finally:
        index.close()
    assert known == count, known
    print(f"load     {seconds:8.1f} s for {known:,} messages", flush=True)
    missed = ratio > MOST_WRITTEN or seconds > MOST_SECONDS
    print(f"target: at most {MOST_WRITTEN:g} times, and {MOST_SECONDS:g} s: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
