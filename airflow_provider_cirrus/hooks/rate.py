"""How fast a task may send: by itself, as a shard, or as one of all tasks that share a stream's rate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.arguments import whole_number

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.options import Delivery
    from airflow_provider_cirrus.hooks.protocol import DeliveryHook

# Messages a second beyond which nobody shares: WhatsApp allows a number 1,000 at most.
_MOST_SHARED = 5_000


def own_rate(hook: DeliveryHook, said: Delivery) -> float:
    """
    Return the messages a second that a task may send at most, whatever others do.

    Without a database, and where it is told to be slower than the connection allows, a shard has its part of them.

    :param said: of the task
    :raises InvalidInput: no whole number
    """
    rate = _said_rate(hook, said)
    is_slower = rate < whole_number(hook.messages_per_second, "messages_per_second", 1)
    # Not rounded up: a hundred shards must not come to more than the whole.
    is_divided = said.part() is not None and (is_slower or stream_rate(hook, said) is None)
    return rate * said.share() if is_divided else rate


def stream_rate(hook: DeliveryHook, said: Delivery) -> float | None:
    """
    Return the messages a second of the stream, for all tasks that share the ledger's database.

    :return: None: there is no database in which they could, or no limit to speak of
    :raises InvalidInput: no whole number
    """
    if said.is_dry or not hook.ledger_conn_id_or(said.ledger_conn_id):
        return None
    rate = max(_said_rate(hook, said), whole_number(hook.messages_per_second, "messages_per_second", 1))
    return None if rate > _MOST_SHARED else rate


def _said_rate(hook: DeliveryHook, said: Delivery) -> int:
    return whole_number(said.messages_per_second or hook.messages_per_second, "messages_per_second", 1)


def start_after(said: Delivery, rate: float) -> float:
    """Return the seconds until a shard's turn, where there are more shards than messages in a second."""
    shard = said.part()
    if shard is None or rate >= 1:
        return 0.0
    # By the clock on the wall, which all shards share: each has its own moment in the time of one message.
    return (shard[0] / (rate * shard[1]) - time.time()) % (1 / rate)


def warn_of_idle_shards(hook: DeliveryHook, context: Context, said: Delivery) -> None:
    """Say so where some of the shards cannot run at the same time, and their part of the rate goes unused."""
    shard = said.part()
    if shard is None or said.is_dry or stream_rate(hook, said) is not None:
        return
    task: Any = context.get("task")
    dag: Any = context.get("dag")
    places = [
        getattr(task, "max_active_tis_per_dagrun", None),
        getattr(task, "max_active_tis_per_dag", None),
        getattr(dag, "max_active_tasks", None),
    ]
    slots = min((place for place in places if isinstance(place, int) and place > 0), default=shard[1])
    if slots < shard[1]:
        hook.log.warning(
            "%d shards divide the rate, and no more than %d of them run at once: the part of the others goes unused. "
            "Use fewer shards, or give the Cirrus connection a ledger_conn_id: in a database, tasks share the rate.",
            shard[1],
            slots,
        )
