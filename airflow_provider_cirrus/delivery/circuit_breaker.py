"""How much may go wrong before a send stops by itself; ``engine/watch`` does it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import from_names, whole_number

_HINT = "Give CircuitBreaker(…), a dict of its names, or False for none."
_RATIOS = ("max_rejected", "max_unknown", "warn_rejected")


@dataclass(frozen=True)
class CircuitBreaker:
    """
    How much may go wrong before a send stops by itself; the rest stays unsent, and the task fails.

    Counted is what Cirrus answered since the task was last cleared, in all tries; in each task of a sharded send by
    itself. Rows that cannot become a message and what a rule holds back are not counted: they cost nobody anything.

    :ivar max_rejected: share of rejected messages at which it stops, over the run or over the last ``window``;
        None: at none
    :ivar max_unknown: the same of messages of which it is not known whether they were sent
    :ivar warn_rejected: share of rejected messages at which the log warns, once
    :ivar max_in_a_row: messages in a row, rejected for one reason, at which it stops; None: at none
    :ivar min_outcomes: answers before which no share is looked at
    :ivar window: how many of the latest answers are looked at by themselves
    """

    max_rejected: float | None = 0.10
    max_unknown: float | None = 0.01
    warn_rejected: float | None = 0.05
    max_in_a_row: int | None = 20
    min_outcomes: int = 200
    window: int = 1_000

    @classmethod
    def of(cls, value: Any) -> CircuitBreaker | None:
        """
        Return a circuit breaker from what an argument may hold.

        :param value: one, a dict of its arguments, True or None for the usual one, False for none
        :raises InvalidInput: anything else, or limits that are none
        """
        if value is False:
            return None
        if value is None or value is True:
            return cls()
        made = from_names(cls, value, "circuit_breaker", hint=_HINT)
        made._check()
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the usual limits, as JSON has it; a limit that is off is None, and said."""
        usual = CircuitBreaker()
        return {
            one.name: value for one in fields(self) if (value := getattr(self, one.name)) != getattr(usual, one.name)
        }

    def _check(self) -> None:
        for name in _RATIOS:
            share = getattr(self, name)
            if share is None:
                continue
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise InvalidInput(
                    f"circuit_breaker.{name}",
                    f"{share!r:.40} is no share of the messages.",
                    hint="Give a number from 0 to 1, such as 0.1 for one in ten, or None.",
                )
        if self.max_in_a_row is not None:
            whole_number(self.max_in_a_row, "circuit_breaker.max_in_a_row", 1)
        whole_number(self.min_outcomes, "circuit_breaker.min_outcomes", 1)
        whole_number(self.window, "circuit_breaker.window", 1)
