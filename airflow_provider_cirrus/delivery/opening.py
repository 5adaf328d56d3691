"""What the rules of a delivery need, opened: lists, databases, a report; and closed again by whoever opened it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.contact_lists.open import open_rejects
from airflow_provider_cirrus.delivery.contact_lists.rejects import OpenSink, RejectSink
from airflow_provider_cirrus.delivery.engine.result import MessageOutcome
from airflow_provider_cirrus.delivery.ledger.base import Ledger
from airflow_provider_cirrus.delivery.options import Report, Rules
from airflow_provider_cirrus.delivery.report.summary import lines_to
from airflow_provider_cirrus.delivery.report.writer import ReportFile
from airflow_provider_cirrus.delivery.rules.consent import Consent
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.policy import Allowlist, Policy
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_provider_cirrus.delivery.audience.experiment import Experiment
    from airflow_provider_cirrus.delivery.engine.leases import SharedRate
    from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
    from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
    from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
    from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
    from airflow_provider_cirrus.templates.store import Templates

Listener: TypeAlias = "Callable[[Sequence[MessageOutcome]], None]"
Connect: TypeAlias = "Callable[[str], Engine]"


class Opening:
    """Opens what the rules of one delivery need."""

    def __init__(
        self,
        opened: ExitStack,
        rules: Rules,
        connect: Connect | None,
        ledger: Ledger | None,
        is_dry: bool,
        stream_id: str,
        experiment: Experiment | None = None,
    ) -> None:
        self._opened = opened
        self._rules = rules
        self._connect = connect
        self._ledger = ledger
        self._is_dry = is_dry
        self._stream_id = stream_id
        self._experiment = experiment
        self._sink: OpenSink | None = None
        #: Where the report is, if there is one.
        self.report_uri: str | None = None

    def report(self, report: Report | None, templates: Templates | None) -> Listener | None:
        """Open the report; return what writes outcomes to it."""
        if report is None or not report.path:
            return None
        recipients: Any = report.recipients or "full"
        if_exists: Any = report.if_exists or "resume"
        made = ReportFile(
            report.path,
            recipients=recipients,
            consent_records=self._rules.opt_in is not None,
            previews=templates is not None and self._is_dry,
            variants=self._experiment is not None,
            if_exists=if_exists,
            spreadsheet_safe=report.is_spreadsheet_safe,
        )
        self.report_uri = self._opened.enter_context(made).uri
        return lines_to(made, None if self._experiment is None else self._experiment.variant_of)

    def rejects_to(self, attempt: int) -> Listener | None:
        """Return what writes down who refused messages for good; to be asked for after the policy."""
        return None if self._sink is None else _rejects_to(self._sink, attempt)

    def policy(self, allowlist: Allowlist, zone_column: str | None) -> Policy:
        """Return the rules, with what they need opened."""
        rules = self._rules
        # First, as it makes what is missing, and may be a suppression list as well.
        if rules.on_reject is not None and not self._is_dry:
            sink = open_rejects(RejectSink.of(rules.on_reject), self._connect)
            self._sink = self._opened.enter_context(closing(sink))
        return Policy(
            allowlist,
            consent=self._consent(),
            quiet_hours=self._quiet_hours(),
            zone_column=zone_column,
            cap=None if rules.frequency_cap is None else FrequencyCap.of(rules.frequency_cap),
            slots=self._slots(),
            category=rules.checked_category(),
            budget=None if rules.daily_budget is None else self._budget(),
            people=self._people(),
            experiment=self._experiment,
        )

    def _consent(self) -> Consent | None:
        rules = self._rules
        if rules.opt_in is None and rules.suppression is None:
            return None
        category = rules.checked_category()
        return self._opened.enter_context(
            Consent(rules.opt_in, rules.suppression, category=category, connect=self._connect)
        )

    def _quiet_hours(self) -> QuietHours | None:
        if self._rules.quiet_hours is None:
            return None
        quiet_hours = QuietHours.of(self._rules.quiet_hours)
        quiet_hours.check()
        if quiet_hours.on_quiet == "defer" and self._ledger is None and not self._is_dry:
            raise InvalidInput(
                "quiet_hours",
                "defers messages, and Airflow before 3.3 would not remember which were sent.",
                hint='Give the Cirrus connection a ledger_conn_id, or choose on_quiet="schedule" or "suppress".',
            )
        return quiet_hours

    def _budget(self) -> tuple[DailyBudget, str]:
        from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget

        budget = DailyBudget.of(self._rules.daily_budget)
        return budget, budget.name_for(self._stream_id)

    def _people(self) -> DailyBudgetStore | None:
        # Nobody spends anything in a dry run.
        if self._rules.daily_budget is None or self._is_dry:
            return None
        from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore

        return self._opened.enter_context(closing(DailyBudgetStore.beside(sql_ledger_of(self._ledger, "daily_budget"))))

    def shared_rate(self, per_second: float | None, own: float) -> SharedRate | None:
        """
        Return where the stream's rate is shared out.

        :param per_second: messages a second of the stream, for all; None: nobody shares it
        :param own: messages a second that this task may send at most
        """
        if per_second is None or self._is_dry:
            return None
        # Late, as only a database needs SQLAlchemy.
        from airflow_provider_cirrus.delivery.shared_rate.sql import SharedRateStore

        ledger = sql_ledger_of(self._ledger, "messages_per_second")
        return SharedRateStore(ledger.engine, self._stream_id, per_second, own, create=ledger.creates_tables)

    def _slots(self) -> FrequencyCapStore | None:
        # Nobody takes a slot in a dry run.
        if self._rules.frequency_cap is None or self._is_dry:
            return None
        return self._opened.enter_context(closing(slots_beside(self._ledger)))


def slots_beside(ledger: Ledger | None) -> FrequencyCapStore:
    """
    Return where a task's slots under frequency caps are kept: in the database of its ledger, as the same try.

    :raises InvalidInput: another ledger, which does not remember across runs and DAGs
    :raises LedgerUnavailable: the database does not answer
    :raises LedgerError: no tables and no right to create them
    """
    # Late, as only a database needs SQLAlchemy.
    from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore

    return FrequencyCapStore.beside(sql_ledger_of(ledger, "frequency_cap"))


def sql_ledger_of(ledger: Ledger | None, rule: str) -> SqlLedger:
    """
    Return a ledger that remembers across runs and DAGs.

    :param rule: that needs one, for the error
    :raises InvalidInput: it is another one
    """
    from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger

    if not isinstance(ledger, SqlLedger):
        raise InvalidInput(
            rule,
            "needs a database that remembers across runs and DAGs.",
            hint="Give the Cirrus connection, or the delivery of the task, a ledger_conn_id.",
        )
    return ledger


def _rejects_to(sink: OpenSink, attempt: int) -> Listener:
    """Return a listener that writes down who refused messages for good, of what this try brought."""

    def note(outcomes: Sequence[MessageOutcome]) -> None:
        sink.add(
            [
                (one.recipient, one.entry.code, one.entry.reason)
                for one in outcomes
                if one.entry.outcome is Outcome.REJECTED and one.entry.attempt == attempt and one.key
            ]
        )

    return note
