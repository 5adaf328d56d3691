"""What the operators share that make one message of each row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.operators.sending import SendingOperator

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.models import Message
    from airflow_provider_cirrus.delivery.audience.columns import Columns
    from airflow_provider_cirrus.delivery.audience.rows import RejectedRow


class RowsOperator(SendingOperator):
    """
    Base of the operators that send rows; the parameters are described where users meet them.

    A subclass names its own template fields beside :data:`ROW_FIELDS`.
    """

    ROW_FIELDS: Sequence[str] = (
        "to_column",
        "body_columns",
        "header_column",
        "button_columns",
        "key_column",
        "schedule_column",
        "language_column",
        "template_column",
        "zone_column",
        *SendingOperator.SENDING_FIELDS,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(
        ("header", "body", "buttons", "components", "object_data"), "json"
    )

    def __init__(
        self,
        *,
        to_column: str = "to",
        body_columns: Any = (),
        header_column: str | None = None,
        button_columns: Any = (),
        key_column: str | None = None,
        schedule_column: str | None = None,
        language_column: str | None = None,
        template_column: str | None = None,
        zone_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to_column = to_column
        self.body_columns = body_columns
        self.header_column = header_column
        self.button_columns = button_columns
        self.key_column = key_column
        self.schedule_column = schedule_column
        self.language_column = language_column
        self.template_column = template_column
        self.zone_column = zone_column
        if is_literal(body_columns) and is_literal(button_columns):
            self._columns(with_row_context=False).needed()

    def _zone_column(self) -> str | None:
        return self.zone_column

    def _columns(self, with_row_context: bool = True) -> Columns:
        """Return which column fills what, and which the rules go by."""
        from airflow_provider_cirrus.delivery.audience.columns import Columns

        row_context = self._row_context_columns() if with_row_context else {}
        if self.zone_column is not None:
            row_context["zone_column"] = [self.zone_column]
        return Columns(
            to=self.to_column,
            body=self.body_columns or (),
            header=self.header_column,
            buttons=self.button_columns or (),
            key=self.key_column,
            schedule=self.schedule_column,
            language=self.language_column,
            template=self.template_column,
            row_context=row_context,
        )

    def _brings_template(self) -> bool:
        """Return whether the rows themselves name the template or its language."""
        return self.template_column is not None or self.language_column is not None

    def _read_rows(self, source: Any, first_try: bool) -> Iterator[tuple[int, Message | RejectedRow]]:
        """Return the rows of this task's shard as a stream of places and messages."""
        from airflow_provider_cirrus.delivery.audience.messages import read_audience

        moment = self._moment(first_try)
        return read_audience(source, self._columns(), self._common(), now=lambda: moment, shard=self._shard())

    def _moment(self, first_try: bool) -> float:
        """Return the Unix seconds before which no schedule may lie."""
        # A later try may find past what an earlier one sent in time: there, the dispatcher looks at each message.
        return time.time() if first_try else 0.0
