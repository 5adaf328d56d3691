"""How a task waits without a worker's slot: for the end of quiet hours, or for somebody who resumes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.retries import CirrusUnsentError

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.engine.result import DeliveryResult

#: Gives the worker's slot back until a moment, in Unix seconds; see :meth:`~.hooks.delivery.TaskDelivery.end`.
Defer: TypeAlias = "Callable[[float, int | None], None]"

# Seconds after which a paused task that has given its slot back looks again.
_LOOK_AGAIN = 60.0


def wait_for_their_time(log: Any, result: DeliveryResult, defer: Defer | None) -> NoReturn:
    """
    Wait until the first of those who are asleep may be messaged, or for another day's budget.

    :param defer: None: the slot cannot be given back
    :raises CirrusUnsentError: it cannot, so the next try goes on
    """
    assert result.resume_at is not None
    until = datetime.fromtimestamp(result.resume_at, UTC).isoformat(timespec="seconds")
    wait = f"{in_numbers(result.deferred, 'message')} {'waits' if result.deferred == 1 else 'wait'}"
    log.info("%s for %s; going on at %s.", wait, result.waits_for, until)
    if defer is not None:
        defer(result.resume_at, None)
    raise CirrusUnsentError(f"{wait} for {result.waits_for}, at {until}.", result.resume_at - time.time())


def wait_until_resumed(result: DeliveryResult, defer: Defer | None) -> NoReturn:
    """
    Wait for a while, as the send is paused; then it looks again.

    :param defer: None: the slot cannot be given back
    :raises CirrusUnsentError: it cannot, so the next try looks again
    """
    if defer is not None:
        defer(time.time() + _LOOK_AGAIN, None)
    left = in_numbers(result.counts["unsent"], "message")
    raise CirrusUnsentError(f"The send is paused: {left} left. Resume it (airflow cirrus resume).", _LOOK_AGAIN)


def begin_anew(log: Any, task: Any, result: DeliveryResult, beginning: tuple[int, int], defer: Defer) -> None:
    """
    Wait for another beginning in this very try, where a next one would not know that nothing was sent.

    Returns where something was, or may have been.

    :param task: the operator
    :param beginning: which one it is, of how many
    """
    from airflow_provider_cirrus.api.results import Outcome, Sent
    from airflow_provider_cirrus.delivery.report.summary import explanation

    if any(count and Outcome(outcome).sent is not Sent.NO for outcome, count in result.counts.items()):
        return
    delay = max(task.retry_delay.total_seconds(), (result.error and result.error.retry_after) or 0)
    log.warning(
        "%s Nothing was sent, and Airflow before 3.3 would not remember that: instead of a retry, this try begins "
        "anew in %.0f s (%d of %d).",
        " ".join(explanation(result)),
        delay,
        *beginning,
    )
    defer(time.time() + delay, beginning[0])
