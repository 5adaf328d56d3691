"""What all operators share: connection, stream and retry policy."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.retries import policy_or_default


class CirrusOperator(BaseOperator):
    """
    Base of all operators.

    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    """

    ui_color = "#dcf8c6"

    def __init__(
        self, *, stream: str | None = None, cirrus_conn_id: str = CirrusHook.default_conn_name, **kwargs: Any
    ) -> None:
        # Mapped tasks pass None explicitly.
        kwargs["retry_policy"] = policy_or_default(kwargs.get("retry_policy"))
        if kwargs["retry_policy"] is None:
            # An argument that Airflow before 3.3 does not know.
            del kwargs["retry_policy"]
        super().__init__(**kwargs)
        self.stream = stream
        self.cirrus_conn_id = cirrus_conn_id

    @cached_property
    def hook(self) -> CirrusHook:
        """The hook for the connection and the stream."""
        return CirrusHook(self.cirrus_conn_id, self.stream)
