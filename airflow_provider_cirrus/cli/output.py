"""Where commands write: standard output holds the answer alone, and whoever does not listen changes no outcome."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def answer_only() -> Iterator[TextIO | None]:
    """
    Yield standard output, and let all others write to standard error instead.

    Airflow 2.11 logs to standard output, in the midst of what a script is to read.
    """
    out: TextIO | None = sys.stdout
    with redirect_stdout(sys.stderr):
        yield out


def listen_to_errors() -> None:
    """Have a standard error where the process was started without one: Airflow 3.1 needs it to look up a connection."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (as long as the process)


def write_line(text: str, stream: TextIO | None) -> bool:
    """
    Write a line; return whether it could be.

    A closed stream is no failure of what was done: a status that says so has a script send again what was accepted.
    """
    if stream is None:
        return False
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        _forget(stream)
        return False
    return True


def _forget(stream: TextIO) -> None:
    """Let what is left in the stream go nowhere, or Python tries it again at its end and gives a status of its own."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
