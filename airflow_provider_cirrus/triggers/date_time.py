"""The trigger that waits for a moment, such as the end of quiet hours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

# Seconds: clocks are set, and machines sleep; a look now and then finds out.
_LOOK = 60.0


class DateTimeTrigger(BaseTrigger):
    """
    Fires at a moment; at once where it is past.

    Our own, as that of Airflow's standard provider is elsewhere in Airflow 2.11.

    :param at: Unix seconds
    :param begun: told with the event: whoever waits may have to count
    """

    def __init__(self, at: float, begun: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at = at
        self.begun = begun

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how to make it again in a triggerer."""
        return "airflow_provider_cirrus.triggers.date_time.DateTimeTrigger", {
            "at": self.at,
            "begun": self.begun,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        while (rest := self.at - time.time()) > 0:
            await asyncio.sleep(min(rest, _LOOK))
        yield TriggerEvent({"at": self.at, "begun": self.begun})  # type: ignore[no-untyped-call]
