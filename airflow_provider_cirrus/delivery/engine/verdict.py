"""How a task ends, by what became of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from airflow_provider_cirrus.api.results import Outcome


class Verdict(StrEnum):
    """What the task does after a run."""

    SUCCESS = "success"  #: nothing is left to do
    RETRY = "retry"  #: messages are left that a retry sends
    FAIL = "fail"  #: a retry would send nothing
    DEFER = "defer"  #: all that are left wait for the end of quiet hours


def verdict(
    counts: Mapping[str, int],
    *,
    deferred: int,
    was_stopped: bool,
    is_called_off: bool,
    repeats_unknown: bool,
    allowed: float,
) -> Verdict:
    """
    Return how a task ends.

    :param counts: messages by outcome
    :param deferred: how many of the unsent wait for the end of quiet hours
    :param was_stopped: the task was told to end: it did not read its audience to the end
    :param is_called_off: the circuit breaker, or somebody, stopped it: a retry would find the same
    :param repeats_unknown: whether a retry sends again what may have been sent
    :param allowed: how many may have an outcome that fails
    """
    unsent, unknown = counts.get(Outcome.UNSENT, 0), counts.get(Outcome.UNKNOWN, 0)
    if was_stopped:
        return Verdict.RETRY
    if unsent and is_called_off:
        return Verdict.FAIL
    if unsent:
        return Verdict.DEFER if unsent == deferred else Verdict.RETRY
    if sum(counts.get(outcome, 0) for outcome in Outcome if outcome.fails) <= allowed:
        return Verdict.SUCCESS
    return Verdict.RETRY if unknown and repeats_unknown else Verdict.FAIL
