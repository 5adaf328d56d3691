"""The rules of whom to message, as every operator that sends has them: opt-in, suppression, and who refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.arguments import allowance, is_literal
from airflow_provider_cirrus.operators.base import LedgerOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.contact_lists.rejects import OpenSink
    from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
    from airflow_provider_cirrus.delivery.rules.consent import Consent
    from airflow_provider_cirrus.delivery.rules.policy import Allowlist


@dataclass(frozen=True)
class Rules:
    """
    The rules of a task, opened.

    :ivar screen: of the connection's ``allowed_recipients``
    :ivar consent: opt-in and suppression; None: there are none
    :ivar sink: where numbers are written that Meta refuses for good
    """

    screen: Allowlist
    consent: Consent | None
    sink: OpenSink | None

    def noting(
        self, listener: Callable[[Sequence[MessageOutcome]], None] | None, attempt: int
    ) -> Callable[[Sequence[MessageOutcome]], None] | None:
        """Return the listener with the sink after it, which learns of what this try brought."""
        sink = self.sink
        if sink is None:
            return listener

        def note(settled: Sequence[MessageOutcome]) -> None:
            from airflow_provider_cirrus.api.results import Outcome

            if listener is not None:
                listener(settled)
            sink.add(
                [
                    (one.recipient, one.entry.code, one.entry.reason)
                    for one in settled
                    if one.entry.outcome is Outcome.REJECTED and one.entry.attempt == attempt and one.key
                ]
            )

        return note


class RulesOperator(LedgerOperator):
    """
    Base of the operators that ask who may be messaged; the parameters are described where users meet them.

    A subclass names its own template fields beside :data:`RULE_FIELDS`.
    """

    RULE_FIELDS: Sequence[str] = ("category", "opt_in", "suppression", "max_suppressed")

    def __init__(
        self,
        *,
        category: str | None = None,
        opt_in: Any = None,
        suppression: Any = None,
        max_suppressed: int | float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.category = category
        self.opt_in = opt_in
        self.suppression = suppression
        self.max_suppressed = max_suppressed

    def _category(self) -> str | None:
        from airflow_provider_cirrus.delivery.rules.frequency_cap import check_category

        return check_category(self.category) if self.category else None

    def _row_context_columns(self) -> dict[str, list[str]]:
        """Return the columns of the rows that the rules go by, by the argument that names them."""
        from airflow_provider_cirrus.delivery.rules.consent import columns_of

        return columns_of(self.opt_in, self.suppression, self._category())

    def _check_rules(self, only_literals: bool) -> None:
        """
        Check the rules without opening anything.

        :raises InvalidInput: names the one that is wrong
        """

        def known(*names: str) -> bool:
            return not only_literals or all(is_literal(getattr(self, name)) for name in names)

        if known("category", "opt_in", "suppression"):
            self._row_context_columns()
        if known("max_suppressed") and self.max_suppressed is not None:
            allowance(self.max_suppressed, 1, "max_suppressed")

    @contextmanager
    def _opened_rules(self, on_reject: Any = None) -> Iterator[Rules]:
        """
        Open the rules.

        :param on_reject: where numbers are written that Meta refuses for good
        :raises InvalidInput: a source that cannot be used, or none where the connection requires an opt-in
        :raises CirrusError: a source does not answer
        """
        from airflow_provider_cirrus.delivery.contact_lists.open import open_rejects
        from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
        from airflow_provider_cirrus.delivery.rules.consent import Consent

        self.hook.check_opt_in(self.opt_in)
        with ExitStack() as opened:
            sink = None
            # First, as it makes what is missing, and may be a suppression list as well.
            if on_reject is not None and not self._is_dry():
                sink = opened.enter_context(closing(open_rejects(RejectSink.of(on_reject), self.hook.source_engine)))
            consent = None
            if self.opt_in is not None or self.suppression is not None:
                consent = opened.enter_context(
                    Consent(self.opt_in, self.suppression, category=self._category(), connect=self.hook.source_engine)
                )
            yield Rules(self.hook.allowlist(), consent, sink)

    def _check_suppressed(self, found: dict[str, Any], context: Context) -> None:
        """
        Fail the task where the rules held back more than they may.

        :param found: the result of the task, with ``total`` and ``suppressed``
        """
        if self.max_suppressed is None:
            return
        if found["suppressed"] > allowance(self.max_suppressed, found["total"], "max_suppressed"):
            context["ti"].xcom_push(key="return_value", value=found)
            raise AirflowFailException(
                f"{found['suppressed']} of {found['total']} messages were suppressed "
                f"(max_suppressed={self.max_suppressed}); the report, or the log, says by which rule."
            )
