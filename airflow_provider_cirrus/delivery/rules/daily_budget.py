"""How many people an account may reach in a day: WhatsApp's own limit, and a slower beginning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import from_names, time_span, whole_number

DAY = 86_400
#: Seconds for which somebody is counted: a day, and as long as a message may take to leave after it has its place.
WINDOW = DAY + 900
_UNITS = {"m": 60, "h": 3_600, "d": DAY}
_SPAN = re.compile(r"(\d+)\s*([mhd])")
_LONGEST_NAME = 200
# More people than there are.
_MOST = 10**10


@dataclass(frozen=True)
class Ramp:
    """
    A budget that begins small and grows: so many people at first, and ``factor`` times as many after each ``every``.

    It grows from the first message on that its budget was ever asked for.

    :ivar start: people of the first step
    :ivar factor: by how much it grows with each step; 1 or more
    :ivar every: how long a step is: a timedelta, seconds, or such as ``1d``, ``12h``, ``30m``
    """

    start: int
    factor: float = 2
    every: Any = "1d"

    @classmethod
    def of(cls, value: Any) -> Ramp:
        """
        Return a ramp from what an argument may hold.

        :raises InvalidInput: it is none
        """
        made = from_names(cls, value, "daily_budget.ramp", needed=("start",))
        whole_number(made.start, "daily_budget.ramp.start", 1)
        factor = made.factor
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 1000:
            raise InvalidInput("daily_budget.ramp.factor", f"{factor!r:.40} is no number from 1 to 1000.")
        if made.seconds < 60:
            raise InvalidInput("daily_budget.ramp.every", "is less than a minute.")
        return made

    @property
    def seconds(self) -> float:
        """How long a step is; raises InvalidInput where it is no time span."""
        if isinstance(self.every, str) and (found := _SPAN.fullmatch(self.every.strip().lower())):
            return float(found[1]) * _UNITS[found[2]]
        return time_span(self.every, "daily_budget.ramp.every")

    def limit(self, since: float, now: float) -> int:
        """Return how many people there may be now."""
        steps = int(max(0.0, now - since) // self.seconds)
        try:
            return int(min(_MOST, self.start * float(self.factor) ** steps))
        except OverflowError:
            return _MOST

    def next_step(self, since: float, now: float) -> float:
        """Return when it grows next, in Unix seconds."""
        return since + (int(max(0.0, now - since) // self.seconds) + 1) * self.seconds


@dataclass(frozen=True)
class DailyBudget:
    """
    How many different people may be messaged in any 24 hours, over all tasks, runs and DAGs that share a database.

    ::

        DailyBudget(2_000)
        DailyBudget(10_000, name="portfolio", ramp=Ramp(start=250, factor=2, every="1d"))

    :ivar people: how many; 250, 2,000, 10,000 and 100,000 are WhatsApp's own limits (Meta, messaging limits).
        None: as many as the ramp allows
    :ivar name: whose budget it is: all that name it so share it, such as the streams of a portfolio; None: the stream's
    :ivar on_exceeded: what becomes of the others: ``defer``, the task waits, without a worker's slot, for room;
        ``fail``, they stay unsent, and the task fails
    :ivar ramp: a slower beginning; None: all of it at once
    """

    people: int | None = None
    name: str | None = None
    on_exceeded: str = "defer"
    ramp: Any = None

    @classmethod
    def of(cls, value: Any) -> DailyBudget:
        """
        Return a budget from what an argument may hold: one, a dict of its arguments, or how many people.

        :raises InvalidInput: it is none
        """
        if isinstance(value, int | str) and not isinstance(value, bool):
            value = {"people": whole_number(value, "daily_budget", 1)}
        made = from_names(cls, value, "daily_budget")
        if made.people is None and made.ramp is None:
            raise InvalidInput("daily_budget", "says neither how many people nor a ramp.", hint="Such as 2000.")
        if made.people is not None:
            whole_number(made.people, "daily_budget.people", 1)
        if made.on_exceeded not in ("defer", "fail"):
            raise InvalidInput("daily_budget.on_exceeded", f"{made.on_exceeded!r:.40} is neither defer nor fail.")
        name = made.name
        if name is not None and not (isinstance(name, str) and 0 < len(name.strip()) <= _LONGEST_NAME):
            raise InvalidInput("daily_budget.name", "is no text of 1 to 200 characters.")
        return cls(made.people, name, made.on_exceeded, None if made.ramp is None else Ramp.of(made.ramp))

    def limit(self, since: float, now: float) -> int:
        """
        Return how many people there may be now.

        :param since: Unix seconds of the first message that the budget was asked for
        """
        limits = [] if self.people is None else [self.people]
        if self.ramp is not None:
            limits.append(self.ramp.limit(since, now))
        return min(limits)

    def next_step(self, since: float, now: float) -> float | None:
        """Return when it grows by itself, in Unix seconds; None: it does not any more."""
        if self.ramp is None or (self.people is not None and self.ramp.limit(since, now) >= self.people):
            return None
        return float(self.ramp.next_step(since, now))

    def name_for(self, stream_id: str) -> str:
        """
        Return whose budget it is.

        :param stream_id: of the send
        """
        return self.name.strip() if self.name else f"stream {stream_id}"

    @property
    def reason(self) -> str:
        """Why somebody waits, for the outcome."""
        if self.ramp is not None:
            return "daily_budget: as many people in 24 hours as its ramp allows already"
        return f"daily_budget: {self.people} people in 24 hours already"
