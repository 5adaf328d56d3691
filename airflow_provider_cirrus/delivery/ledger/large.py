"""How many messages Airflow's own database is asked to remember: a word from the first many on, no from too many on."""

from __future__ import annotations

from airflow_provider_cirrus.delivery.errors import LedgerError

#: Messages of one task that the task state store takes without ``allow_large_state``.
MOST = 200_000
#: Messages of one task from which on it is said what they cost.
MANY = 20_000
#: Bytes that a message with its outcome takes in the task state store, as measured with Cirrus's ids.
BYTES = 60

#: What to do where there are too many.
WAY_OUT = (
    "Give the Cirrus connection a ledger_conn_id: a database of yours then remembers what was sent, however much. Or "
    "split the audience: .expand(delivery=Delivery().sharded(…)). To keep it in Airflow's own database all the same, "
    "set allow_large_state on the connection."
)


def max_in_state(allow_large_state: bool) -> int | None:
    """Return how many messages of one task the task state store may take; None: as many as come."""
    return None if allow_large_state else MOST


def word_of_size(total: int, limit: int | None) -> str | None:
    """
    Return what is to be said once of a send that the task state store is to remember; None: nothing.

    :param total: messages of the task
    :param limit: of :func:`max_in_state`
    :raises LedgerError: there are more
    """
    if limit is not None and total > limit:
        raise LedgerError(
            f"{total:,} messages in one task are more than Airflow's own database is to remember ({limit:,}): it would "
            f"grow by {_size(total)}. Nothing was sent.",
            hint=WAY_OUT,
        )
    if total < MANY:
        return None
    return (
        f"What is sent is remembered in Airflow's own database: {total:,} messages take about {_size(total)} there, "
        "until the run is deleted. With a ledger_conn_id on the Cirrus connection, a database of yours remembers it."
    )


def _size(total: int) -> str:
    return f"{total * BYTES / 1e6:,.0f} MB"
