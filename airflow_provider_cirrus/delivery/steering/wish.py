"""What somebody wants of a send that runs, and where a run reads it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_cirrus.api.errors import InvalidInput

#: What a run can be asked to be.
STATES = ("running", "paused", "stopped")
# Characters of a name that are kept.
_NAME = 80


@dataclass(frozen=True)
class Wish:
    """
    What is wanted of a run.

    :ivar state: ``running``, ``paused``, or ``stopped``: the rest stays unsent, and the task fails without a retry
    :ivar messages_per_second: most messages of all its tasks together in a second; None: as the task says
    :ivar by: who asked, where that is known
    :ivar at: Unix seconds; of two wishes the later one holds
    """

    state: str = "running"
    messages_per_second: float | None = None
    by: str = ""
    at: float = 0.0

    @classmethod
    def of(cls, value: Any) -> Wish:
        """
        Return a wish from its stored form, which anybody may have written who may edit the task.

        :raises InvalidInput: it is none
        """
        if not isinstance(value, Mapping) or value.get("state") not in STATES:
            raise InvalidInput("wish.state", f"is none of {', '.join(STATES)}.")
        rate, at, by = value.get("messages_per_second"), value.get("at"), value.get("by")
        if rate is not None and not (_is_number(rate) and rate > 0):
            raise InvalidInput("wish.messages_per_second", "is no number above 0.")
        if at is None or not _is_number(at):
            raise InvalidInput("wish.at", "is no number of Unix seconds.")
        # Into the log it goes: one line, and not all of a book.
        name = " ".join(str(by or "").split())[:_NAME]
        return cls(value["state"], None if rate is None else float(rate), name, float(at))

    def to_value(self) -> dict[str, Any]:
        """Return the stored form, as JSON has it."""
        return {
            "v": 1,
            "state": self.state,
            "messages_per_second": self.messages_per_second,
            "by": self.by,
            "at": self.at,
        }

    def in_words(self) -> str:
        """Return what is wanted, and by whom."""
        rate = "" if self.messages_per_second is None else f", at most {self.messages_per_second:g} messages a second"
        who = f" (asked for by {self.by})" if self.by else ""
        return f"{self.state}{rate}{who}"


def wanted(before: Wish | None, action: str, by: str, rate: float | None = None) -> Wish:
    """
    Return the wish after one more action.

    :param before: what was wanted before
    :param action: ``pause``, ``resume``, ``rate`` or ``stop``
    :param by: who asks
    :param rate: of ``rate``: messages a second; None: as the task says
    :raises InvalidInput: another action, or no rate
    """
    known = before or Wish()
    states = {"pause": "paused", "resume": "running", "stop": "stopped", "rate": known.state}
    if action not in states:
        raise InvalidInput("action", f"{action!r} is none of {', '.join(states)}.")
    kept = rate if action == "rate" else known.messages_per_second
    return Wish.of(Wish(states[action], kept, by, time.time()).to_value())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Steering(Protocol):
    """Where a run reads what is wanted of it, and says how far it has come. Called by one thread at a time."""

    def read(self) -> Wish | None:
        """
        Return what is wanted; None: nobody has said anything.

        :raises CirrusError: it cannot be known at this moment
        """

    def write(self, wish: Wish | None) -> None:
        """
        Say what is wanted; None: nothing any more.

        :raises CirrusError: it is not written
        """

    def tell(self, progress: Mapping[str, Any]) -> None:
        """
        Say how far the run has come.

        :raises CirrusError: it is not written
        """


class Together:
    """
    Several places at once: what was said last in any of them holds.

    :param places: the first of them is written to
    """

    def __init__(self, places: Sequence[Steering]) -> None:
        self._places = places

    def read(self) -> Wish | None:
        """Return what is wanted; see :meth:`Steering.read`."""
        found = [wish for place in self._places if (wish := place.read()) is not None]
        return max(found, key=lambda wish: wish.at, default=None)

    def write(self, wish: Wish | None) -> None:
        """Say what is wanted; see :meth:`Steering.write`."""
        for place in self._places if wish is None else self._places[:1]:
            place.write(wish)

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Say how far the run has come; see :meth:`Steering.tell`."""
        for place in self._places:
            place.tell(progress)
