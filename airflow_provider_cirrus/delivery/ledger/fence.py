"""Which try of a task may write to the tables of a ledger: the newest, and no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_cirrus.delivery.errors import LedgerIncomplete, LedgerSuperseded
from airflow_provider_cirrus.delivery.sql.statements import chunks, insert_or_ignore
from airflow_provider_cirrus.delivery.sql.store import MYSQL, scope_of

#: One row for each task, a mapped one of each part. In the tables of an earlier version the scope of what it holds.
runs = sa.Table(
    "cirrus_runs",
    sa.MetaData(),
    sa.Column("scope", sa.CHAR(32), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("since", sa.Float(53), nullable=False),
    # The clear for which the task has forgotten what it had sent.
    sa.Column("resent", sa.Integer),
    # Unix seconds at which something of what the task had sent was deleted, as it was old.
    sa.Column("pruned", sa.Float(53)),
    **MYSQL,
)


_HOLD = (
    sa.update(runs)
    .where(runs.c.scope == sa.bindparam("whose"), runs.c.owner == sa.bindparam("holder"))
    .values(since=sa.bindparam("now"))
)


class Fence:
    """
    What every write of a try passes: it holds the task's row until its transaction ends.

    A newer try takes that row over, and waits for the transaction that holds it; so what it reads then is all that
    earlier tries have written or ever will. The ledger and the slots of a try share one.

    :param task: ``dag_id/run_id/task_id``
    :param owner: unique for each try, up to 64 characters
    :param map_index: of a mapped task; -1: it is not mapped
    :param clock: Unix seconds
    :ivar scope: hash of what all mapped tasks of one task in one run share
    :ivar row: hash of what only this one has
    """

    def __init__(self, task: str, owner: str, map_index: int = -1, clock: Callable[[], float] = time.time) -> None:
        self.scope = scope_of(f"{task}/-1")
        self.row = scope_of(f"{task}/{map_index}")
        self.owner = owner
        self.map_index = map_index
        self._clock = clock

    def take_over(self, connection: Connection) -> None:
        """Shut the earlier tries out."""
        row = {"scope": self.row, "owner": self.owner, "since": self._clock()}
        # First a write, so that SQLite never has to turn a read lock into a write lock.
        connection.execute(insert_or_ignore(runs, connection.dialect.name), [row])
        mine = sa.update(runs).where(runs.c.scope == self.row)
        connection.execute(mine.values(owner=self.owner, since=row["since"]))

    def refuse_if_pruned(self, connection: Connection, *, forgets: bool) -> None:
        """
        Refuse to go on where something of what the task had sent was deleted.

        :param forgets: whether it means to send all of it again anyway
        :raises LedgerIncomplete: it was
        """
        ours = runs.c.scope.in_({self.scope, self.row})
        at = connection.scalar(sa.select(sa.func.max(runs.c.pruned)).where(ours))
        if at is None:
            return
        if forgets:
            connection.execute(sa.update(runs).where(ours).values(pruned=None))
            return
        day = datetime.fromtimestamp(float(at), UTC).date().isoformat()
        raise LedgerIncomplete(
            f"What this task had sent was deleted from the ledger on {day}, as it was old: it is not known who was "
            "messaged. Nothing was sent now.",
            hint="Run it anew for whoever is left. Where everybody is to be messaged again, clear it with "
            "delivery=Delivery(resend=True).",
        )

    def hold(self, connection: Connection) -> None:
        """
        Hold the row until the transaction ends; a take-over waits for it, or came before.

        :raises LedgerSuperseded: it came before
        """
        mine = {"whose": self.row, "holder": self.owner, "now": self._clock()}
        if connection.execute(_HOLD, mine).rowcount != 1:
            raise LedgerSuperseded(
                "A newer try of this task has taken over the ledger; this one may send nothing more.",
                hint="Nothing to do: the newer try sends what is left.",
            )


def mark_pruned(connection: Connection, scopes: Collection[str], now: float) -> None:
    """Take note that something of what tasks had sent is deleted, by the scope of each."""
    if not scopes:
        return
    rows = [{"scope": scope, "owner": "", "since": now} for scope in sorted(scopes)]
    # A mapped task has rows for its parts only.
    connection.execute(insert_or_ignore(runs, connection.dialect.name), rows)
    for chunk in chunks(sorted(scopes)):
        connection.execute(sa.update(runs).where(runs.c.scope.in_(chunk)).values(pruned=now))
