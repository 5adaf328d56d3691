"""Run many worlds: ``python -m tests.simulation --worlds 1000000``; the first that fails is shown."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import codecs
from tests.simulation.runner import Found, Report, explore

_PART = 500
CODECS = {
    "task_state": codecs.TaskStateCodec,
    "shards": codecs.ShardsCodec,
    "sqlite": codecs.SqlCodec,
    "sqlite_alone": codecs.SqlAloneCodec,
    "ideal": codecs.IdealCodec,
}


def _part(name: str, first: int, worlds: int) -> Report | str:
    # What the engine warns of is what worlds are made of.
    logging.disable(logging.CRITICAL)
    try:
        return explore(CODECS[name], range(first, first + worlds))
    except Found as found:
        return str(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--codec", choices=list(CODECS), default="task_state")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--worlds", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=None)
    options = parser.parse_args()
    begun = time.monotonic()
    struck: Counter[str] = Counter()
    worlds = accepted = refusals = 0
    end = options.first + options.worlds
    with ProcessPoolExecutor(options.processes) as pool:
        parts = [
            pool.submit(_part, options.codec, first, min(_PART, end - first))
            for first in range(options.first, end, _PART)
        ]
        for number, part in enumerate(parts):
            found = part.result()
            if isinstance(found, str):
                pool.shutdown(wait=False, cancel_futures=True)
                print(found)
                return 1
            struck += found.struck
            worlds += found.worlds
            accepted += found.accepted
            refusals += found.refusals
            if number % 20 == 19:
                print(f"{worlds:,} worlds, {worlds / (time.monotonic() - begun):.0f} a second", flush=True)
    print(f"{worlds:,} worlds of {options.codec} in {time.monotonic() - begun:.0f} s: every promise was kept.")
    print(f"{accepted:,} messages accepted, {refusals:,} refusals after a clear.")
    for fault, times in sorted(struck.items()):
        print(f"  {fault:24} {times:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
