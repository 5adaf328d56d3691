"""Counters and timers through Airflow's own metrics: StatsD, OpenTelemetry, or none, as Airflow is configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.api.results import SendResult
    from airflow_provider_cirrus.delivery.engine.result import MessageOutcome


class Metrics:
    """
    The metrics of a delivery, each with the tags ``dag_id`` and ``task_id``; names are in docs/metrics.md.

    :param ti: the task instance
    """

    def __init__(self, ti: Any) -> None:
        from airflow.providers.common.compat.sdk import Stats

        self._stats: Any = Stats
        self._attempt = ti.try_number
        self._tags = {"dag_id": ti.dag_id, "task_id": ti.task_id}

    def timed(self, send: Callable[[Sequence[Message]], SendResult]) -> Callable[[Sequence[Message]], SendResult]:
        """Return ``send`` with a timer around each request."""

        def timed_send(messages: Sequence[Message]) -> SendResult:
            with self._stats.timer("cirrus.request", tags=self._tags):
                return send(messages)

        return timed_send

    def counted(
        self, listener: Callable[[Sequence[MessageOutcome]], None] | None
    ) -> Callable[[Sequence[MessageOutcome]], None]:
        """Return the listener with a counter for each outcome; what earlier tries brought was counted by them."""

        def count(settled: Sequence[MessageOutcome]) -> None:
            if listener is not None:
                listener(settled)
            mine = Counter(one.entry.outcome.value for one in settled if one.entry.attempt == self._attempt)
            for outcome, number in mine.items():
                self._stats.incr(f"cirrus.messages.{outcome}", number, tags=self._tags)

        return count
