"""The numbers that a task checked, so that none of its tries checks one twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.phone import account_of, mask
from airflow_provider_cirrus.delivery.ledger.state_calls import asked
from airflow_provider_cirrus.hooks.ledger import for_ever

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.ledger.base import TaskTry

_MARK = "cirrus_asked"
# About to be checked: without an answer after it, that was lost.
_ASKED = "asked"
# Certainly: the next try may.
_NOT_ASKED = "not asked"
_ANSWERS = {"valid": True, "invalid": False}


class CheckedNumbers:
    """
    Checks a number unless an earlier try of the task did.

    Airflow's task state store remembers it (3.3 and later; older versions refuse a second try), by hashes. After a
    clear that emptied the store nothing is checked: what it remembered before is not known. What other tasks checked
    is not known either: that takes a ledger.

    :param store: Airflow's task state store; None: there is none
    :param run_id: of the DAG run
    :param task: which try this is
    """

    def __init__(self, store: Any, run_id: str, task: TaskTry) -> None:
        self._store = store
        self._run_id = run_id
        self._task = task

    def once(self, number: str, check: Callable[[], bool | None]) -> bool:
        """
        Return whether the number is valid, by checking it if no try has.

        :param number: digits
        :param check: asks Cirrus
        :raises CirrusError: as ``check`` does
        :raises AirflowFailException: it was checked, and the answer is lost
        """
        name = hashlib.blake2b(f"{self._run_id} {account_of(number)}".encode(), digest_size=16).hexdigest()
        if (earlier := self._of_earlier_try(name)) is not None:
            return earlier
        self._note(name, _ASKED)
        try:
            answer = check()
        except CirrusError as error:
            if error.not_sent:
                self._note(name, _NOT_ASKED)
            raise
        if answer is None:
            raise AirflowFailException(f"Cirrus did not decide whether {mask(number)} is on WhatsApp.")
        self._note(name, "valid" if answer else "invalid")
        return answer

    def _of_earlier_try(self, name: str) -> bool | None:
        if self._store is None:
            if self._task.try_number > 1:
                raise AirflowFailException(
                    "An earlier try may have asked for this number, and Airflow before 3.3 does not remember: "
                    "not asking again. With a ledger_conn_id on the Cirrus connection, a database remembers it."
                )
            return None
        # As an earlier version named it, and as each try does.
        for key in (name, *(f"{name}_{number}" for number in range(1, self._task.try_number + 1))):
            found = self._get(key)
            if found == _ASKED:
                raise AirflowFailException(
                    "An earlier try asked for this number, and its answer is lost: not asking again in this run."
                )
            if found in _ANSWERS:
                return _ANSWERS[found]
        self._remember_that_nobody_was_asked()
        return None

    def _remember_that_nobody_was_asked(self) -> None:
        """Leave what shows a later try that the store still has what was written into it."""
        if self._get(_MARK) is not None:
            return
        if self._task.was_cleared:
            raise AirflowFailException(
                "This task was cleared, and Airflow has discarded what its earlier tries recorded (Airflow 3.4 and "
                "later do, unless the task's state is kept). Whether this number was asked for is not known: not "
                "asking again in this run. With a ledger_conn_id on the Cirrus connection, a database remembers it."
            )
        self._set(_MARK, 1)

    def _note(self, name: str, what: str) -> None:
        """Record what this try did; nothing that is written late speaks for another try."""
        if self._store is not None:
            self._set(f"{name}_{self._task.try_number}", what)

    def _get(self, key: str) -> Any:
        return asked(lambda: self._store.get(key))

    def _set(self, key: str, value: Any) -> None:
        asked(lambda: self._store.set(key, value, retention=for_ever()))
