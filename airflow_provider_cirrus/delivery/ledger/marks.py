"""
Where a ledger that lives and dies with Airflow's task state store begins: what each try says before it sends.

The store is emptied by what people and Airflow do (a clear from 3.4 on, ``clear_on_success``, a button), and an empty
store looks like that of a task that never ran. What tells them apart is whether the task was ever cleared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerIncomplete
from airflow_provider_cirrus.delivery.ledger.base import TaskTry

FORMAT = 2

_WAYS_ON = (
    "For this run: where nobody was messaged, set delivery=Delivery(resend=True) and clear the task again; where "
    "somebody was, do so with the report of the earlier try as rules=Rules(suppression=…). For the runs to come: "
    "choose to keep the task's state when you clear, or give the Cirrus connection a ledger_conn_id, so that a "
    "database remembers."
)


@dataclass(frozen=True)
class Mark:
    """
    What a try wrote down before it sent anything. It is never changed, and the one of the newest try counts.

    :ivar by: the try that wrote it
    :ivar since: the first try whose records count; what is older was sent again on purpose
    :ivar clear: :attr:`~.base.TaskTry.clear` for which ``since`` began anew; 0: none did
    :ivar audience: what the task's part of the audience was; None: an earlier version did not say
    :ivar has_format_1: whether what an earlier version recorded counts, too
    """

    by: int
    since: int
    clear: int = 0
    audience: Mapping[str, Any] | None = field(default_factory=dict)
    has_format_1: bool = False

    def value(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "v": FORMAT,
            "by": self.by,
            "since": self.since,
            "clear": self.clear,
            "audience": self.audience,
            "format_1": self.has_format_1,
        }

    @classmethod
    def of(cls, value: Any) -> Mark:
        """
        Return the mark that was written as this.

        :raises LedgerError: another version's, or none at all
        """
        if not isinstance(value, Mapping) or value.get("v") != FORMAT:
            raise unknown_format()
        return cls(value["by"], value["since"], value["clear"], value["audience"], value["format_1"])


def next_mark(task: TaskTry, newest: Mark | None, *, has_format_1: bool = False, has_traces: bool = False) -> Mark:
    """
    Return what a try is to write down before it sends anything: from where on what was recorded counts.

    :param task: the try
    :param newest: the mark of the newest try that left one, this one included where it goes on after it was deferred
    :param has_format_1: without a mark: whether an earlier version left records
    :param has_traces: without a mark: whether there are other records of earlier tries, or parts of them
    :raises LedgerIncomplete: whom earlier tries messaged is not known
    :raises LedgerError: what was recorded is of another part of the audience
    """
    audience = json.loads(json.dumps(task.audience))
    anew = Mark(task.try_number, task.try_number, task.clear, audience)
    if newest is None and has_format_1:
        newest = Mark(0, 1, audience=None, has_format_1=True)
    # For this clear it may have been done by a try that was killed since, and is then not done again.
    is_to_resend = task.resend and task.was_cleared and (newest is None or newest.clear != task.clear)
    if task.resumed and (newest is None or newest.by != task.try_number):
        raise LedgerIncomplete(
            "What this try recorded before it was deferred is gone from Airflow's task state store: somebody emptied "
            "it. Whom it messaged is not known, so nothing was sent now.",
            hint=_WAYS_ON,
        )
    if is_to_resend:
        return anew
    if newest is not None:
        if newest.audience is not None and newest.audience != audience:
            raise _another_audience(newest.audience, audience)
        return Mark(task.try_number, newest.since, newest.clear, audience, newest.has_format_1)
    if task.was_cleared:
        raise LedgerIncomplete(
            f"This task was cleared, and Airflow has discarded what earlier tries recorded: try {task.try_number} "
            "finds nothing in the task state store (Airflow 3.4 and later empty it with a clear; clear_on_success and "
            "the buttons that empty it do so, too). Whom they messaged is not known, so nothing was sent now.",
            hint=_WAYS_ON,
        )
    if audience and task.run_was_cleared and not task.resend:
        raise LedgerIncomplete(
            "This mapped task runs for the first time in a DAG run that was cleared, so the mapping may have grown: "
            "its part of the audience may have been another task's, whose records it cannot see. Nothing was sent now.",
            hint="For this run: where nobody of this part was messaged, set delivery=Delivery(resend=True) and clear "
            "the task. For the runs to come: give the Cirrus connection a ledger_conn_id, where all parts of a run are "
            "seen.",
        )
    if has_traces:
        raise incomplete("no try says where its records begin, and some are there")
    # Earlier tries ended before they could send: what may leave is marked first.
    return anew


def incomplete(problem: str) -> LedgerIncomplete:
    """Return the error for records that are not all there, or not as they were written."""
    return LedgerIncomplete(
        f"Part of what earlier tries recorded in Airflow's task state store is gone or changed: {problem}. "
        "Whom they messaged is not known, so nothing was sent now.",
        hint=_WAYS_ON,
    )


def unknown_format() -> LedgerError:
    """Return the error for what this version cannot read."""
    return LedgerError(
        "What earlier tries of this task recorded is in a format that this version does not read.",
        hint="Use the version that wrote it, or set delivery=Delivery(resend=True) and clear the task if nobody was "
        "messaged.",
    )


def _another_audience(was: Mapping[str, Any], now: Mapping[str, Any]) -> LedgerError:
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    differing = "; ".join(f"{name} was {_said(was, name)} and is {_said(now, name)}" for name in names)
    return LedgerError(
        f"An earlier try of this mapped task sent another part of the audience ({differing}). Airflow's task state "
        "store shows a task its own records only, so people could be messaged twice, or not at all: nothing was sent "
        "now.",
        hint="Set it back to what it was; give the Cirrus connection a ledger_conn_id, where all parts of a run are "
        "seen, before the next run; or set delivery=Delivery(resend=True) and clear the task where nobody was "
        "messaged.",
    )


def _said(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]) if name in values else "not set"
