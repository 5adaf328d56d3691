"""What all operators share: connection, stream and retry policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators.hidden import Hidden
from airflow_provider_cirrus.retries import policy_or_default


class CirrusOperator(BaseOperator):
    """
    Base of all operators.

    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    """

    ui_color = "#dcf8c6"

    #: Arguments that hold somebody's number, or a code: Airflow shows and keeps them masked. docs/privacy.md
    hidden_fields: ClassVar[Sequence[str]] = ()

    _is_made = False

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

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.hidden_fields and not isinstance(value, Hidden | bool | None):
            if key == "authentication_code" and is_literal(value):
                value = Hidden(value, is_secret=True)
            elif self._is_rendered:
                value = Hidden(value, shows=self._shows_recipients)
        super().__setattr__(key, value)

    @property
    def _is_rendered(self) -> bool:
        """Whether what is set now comes from rendering: in the copy that runs, or in a mapped task after it is made."""
        own = self.__dict__
        return bool(own.get("_lock_for_execution") or (own.get("_BaseOperator__from_mapped") and own.get("_is_made")))

    def _shows_recipients(self) -> bool:
        try:
            return self.hook.show_recipients
        except (CirrusError, AirflowException):
            # The connection cannot be had, or says something else that is wrong: the send tells it.
            return False

    @cached_property
    def hook(self) -> CirrusHook:
        """The hook for the connection and the stream."""
        return CirrusHook(self.cirrus_conn_id, self.stream)
