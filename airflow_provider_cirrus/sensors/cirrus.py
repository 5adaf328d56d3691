"""A sensor that waits for what happens in a conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_cirrus.api.conversations import PollBackoff, WaitCondition, conversation_id
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import is_literal, is_true
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.hooks.ending import fail

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.conversations import PollBackoff, WaitCondition


class ConversationSensor(BaseSensorOperator):
    """
    Wait until a conversation reaches a status, or the customer answers.

    .. seealso:: docs/conversations.md

    Example::

        send = SendTemplateOperator(task_id="send", …, object_data={"ManagerId": 12})
        answer = ConversationSensor(
            task_id="answer", object_id=send.output, reply=True, status="Resolved", deferrable=True
        )

    With both ``status`` and ``reply``, whichever comes first ends the wait. While Cirrus is busy or away, the
    sensor looks more rarely; a wrong token or an unknown conversation fails it at once.

    :param object_id: the conversation: its id, or the output of a send of one message, or one of its outcomes
        (templated)
    :param status: a status to wait for, or a list of them, by name (such as ``Resolved``) or number (templated)
    :param reply: whether an answer of the customer ends the wait (templated)
    :param since: what the customer wrote before does not count: aware datetime, ISO 8601 text with a zone, or
        Unix seconds; None: all that the customer wrote in the conversation counts (templated)
    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
        (templated)
    :param cirrus_conn_id: the connection (templated)
    :param deferrable: wait in the triggerer, which takes no worker; default: Airflow's ``default_deferrable``
    :param kwargs: ``poke_interval`` and ``timeout`` (seconds), ``mode``, ``soft_fail`` and whatever else sensors
        take; they hold in the triggerer, too
    :return: ``{"object_id", "reached": "reply" | "status", "status", "status_id", "message", "time"}``; the last
        two are the customer's newest message and when it came, or None
    :raises AirflowFailException: wrong arguments, token or conversation
    """

    template_fields: Sequence[str] = ("object_id", "status", "reply", "since", "stream", "cirrus_conn_id")
    ui_color = "#dcf8c6"

    def __init__(
        self,
        *,
        object_id: Any,
        status: Any = None,
        reply: bool | str = False,
        since: Any = None,
        stream: str | None = None,
        cirrus_conn_id: str = CirrusHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.object_id = object_id
        self.status = status
        self.reply = reply
        self.since = since
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id
        self.deferrable = deferrable
        try:
            self._check_literals()
        except InvalidInput as error:
            if self.__dict__.get("_BaseOperator__from_mapped"):
                # Of a mapped task it shows when the task runs, and then no retry would mend it.
                raise AirflowFailException(str(error)) from error
            raise

    def execute(self, context: Context) -> Any:
        """Wait; in deferrable mode after a first look, which may spare the triggerer the work."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_provider_cirrus.triggers.cirrus import ConversationTrigger

        try:
            found = self._look()
        except AirflowFailException as error:
            # As sensors do for all looks but this one.
            if self.soft_fail:
                raise AirflowSkipException("Skipping, as soft_fail is set.") from error
            raise
        if found is not None:
            return found
        object_id, awaited = self._asked
        self.defer(
            trigger=ConversationTrigger(
                object_id=object_id,
                statuses=awaited.statuses,
                reply=awaited.reply,
                since=awaited.since,
                own=awaited.own,
                stream=self.stream,
                cirrus_conn_id=self.cirrus_conn_id,
                poll_interval=self.poke_interval,
                first_wait=self._backoff.wait,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the trigger found, or fail as it did."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        found: dict[str, Any] = event["found"]
        return found

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        found = self._look()
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def _look(self) -> dict[str, Any] | None:
        """Return what was found, or None where the wait goes on."""

        try:
            object_id, awaited = self._asked
            # One attempt: when to try again is for the pace of the sensor.
            with self._hook.make_client(attempts=1, deadline=self._deadline) as client:
                found = awaited.find(client.get_conversation(object_id))
        except CirrusError as error:
            if not error.retryable:
                fail(error)
            self._backoff.failed(error)
            self.log.warning("%s Looking again in %.0f s.", error.message, self._backoff.wait)
            return None
        self._backoff.succeeded()
        return found

    def _get_next_poke_interval(self, started_at: Any, run_duration: Callable[[], float], poke_count: int) -> float:
        """Return the usual interval, or more after a failure, but not beyond the sensor's own timeout."""
        usual: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        left = max(0.0, self.timeout - run_duration())
        wait = self._backoff.wait
        if self.reschedule and wait > self.poke_interval:
            # A new process has forgotten how often it failed: so as long again as it has waited already, within limits.
            wait = max(wait, min(run_duration(), PollBackoff.LONGEST, 16 * max(self.poke_interval, 1.0)))
        return max(usual, min(wait, left))

    def _check_literals(self) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""

        if is_literal(self.object_id):
            conversation_id(self.object_id)
        # Stand-ins for what is templated.
        status = self.status if is_literal(self.status) else 1
        reply = is_true(self.reply, "reply") if is_literal(self.reply) else True
        WaitCondition.build(status, reply, self.since if is_literal(self.since) else None)

    @cached_property
    def _hook(self) -> CirrusHook:
        return CirrusHook(self.cirrus_conn_id, self.stream)

    @cached_property
    def _asked(self) -> tuple[str, WaitCondition]:

        object_id, own = conversation_id(self.object_id)
        return object_id, WaitCondition.build(self.status, is_true(self.reply, "reply"), self.since, own)

    @cached_property
    def _deadline(self) -> float:
        """The moment at which a look ends with the sensor's timeout, whatever the server does."""
        return time.monotonic() + self.timeout

    @cached_property
    def _backoff(self) -> PollBackoff:

        return PollBackoff(self.poke_interval)
