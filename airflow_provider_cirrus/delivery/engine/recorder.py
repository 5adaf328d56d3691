"""Writing what the machine asks to be written: to the ledger, and to the counters of frequency caps."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_cirrus.api.results import Sent
from airflow_provider_cirrus.delivery.engine.parts import Commit
from airflow_provider_cirrus.delivery.ledger.base import Entry, Ledger, person_of
from airflow_provider_cirrus.delivery.rules.policy import Policy

_NO_CONFLICTS: Mapping[bytes, Entry] = {}


class Recorder:
    """
    Makes a commit durable. Called by one thread at a time; after an error the same commit may be written again.

    :param ledger: None: nothing is remembered
    :param policy: what its rules count is counted in the ledger's transactions
    :raises ValueError: there is no ledger, and rules that count
    """

    def __init__(self, ledger: Ledger | None, policy: Policy) -> None:
        if ledger is None and policy.counts:
            raise ValueError("what rules count is counted in the database of a ledger")
        self._ledger = ledger
        self._policy = policy

    def write(self, commit: Commit) -> Mapping[bytes, Entry]:
        """
        Write a commit.

        :return: of the intents' keys, those that must not be sent, with what they come to
        :raises CirrusError: it may be written or not; with ``retryable`` it may be tried again
        """
        if self._ledger is None:
            return _NO_CONFLICTS
        items = commit.items
        intents = [item.key for item in items]
        persons: dict[bytes, bytes] = {}
        if self._policy.counts:
            # What these took is given back.
            not_sent = [item for item, entry in commit.outcomes if entry.outcome.sent is Sent.NO]
            persons = {item.key: person_of(item.recipient) for item in (*not_sent, *items)}
        elif self._ledger.keeps_persons:
            persons = {item.key: person_of(item.recipient) for item in items}
        claims = self._policy.claims(intents, persons)
        outcomes = [(item.key, entry) for item, entry in commit.outcomes]
        conflicts = self._ledger.commit(intents, outcomes, persons, claims)
        if claims is not None:
            claims.committed()
            commit.overspent = claims.overspent
        return conflicts

    def tidy(self) -> bool:
        """Do a little housekeeping; return whether more is left."""
        self._policy.tidy()
        return self._ledger is not None and self._ledger.tidy()
