"""The numbers that were asked for in a DAG run, so that none is asked for twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.api.phone import account_of, mask
from airflow_provider_cirrus.delivery.ledger.state_calls import asked
from airflow_provider_cirrus.hooks.ledger import for_ever

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.ledger.base import TaskTry

#: The XCom under which a task says which number it asks for, and what the answer was.
XCOM_KEY = "asked"

_MARK = "cirrus_asked"
# Certainly: the next try, or another task, may.
_NOT_ASKED = "not asked"

# Seconds to wait for another task of the run that is asking for the same number, and between two looks.
_PATIENCE = 60.0
_PAUSE = 1.0


class AskedNumbers:
    """
    Asks for a number unless this DAG run did.

    Between the tries of a task Airflow's task state store remembers (3.3 and later; older versions refuse
    a second try), between the tasks of a run XComs do. Numbers are kept as hashes. After a clear that emptied the
    store nothing is asked: what it remembered before is not known.

    :param context: the task's context
    :param task_type: name of the operator whose tasks ask
    :param task: which try this is
    """

    def __init__(self, context: Context, task_type: str, task: TaskTry) -> None:
        self._ti = context["ti"]
        self._task = task
        self._store = context.get("task_state_store")
        self._siblings = [one.task_id for one in context["dag"].tasks if one.task_type == task_type]
        self._me = f"{self._ti.task_id}[{self._ti.map_index}]"

    def once(self, number: str, ask: Callable[[], bool | None]) -> bool:
        """
        Return whether the number is valid, by asking if nobody has.

        :param number: digits
        :param ask: asks Cirrus
        :raises CirrusError: as ``ask`` does
        :raises AirflowFailException: it was asked for, and the answer is lost
        """
        name = hashlib.blake2b(f"{self._ti.run_id} {account_of(number)}".encode(), digest_size=16).hexdigest()
        earlier = self._of_earlier_try(name)
        if earlier is not None:
            return earlier
        self._tell(name, None)
        if (said := self._of_siblings(name)) is None:
            self._note(name, "asked")
            try:
                said = ask()
            except CirrusError as error:
                if error.not_sent:
                    # Certainly not asked: the next try, or another task, may.
                    self._note(name, _NOT_ASKED)
                    self._tell("", None)
                raise
            if said is None:
                raise AirflowFailException(f"Cirrus did not decide whether {mask(number)} is on WhatsApp.")
        self._note(name, "valid" if said else "invalid")
        self._tell(name, said)
        return said

    def _of_earlier_try(self, name: str) -> bool | None:
        if self._store is None:
            if self._ti.try_number > 1:
                raise AirflowFailException(
                    "An earlier try may have asked for this number, and Airflow before 3.3 does not remember: "
                    "not asking again."
                )
            return None
        # As an earlier version named it, and as each try does.
        for key in (name, *(f"{name}_{number}" for number in range(1, self._task.try_number + 1))):
            found = self._get(key)
            if found == "asked":
                raise AirflowFailException(
                    "An earlier try asked for this number, and its answer is lost: not asking again in this run."
                )
            if found in ("valid", "invalid"):
                return bool(found == "valid")
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

    def _of_siblings(self, name: str) -> bool | None:
        """Return another task's answer, after waiting for one that is asking now; None where nobody asked."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            claims = [claim for claim in self._claims() if claim["number"] == name and claim["by"] != self._me]
            answer = next((claim["valid"] for claim in claims if claim["valid"] is not None), None)
            if answer is not None or not claims:
                return answer
            if time.monotonic() > deadline:
                # Both may be waiting for each other: withdrawing leaves the number to whoever is next.
                self._tell("", None)
                raise AirflowException(f"{claims[0]['by']} asks for the same number and has no answer yet.")
            time.sleep(_PAUSE)

    def _claims(self) -> list[Mapping[str, Any]]:
        found = self._ti.xcom_pull(task_ids=self._siblings, key=XCOM_KEY)
        return [claim for claim in found or [] if isinstance(claim, Mapping)]

    def _tell(self, name: str, valid: bool | None) -> None:
        self._ti.xcom_push(key=XCOM_KEY, value={"number": name, "by": self._me, "valid": valid})

    def _note(self, name: str, what: str) -> None:
        """Record what this try did; nothing that is written late speaks for another try."""
        if self._store is not None:
            self._set(f"{name}_{self._task.try_number}", what)

    def _get(self, key: str) -> Any:
        store: Any = self._store
        return asked(lambda: store.get(key))

    def _set(self, key: str, value: Any) -> None:
        store: Any = self._store
        asked(lambda: store.set(key, value, retention=for_ever()))
