"""Writing what the machine asks to be written: to the ledger, and to the counters of frequency caps."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.parts import Commit
from airflow_provider_cirrus.delivery.ledger.base import NOBODY, Entry, Ledger, person_of
from airflow_provider_cirrus.delivery.rules.policy import Policy

_NO_CONFLICTS: Mapping[bytes, Entry] = {}


class Recorder:
    """
    Makes a commit durable. Called by one thread at a time; after an error the same commit may be written again.

    :param ledger: None: nothing is remembered
    :param policy: its caps are asked before the ledger, and told what became of messages after it
    """

    def __init__(self, ledger: Ledger | None, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy

    def write(self, commit: Commit) -> Mapping[bytes, Entry]:
        """
        Write a commit.

        :return: of the intents' keys, those that must not be sent, with what they come to
        :raises CirrusError: it may be written or not; with ``retryable`` it may be tried again
        """
        items = commit.items
        refused = self._policy.claim((item.recipient, item.key) for item in items)
        conflicts = {key: Entry(Outcome.SUPPRESSED, reason=reason) for key, reason in refused.items()}
        commit.overspent = self._policy.spend((i.recipient, i.key) for i in items if i.key not in conflicts)
        if commit.overspent:
            self._policy.release(commit.overspent.keys())
            conflicts |= {key: Entry(Outcome.UNSENT, reason=one.reason) for key, one in commit.overspent.items()}
        if self._ledger is not None:
            allowed = [item for item in items if item.key not in conflicts] if conflicts else items
            persons = NOBODY
            if self._ledger.keeps_persons:
                persons = {item.key: person_of(item.recipient) for item in allowed}
            others = self._ledger.commit([item.key for item in allowed], commit.outcomes, persons)
            if others:
                # Somebody else's message takes somebody else's place.
                self._policy.release(others.keys())
                conflicts.update(others)
        # Only now: a newer try may have taken them over before the ledger knew.
        self._policy.recorded(commit.outcomes)
        return conflicts or _NO_CONFLICTS

    def tidy(self) -> bool:
        """Do a little housekeeping; return whether more is left."""
        return self._ledger is not None and self._ledger.tidy()
