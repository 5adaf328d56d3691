"""What the inbox needs of a sandbox: so that its pages know no more of it than this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_cirrus.sandbox.archive import Archive
    from airflow_provider_cirrus.sandbox.conversations import Conversations
    from airflow_provider_cirrus.sandbox.faults import FaultBook
    from airflow_provider_cirrus.sandbox.settings import Settings
    from airflow_provider_cirrus.sandbox.store import Store
    from airflow_provider_cirrus.sandbox.webhook import Webhook


class Controlled(Protocol):
    """What is controlled: the sandbox's own state."""

    settings: Settings
    store: Store
    faults: FaultBook
    conversations: Conversations
    stopping: asyncio.Event
    archive: Archive | None
    webhook: Webhook | None

    @property
    def version(self) -> int:
        """Grows whenever something changes."""

    def reset(self) -> None:
        """Forget everything that came in, and all faults."""
