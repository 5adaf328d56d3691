"""What a task's delivery asks of the hook of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cirrus.delivery.options import Delivery, Rules

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.delivery.ledger.base import Ledger
    from airflow_provider_cirrus.delivery.rules.policy import Allowlist
    from airflow_provider_cirrus.templates.store import Templates


class DeliveryHook(Protocol):
    """:class:`~.hooks.cirrus.CirrusHook`, as far as a delivery knows it."""

    @property
    def log(self) -> Any:
        """Where the task's log is written."""

    @property
    def rules(self) -> Rules:
        """Of every send that says nothing else."""

    @property
    def delivery(self) -> Delivery:
        """Of every send that says nothing else."""

    @property
    def messages_per_second(self) -> int:
        """Most messages that a task sends in one second."""

    @property
    def allow_large_state(self) -> bool:
        """Whether Airflow's own database may remember many messages."""

    def ledger_conn_id_or(self, own: str | None) -> str | None:
        """Return the connection of the database that remembers."""

    def sql_ledger(self, ledger_conn_id: str, ti: Any) -> Ledger:
        """Return the ledger of a task in a database."""

    def sql_engine(self, conn_id: str) -> Engine:
        """Return a new engine of a database that is a ledger."""

    def allowlist(self) -> Allowlist:
        """Return what says of a recipient's digits why they get nothing."""

    def make_client(self, *, is_checked: bool = False, **options: Any) -> CirrusClient:
        """Return a new client of the connection and the stream."""

    def check_opt_in(self, opt_in: Any) -> None:
        """Refuse to send without a source of opt-ins where the connection requires one."""

    def source_engine(self, conn_id: str) -> Engine:
        """Return a new engine of a database that is not a ledger."""

    def templates(self, path: Any, languages: Any, folder: str | None) -> Templates | None:
        """Return the definitions that a send goes by."""

    def conversation_url(self, object_id: str | int) -> str:
        """Return the address of a conversation's page."""
