"""Triggers that look at conversations: one for a task that waits, one that lets answers start DAGs. They only read."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cirrus.api.conversations import PollBackoff, WaitCondition
from airflow_provider_cirrus.api.errors import CirrusError, NotFound, ServerError, UnreadableAnswer
from airflow_provider_cirrus.api.replies import ReplyCheckpoint
from airflow_provider_cirrus.hooks.cirrus import CirrusHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

    from airflow_provider_cirrus.api.async_client import AsyncCirrusClient
    from airflow_provider_cirrus.api.replies import ReplyCheckpoint
else:
    try:
        from airflow.triggers.base import BaseEventTrigger
    except ImportError:
        # Airflow before 3.0 starts no DAG by an event.
        BaseEventTrigger = BaseTrigger


# Seconds by which clocks may differ before it counts.
_CLOCKS_DIFFER = 2.0


class ConversationTrigger(BaseTrigger):
    """
    Looks at one conversation until it says what is awaited; :class:`~..sensors.cirrus.ConversationSensor` uses it.

    It fires once, with ``{"found": …}`` as the sensor returns it, or with ``{"error": text}`` where no waiting
    would help. After a restart of the triggerer it looks anew: what it waits for is still there to be seen.

    :param object_id: id of the conversation
    :param statuses: numbers of the statuses that end the wait
    :param reply: whether an answer of the customer ends the wait
    :param since: Unix seconds; what the customer wrote before does not count
    :param own: ids of messages in the conversation that we sent
    :param stream: name of a stream in the connection, or an encrypted stream id
    :param cirrus_conn_id: the connection
    :param poll_interval: seconds between two looks
    :param first_wait: seconds before the first look
    """

    def __init__(
        self,
        *,
        object_id: str,
        statuses: Sequence[int] = (),
        reply: bool = False,
        since: int | None = None,
        own: Sequence[str] = (),
        stream: str | None = None,
        cirrus_conn_id: str = CirrusHook.default_conn_name,
        poll_interval: float = 60.0,
        first_wait: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.object_id = object_id
        self.statuses = list(statuses)
        self.reply = reply
        self.since = since
        self.own = list(own)
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id
        self.poll_interval = poll_interval
        self.first_wait = first_wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to go on elsewhere; the token is not part of it."""
        names = (
            "object_id",
            "statuses",
            "reply",
            "since",
            "own",
            "stream",
            "cirrus_conn_id",
            "poll_interval",
            "first_wait",
        )
        return _path(type(self)), {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the wait is over."""

        await asyncio.sleep(self.first_wait)
        event: dict[str, Any]
        try:
            event = {"found": await self._wait()}
        except CirrusError as error:
            event = {"error": str(error)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:

        awaited = WaitCondition(tuple(self.statuses), self.reply, self.since, tuple(self.own))
        backoff = PollBackoff(self.poll_interval)
        async with await CirrusHook(self.cirrus_conn_id, self.stream).aget_conn() as client:
            while True:
                try:
                    found = awaited.find(await client.get_conversation(self.object_id))
                except CirrusError as error:
                    if not error.retryable:
                        raise
                    backoff.failed(error)
                    self.log.warning("%s Looking again in %.0f s.", error.message, backoff.wait)
                else:
                    if found is not None:
                        return found
                    backoff.succeeded()
                await asyncio.sleep(backoff.wait)


class NewReplyTrigger(BaseEventTrigger):
    """
    Fires for each new answer of a customer in a stream: an asset that it watches starts DAGs (Airflow 3.0 and later).

    .. seealso:: docs/conversations.md

    Example::

        answers = Asset("cirrus_answers", watchers=[AssetWatcher(name="cirrus", trigger=NewReplyTrigger())])

        with DAG("on_answer", schedule=[answers]): …

    The event's payload is ``{"object_id", "message", "message_id", "time", "status", "status_id"}``. On Airflow
    3.3 and later the place up to which answers were taken is kept with the asset: a restart skips none, and one
    that comes within seconds after an answer may repeat that one. Before 3.3 nothing is kept, and ``lookback``
    decides.

    It never ends by itself: where Cirrus refuses, it says so in the triggerer's log and looks more rarely.

    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    :param poll_interval: seconds between two looks
    :param max_age: how long ago a conversation may have begun for its answers to be seen (seconds or timedelta);
        every look lists that span, 100 conversations in a request
    :param lookback: answers of this time before the start count as new (seconds or timedelta): once at the first
        start on Airflow 3.3 and later, and at every start before 3.3
    """

    #: Where the asset's state holds the place.
    _KEY = "cirrus_replies"
    # Airflow stores an event a second or two after it fired; until then, a kill would lose what was called taken.
    _SETTLE = 5.0

    def __init__(
        self,
        *,
        stream: str | None = None,
        cirrus_conn_id: str = CirrusHook.default_conn_name,
        poll_interval: float | timedelta = 60.0,
        max_age: float | timedelta = timedelta(days=3),
        lookback: float | timedelta = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id
        self.poll_interval = _seconds(poll_interval, "poll_interval", 1)
        self.max_age = _seconds(max_age, "max_age", 60)
        self.lookback = _seconds(lookback, "lookback", 0)
        self._store: Any = None
        self._kept: Any = None
        self._started = 0.0
        self._is_first = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what tells this trigger from others, the same at every parse; the token is not part of it."""
        names = ("stream", "cirrus_conn_id", "poll_interval", "max_age", "lookback")
        return _path(type(self)), {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever, and fire for each new answer."""

        replies, backoff = await self._recall(), PollBackoff(self.poll_interval)
        client: AsyncCirrusClient | None = None
        try:
            while True:
                fired = 0
                try:
                    if client is None:
                        client = await CirrusHook(self.cirrus_conn_id, self.stream).aget_conn()
                    async for reply in self._new(client, replies):
                        fired += 1
                        yield TriggerEvent(reply)  # type: ignore[no-untyped-call]
                    backoff.succeeded()
                except (CirrusError, AirflowException) as error:
                    # Airflow would start a watcher that fails again at once, and ask Cirrus every second.
                    backoff.failed(error)
                    self.log.error("No look at new answers: %s Looking again in %.0f s.", error, backoff.wait)
                    if client is not None:
                        # The next look may find another token in the connection.
                        await client.close()
                        client = None
                settle = min(self._SETTLE, backoff.wait) if fired else 0.0
                await asyncio.sleep(settle)
                await self._remember(replies)
                await asyncio.sleep(backoff.wait - settle)
        finally:
            if client is not None:
                await client.close()

    async def _new(self, client: AsyncCirrusClient, replies: ReplyCheckpoint) -> AsyncIterator[dict[str, Any]]:
        """Yield the new answers in what is listed now."""

        now = int(time.time())
        listed = {found.object_id: found for found in await client.list_conversations(now - int(self.max_age), now)}
        if self._is_first:
            # By the clock of Cirrus: ours may be minutes ahead, and what is written in these would be lost.
            self._is_first = False
            ahead = 0.0 if client.server_time is None else time.time() - client.server_time
            # A header's time is up to a second too early, and the answer took its while.
            replies.begin(self._started - (ahead if ahead > _CLOCKS_DIFFER else 0.0) - self.lookback)
        for object_id in replies.changed(listed.values(), time.monotonic()):
            try:
                conversation = await client.get_conversation(object_id)
                new = replies.take(listed[object_id], conversation)
            except NotFound:
                # It was there a moment ago; somebody took it away.
                replies.skip(listed[object_id])
                continue
            except (ServerError, UnreadableAnswer) as error:
                # One conversation that cannot be read must neither hide the others nor slow them down.
                wait = replies.postpone(object_id, error, time.monotonic())
                self.log.warning("Conversation %s: %s Looking at it again in %.0f s.", object_id, error.message, wait)
                continue
            for reply in new:
                yield reply
        replies.advance()

    async def _recall(self) -> ReplyCheckpoint:
        """Return the place up to which answers were taken, by this trigger or by the one before it."""

        # Absent before Airflow 3.3, None where no asset watches.
        self._store = getattr(self, "asset_state_store", None)
        kept = None
        if self._store is not None:
            try:
                kept = await self._store.aget(self._key)
            except ValueError:
                # Two assets with equal triggers share one, whose state belongs to neither.
                self.log.warning(
                    "Several assets watch with the same NewReplyTrigger, so what was taken cannot be kept: "
                    "a restart begins anew. Let all DAGs use one asset."
                )
                self._store = None
        self._started = time.time()
        self._is_first = kept is None
        if kept is None:
            replies = ReplyCheckpoint(self._started - self.lookback, self.poll_interval)
        else:
            replies = ReplyCheckpoint.from_dict(kept, self.poll_interval)
        self._kept = kept
        # At once: what comes while the triggerer is away for the first time is to be found, too.
        await self._remember(replies)
        return replies

    async def _remember(self, replies: ReplyCheckpoint) -> None:
        kept = replies.as_dict()
        if self._store is not None and kept != self._kept:
            await self._store.aset(self._key, kept)
            self._kept = kept

    @property
    def _key(self) -> str:
        # An asset may be watched for several streams.
        what = f"{self.cirrus_conn_id}/{self.stream or ''}"
        return f"{self._KEY}_{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def _path(trigger: type) -> str:
    return f"{trigger.__module__}.{trigger.__qualname__}"


def _seconds(value: float | timedelta, field: str, least: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds < float("inf"):
        raise ValueError(f"{field}: {value!r} is no number of seconds from {least} on.")
    return float(seconds)
