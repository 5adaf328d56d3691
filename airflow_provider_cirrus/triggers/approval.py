"""The trigger that waits for a person's decision, on the phone or in Airflow, whichever comes first. It only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cirrus.api.approval import Answer, Meanings, Question, answers_in, first_of
from airflow_provider_cirrus.api.conversations import PollBackoff
from airflow_provider_cirrus.api.errors import CirrusError, NotFound, UnreadableAnswer
from airflow_provider_cirrus.hooks.cirrus import CirrusHook

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.async_client import AsyncCirrusClient

#: Where Airflow's record of a decision says who gave it on the phone: it has a user only for its own.
ANSWERED_BY = "answered_by"
# Seconds: Airflow takes news that are quicker than its own of the task's end for a crash.
_FIRST_LOOK = 5.0


class ApprovalTrigger(BaseTrigger):
    """
    Looks at the conversations with the approvers, and at Airflow's own record, until somebody has decided.

    :class:`~..operators.approval.CirrusApprovalOperator` uses it. It fires once, with what Airflow's own triggers for a
    human in the loop say (``chosen_options``, ``params_input``, ``responded_at``, ``responded_by_user``, ``timedout``)
    and ``channel``: ``whatsapp``, ``airflow`` or ``timeout``; or with ``error`` and ``error_type``. After a restart of
    the triggerer it looks anew: answers are still to be seen, and a decision that was recorded stays one.

    :param ti_id: id of the task instance, by which Airflow knows the request
    :param options: what can be chosen
    :param questions: who was asked, each as :meth:`~..api.approval.Question.as_dict`
    :param answers: more texts by option
    :param defaults: what a time-out chooses; None: it fails
    :param deadline: Unix seconds of the time-out; None: there is none
    :param not_before: Unix seconds before which nobody can have answered
    :param stream: name of a stream in the connection, or an encrypted stream id
    :param cirrus_conn_id: the connection
    :param poll_interval: seconds between two looks
    """

    def __init__(
        self,
        *,
        ti_id: Any,
        options: Sequence[str],
        questions: Sequence[Mapping[str, Any]] = (),
        answers: Mapping[str, Any] | None = None,
        defaults: Sequence[str] | None = None,
        deadline: float | None = None,
        not_before: float = 0.0,
        stream: str | None = None,
        cirrus_conn_id: str = CirrusHook.default_conn_name,
        poll_interval: float = 15.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ti_id = str(ti_id)
        self.options = list(options)
        self.questions = [dict(question) for question in questions]
        self.answers = answers
        self.defaults = None if defaults is None else list(defaults)
        self.deadline = deadline
        self.not_before = not_before
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id
        self.poll_interval = poll_interval
        self._told: set[str] = set()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to go on elsewhere; neither the token nor a number is part of it."""
        names = (
            "ti_id",
            "options",
            "questions",
            "answers",
            "defaults",
            "deadline",
            "not_before",
            "stream",
            "cirrus_conn_id",
            "poll_interval",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until somebody has decided, or nobody did in time."""
        await asyncio.sleep(min(_FIRST_LOOK, self.poll_interval))
        try:
            event = await self._wait()
        except CirrusError as error:
            event = {"error": str(error), "error_type": "cirrus"}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        backoff, meanings = PollBackoff(self.poll_interval), Meanings(self.options, self.answers)
        questions = [Question(**one) for one in self.questions]
        next_look = 0.0
        async with await CirrusHook(self.cirrus_conn_id, self.stream).aget_conn() as client:
            while True:
                # Airflow's own first: where both have an answer, what is recorded there holds.
                if (decided := await self._decided()) is not None:
                    return decided
                is_over = self.deadline is not None and time.time() >= self.deadline
                # Who answered in time is heard, also where the look before was a while ago.
                if is_over or time.monotonic() >= next_look:
                    found = await self._look(client, questions, meanings, backoff)
                    if found is not None and found.option is not None:
                        self.log.info("%s answered on WhatsApp: %s.", found.name, found.option)
                        return await self._decide([found.option], found.name)
                    next_look = time.monotonic() + backoff.wait
                if is_over:
                    return await self._time_out()
                rest = self.poll_interval if self.deadline is None else max(0.0, self.deadline - time.time())
                await asyncio.sleep(min(self.poll_interval, rest))

    async def _look(
        self, client: AsyncCirrusClient, questions: list[Question], meanings: Meanings, backoff: PollBackoff
    ) -> Answer | None:
        """Return the first answer; None where there is none, or Cirrus is busy or away."""
        try:
            found = first_of(await self._answers(client, questions, meanings))
        except CirrusError as error:
            if not error.retryable:
                raise
            backoff.failed(error)
            self.log.warning("%s Looking again in %.0f s.", error.message, backoff.wait)
            return None
        backoff.succeeded()
        return found

    async def _answers(self, client: AsyncCirrusClient, questions: list[Question], meanings: Meanings) -> list[Answer]:
        """Return all answers; whose conversation is gone can answer no more."""
        found: list[Answer] = []
        for question in list(questions):
            try:
                conversation = await client.get_conversation(question.object_id)
                found += answers_in(conversation, question, meanings, self.not_before)
            except NotFound:
                questions.remove(question)
                self.log.warning(
                    "The conversation with %s is gone, so they cannot answer there any more. %s.",
                    question.name,
                    "Others can" if questions else "Only Airflow's own page is left",
                )
            except UnreadableAnswer as error:
                self.log.warning("Conversation with %s: %s", question.name, error.message)
        for answer in found:
            if answer.option is None and answer.message_id not in self._told:
                self._told.add(answer.message_id)
                self.log.info("%s wrote what is none of %s.", answer.name, ", ".join(self.options))
        return found

    async def _decided(self) -> dict[str, Any] | None:
        """Return the decision that Airflow has on record, or None."""
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
        from asgiref.sync import sync_to_async

        detail = await sync_to_async(get_hitl_detail_content_detail)(ti_id=UUID(self.ti_id))
        return self._event(detail) if detail.response_received and detail.chosen_options else None

    async def _decide(self, chosen: list[str], name: str | None) -> dict[str, Any]:
        """Record a decision; return the one that holds, which may be an earlier one."""
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.hitl import update_hitl_detail_response
        from asgiref.sync import sync_to_async

        said = {} if name is None else {ANSWERED_BY: name}
        try:
            detail = await sync_to_async(update_hitl_detail_response)(
                ti_id=UUID(self.ti_id), chosen_options=chosen, params_input=said
            )
        except AirflowRuntimeError:
            # Somebody was quicker in Airflow, which takes one decision and no second.
            if (decided := await self._decided()) is not None:
                return decided
            raise
        return self._event(detail)

    async def _time_out(self) -> dict[str, Any]:
        if self.defaults is None:
            return {"error": "Nobody answered in time, and there is no default.", "error_type": "timeout"}
        self.log.info("Nobody answered in time: %s, by default.", ", ".join(self.defaults))
        return await self._decide(self.defaults, None)

    def _event(self, detail: Any) -> dict[str, Any]:
        user, said = detail.responded_by_user, dict(detail.params_input or {})
        name = said.pop(ANSWERED_BY, None)
        channel = "whatsapp" if name else "airflow" if user else "timeout"
        by = {"id": f"whatsapp:{name}", "name": name} if name else user and {"id": user.id, "name": user.name}
        return {
            "chosen_options": list(detail.chosen_options),
            "params_input": said,
            "responded_at": detail.responded_at or datetime.now(UTC),
            "responded_by_user": by or None,
            "timedout": channel == "timeout",
            "channel": channel,
        }
