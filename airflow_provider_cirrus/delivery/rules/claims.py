"""What the messages of one commit take under a frequency cap and from a day's budget."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import Entry

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
    from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
    from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
    from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore


class Overspent(NamedTuple):
    """
    Why nobody else is messaged now, as the day's budget is spent.

    :ivar until: Unix seconds at which there is room again; None: nobody waits for that
    """

    reason: str
    until: float | None


@dataclass(frozen=True)
class Counting:
    """
    The rules of a delivery that count, and where they do: in the database of its ledger.

    :ivar cap: how often somebody is messaged; None: nothing caps it
    :ivar category: of the messages, for the cap
    :ivar budget: how many people are messaged in a day, and whose budget it is; None: there is none
    """

    cap: FrequencyCap | None = None
    slots: FrequencyCapStore | None = None
    category: str | None = None
    budget: tuple[DailyBudget, str] | None = None
    people: DailyBudgetStore | None = None

    def __bool__(self) -> bool:
        return self.slots is not None or self.people is not None

    def tidy(self) -> None:
        """
        Delete a little of what is no longer counted.

        :raises LedgerError: the database does not answer, or will not
        """
        if self.slots is not None:
            self.slots.tidy()
        if self.people is not None and self.budget is not None:
            self.people.tidy(self.budget[1])


class CountedClaims:
    """
    Takes places under the cap, and from the budget, for the intents of one commit, in its transaction.

    A transaction that failed may be repeated: what has its place keeps it.

    :param intents: keys of the messages that are about to be sent
    :param persons: whose each message is (:func:`~.ledger.person_of`), by its key: of the intents, and of what was not
        sent after all
    :ivar overspent: the day's budget had no room for some: those that are ``unsent``
    """

    def __init__(self, counting: Counting, intents: Sequence[bytes], persons: Mapping[bytes, bytes]) -> None:
        self._counting = counting
        self._persons = persons
        self._wanted = self._with_persons(intents)
        self.overspent: Overspent | None = None

    def take(self, connection: Connection) -> Mapping[bytes, Entry]:
        """
        Take the places.

        :return: the keys of messages that must not be sent, with what they come to
        """
        rules = self._counting
        refused: dict[bytes, Entry] = {}
        if rules.cap is not None and rules.slots is not None:
            over = rules.slots.claim(connection, rules.cap, self._wanted, rules.category)
            refused = dict.fromkeys(over, Entry(Outcome.SUPPRESSED, reason=rules.cap.reason))
        if rules.budget is not None and rules.people is not None:
            budget, name = rules.budget
            left = [one for one in self._wanted if one[1] not in refused]
            waiting = rules.people.claim(connection, budget, name, left)
            self.overspent = None
            if waiting:
                room_at = min(waiting.values()) if budget.on_exceeded == "defer" else None
                self.overspent = Overspent(budget.reason, room_at)
            if waiting and rules.slots is not None:
                rules.slots.release(connection, self._with_persons(waiting))
            refused |= {key: Entry(Outcome.UNSENT, reason=budget.reason) for key in waiting}
        return refused

    def give_back(self, connection: Connection, keys: Collection[bytes]) -> None:
        """Give back the places of messages that were not sent after all."""
        messages = self._with_persons(keys)
        if messages and self._counting.slots is not None:
            self._counting.slots.release(connection, messages)
        if messages and self._counting.people is not None:
            self._counting.people.release(connection, messages)

    def _with_persons(self, keys: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        return [(self._persons[key], key) for key in keys]

    def committed(self) -> None:
        """Take note that the transaction is durable."""
        if self._counting.slots is not None and self._counting.cap is not None:
            self._counting.slots.remember_window(self._counting.cap)
