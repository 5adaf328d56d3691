"""The operator for campaigns: one template without parameters, to everybody in a file that Cirrus itself reads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.options import Delivery, Rules, at_the_edge, options_of, refuse_others
from airflow_provider_cirrus.hooks.delivery import TaskDelivery
from airflow_provider_cirrus.hooks.ending import check_on_empty, check_suppressed, end_empty, fail, push_result
from airflow_provider_cirrus.operators.base import CirrusOperator, with_any_category
from airflow_provider_cirrus.operators.hidden import unhidden
from airflow_provider_cirrus.retries import CirrusUnsentError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.api.campaign import Campaign
    from airflow_provider_cirrus.delivery.campaign.audience_file import CampaignFile
    from airflow_provider_cirrus.delivery.campaign.submission import HandedOver

# What can be kept where Cirrus sends by itself.
_RULES = ("opt_in", "suppression", "category", "on_reject", "max_suppressed")
_DELIVERY = ("ledger_conn_id", "resend", "dry_run")
_PROBLEM = "cannot be kept: Cirrus sends a campaign by itself."
_HINT = "Leave it out, also of the connection, or send the audience with SendTemplateOperator."


class CampaignOperator(CirrusOperator):
    """
    Hand a whole audience file over to Cirrus, which sends a template without parameters to everybody in it.

    .. seealso:: docs/campaign.md, and the Cirrus API "Campaign"

    Example::

        CampaignOperator(
            task_id="campaign",
            template="opening_hours",
            language="en",
            audience_file="s3://aws_default@shop/customers.csv",
            campaign_name="Opening hours {{ ds }}",
        )

    Every row of the file is looked at first: one row without a number, or one account twice, and nothing is
    sent. The rules of whom to message are asked for every row, too, and whom they hold back is left out. The campaign
    is handed over once: where no answer came, no retry and no clear hands it over again.
    Cirrus gives no id and no outcomes: what became of each recipient is in the console only.

    All parameters are templated.

    :param audience_file: local path, or URI such as ``s3://conn_id@bucket/key``, of a file that ends in ``.csv`` or
        ``.xlsx`` and has a column ``phone1``
    :param template: name of a template that takes no parameters
    :param language: its language code, such as ``en`` or ``pt_BR``
    :param campaign_name: how the console names the campaign
    :param schedule: when it is to begin: aware datetime, ISO text with a zone, or Unix seconds; None: at once
    :param expiration_date: when it ends, written as ``schedule``
    :param notify_mail: a mail address that is told about the campaign
    :param substream_id: the sub-channel, 0 for none
    :param audience_id: an audience that Cirrus keeps
    :param save_as_new_audience: whether Cirrus is to keep the file as an audience
    :param new_audience_name: how that audience is called
    :param automation_script_id: the script that takes the answers
    :param message_key: your own name for this campaign: with ``ledger_conn_id`` it is handed over once for ever,
        by whatever run or DAG, and whoever is in the file
    :param on_bad_rows: ``fail``, or ``drop``: leave out rows without a number and accounts that stand there twice
    :param on_empty: what the task does with a file without rows: ``skip``, ``succeed`` or ``fail``
    :param rules: whom to message, as :class:`~airflow_provider_cirrus.Rules` or a dict of its names: ``opt_in`` (also a
        column of the file), ``suppression``, ``category`` and ``max_suppressed``
    :param delivery: as :class:`~airflow_provider_cirrus.Delivery` or a dict of its names: ``ledger_conn_id``,
        ``resend`` and ``dry_run``
    :param templates_path: folder of the templates' definitions in Meta's JSON; a relative path begins at the DAG file.
        A template that takes parameters then fails the DAG's parse, and the category for rules is that of the
        definition; None: that of the connection
    :param stream: name of a stream in the connection, or an encrypted stream id; None: the connection's own
    :param cirrus_conn_id: the connection
    :return: ``{"total", "accepted", "rejected", "suppressed", "duplicate", "unknown", "unsent"}``: rows of the file
    :raises AirflowFailException: wrong arguments or rows, a refusal, or an answer without which nobody can tell
    :raises CirrusUnsentError: the campaign certainly did not begin, and a retry can hand it over
    """

    template_fields: Sequence[str] = (
        "audience_file",
        "template",
        "language",
        "campaign_name",
        "schedule",
        "expiration_date",
        "notify_mail",
        "substream_id",
        "audience_id",
        "save_as_new_audience",
        "new_audience_name",
        "automation_script_id",
        "message_key",
        "on_bad_rows",
        "on_empty",
        "rules",
        "delivery",
        "templates_path",
        "stream",
        "cirrus_conn_id",
    )
    hidden_fields: ClassVar[Sequence[str]] = ("rules",)
    text_fields: ClassVar[Sequence[str]] = ("template", "language", "campaign_name", "new_audience_name", "message_key")

    def __init__(
        self,
        *,
        audience_file: Any,
        template: str,
        language: str,
        campaign_name: str | None = None,
        schedule: Any = None,
        expiration_date: Any = None,
        notify_mail: str | None = None,
        substream_id: int | str | None = None,
        audience_id: int | str | None = None,
        save_as_new_audience: bool | str | None = None,
        new_audience_name: str | None = None,
        automation_script_id: int | str | None = None,
        message_key: str | None = None,
        on_bad_rows: Literal["fail", "drop"] | str = "fail",
        on_empty: Literal["skip", "succeed", "fail"] | str = "skip",
        rules: Rules | Mapping[str, Any] | None = None,
        delivery: Delivery | Mapping[str, Any] | None = None,
        templates_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audience_file = audience_file
        self.template = template
        self.language = language
        self.campaign_name = campaign_name
        self.schedule = schedule
        self.expiration_date = expiration_date
        self.notify_mail = notify_mail
        self.substream_id = substream_id
        self.audience_id = audience_id
        self.save_as_new_audience = save_as_new_audience
        self.new_audience_name = new_audience_name
        self.automation_script_id = automation_script_id
        self.message_key = message_key
        self.on_bad_rows = on_bad_rows
        self.on_empty = on_empty
        self.rules = rules
        self.delivery = delivery
        self.templates_path = templates_path
        with self._checking():
            self.rules = at_the_edge(Rules, rules, "rules")
            self.delivery = at_the_edge(Delivery, delivery, "delivery")
            self._check_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Hand the campaign over; return what became of the rows of its file."""
        from airflow_provider_cirrus.api.results import Outcome
        from airflow_provider_cirrus.delivery.campaign.audience_file import open_campaign_file
        from airflow_provider_cirrus.delivery.errors import EmptyAudience
        from airflow_provider_cirrus.delivery.rules.consent import Consent
        from airflow_provider_cirrus.delivery.rules.policy import Policy

        task = TaskDelivery(
            self.hook,
            context,
            self.retries or 0,
            rules=unhidden(self.rules),
            delivery=self.delivery,
            message={"template": self.template, "language": self.language},
            templates_path=self.templates_path,
        )
        try:
            task.check()
            check_on_empty(self.on_empty)
            rules = task.effective_rules
            refuse_others(rules, _RULES, "rules", _PROBLEM, _HINT)
            self.hook.check_opt_in(rules.opt_in)
            campaign = self._campaign()
            if task.templates is not None:
                task.templates.check(campaign.template)
            for remark in campaign.template.advice():
                self.log.warning(remark)
            with (
                Consent(
                    rules.opt_in,
                    rules.suppression,
                    category=rules.checked_category(),
                    connect=self.hook.source_engine,
                ) as consent,
                open_campaign_file(
                    self.audience_file,
                    look=Policy(self.hook.allowlist(), consent=consent).evaluate_rows,
                    needed=rules.row_context(),
                    drop_bad_rows=self._drops_bad_rows(),
                ) as audience,
            ):
                self._tell_of_rows(audience)
                handed = self._hand_over(task, campaign, audience)
        except EmptyAudience as error:
            if self.on_empty == "succeed":
                return dict.fromkeys(("total", *(one.value for one in Outcome)), 0)
            end_empty(self.on_empty, f"{error.message} Nothing is sent.")
        except CirrusError as error:
            fail(error)
        finally:
            self.hook.close()
        return self._judge(handed, audience, task)

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the file that is read, for OpenLineage."""
        from airflow_provider_cirrus.operators.lineage import lineage_of

        return lineage_of([self.audience_file], [])

    def _check_literals(self) -> None:
        """Check what is written out in the DAG file; what is templated is checked when the task runs."""
        from airflow_provider_cirrus.api.campaign import CAMPAIGN_FIELDS, Campaign
        from airflow_provider_cirrus.delivery.campaign.audience_file import ending_of

        literal = {name: getattr(self, name) for name in CAMPAIGN_FIELDS if is_literal(getattr(self, name))}
        # What goes together is compared only where both are there to be compared.
        for name, other in (("new_audience_name", "save_as_new_audience"), ("expiration_date", "schedule")):
            if other not in literal:
                literal.pop(name, None)
        # Stand-ins for what is templated.
        template = self.template if is_literal(self.template) else "any"
        language = self.language if is_literal(self.language) else "en"
        Campaign.build(template, language, **literal)
        if is_literal(self.audience_file):
            ending_of(self.audience_file)
        if is_literal(self.on_bad_rows):
            self._drops_bad_rows()
        if is_literal(self.on_empty):
            check_on_empty(self.on_empty)
        kinds: tuple[tuple[str, Any, Sequence[str]], ...] = (
            ("rules", Rules, _RULES),
            ("delivery", Delivery, _DELIVERY),
        )
        for name, kind, allowed in kinds:
            if is_literal(value := getattr(self, name)) or isinstance(value, Mapping):
                options = options_of(kind, value, name)
                refuse_others(options, allowed, name, _PROBLEM, _HINT)
                if isinstance(options, Rules) and self.templates_path is not None:
                    options = with_any_category(options)
                options.check()
        if self.templates_path is not None and is_literal(self.templates_path):
            self._check_definition()

    def _check_definition(self) -> None:
        """Check that the template takes no parameters, where the task says where its definition is."""
        # Late, as most DAGs have no definitions.
        from airflow_provider_cirrus.hooks.template_check import check_literals
        from airflow_provider_cirrus.hooks.templates import folder_of, templates_in

        templates = templates_in(self.templates_path, folder=folder_of(self.get_dag()))
        if templates is not None:
            check_literals(templates, {"template": self.template, "language": self.language}, Columns())

    def _campaign(self) -> Campaign:
        from airflow_provider_cirrus.api.campaign import CAMPAIGN_FIELDS, Campaign

        return Campaign.build(self.template, self.language, **{name: getattr(self, name) for name in CAMPAIGN_FIELDS})

    def _drops_bad_rows(self) -> bool:
        if self.on_bad_rows not in ("fail", "drop"):
            raise InvalidInput("on_bad_rows", f"{self.on_bad_rows!r} is unknown; known are fail, drop.")
        return self.on_bad_rows == "drop"

    def _tell_of_rows(self, audience: CampaignFile) -> None:
        for problem in audience.problems:
            self.log.warning("Left out: %s", problem)
        if audience.suppressed:
            rules = ", ".join(f"{rows} by {rule}" for rule, rows in audience.rules.items())
            self.log.warning("%d of %d rows are suppressed: %s.", audience.suppressed, audience.total, rules)
        for reason in audience.held:
            self.log.info("Suppressed: %s", reason)

    def _hand_over(self, task: TaskDelivery, campaign: Campaign, audience: CampaignFile) -> HandedOver | None:
        """Return what became of the campaign; None where nothing was to be handed over."""
        from airflow_provider_cirrus.delivery.campaign.submission import campaign_key, hand_over

        client = self.hook.checked_client
        if task.effective_delivery.is_dry:
            campaign.check_ahead(time.time())
            self.log.info("dry_run is set: the campaign to %d recipients is not handed over.", audience.kept)
            return None
        if not audience.kept:
            return None
        return hand_over(
            lambda: client.send_campaign(campaign, audience.file, audience.filename, audience.media_type),
            campaign_key(campaign, client.endpoint.stream_id, audience.recipients),
            task.ledger(),
            attempt=task.context["ti"].try_number,
            check=lambda: campaign.check_ahead(time.time()),
        )

    def _judge(self, handed: HandedOver | None, audience: CampaignFile, task: TaskDelivery) -> dict[str, Any]:
        """Return the counts, or fail the task where the campaign did not begin, or nobody can tell."""
        from airflow_provider_cirrus.api.results import Outcome

        outcome = Outcome.UNSENT if handed is None else handed.outcome
        counts = dict.fromkeys((one.value for one in Outcome), 0)
        for found, rows in (
            (outcome, audience.kept),
            (Outcome.SUPPRESSED, audience.suppressed),
            (Outcome.REJECTED, audience.rejected),
            (Outcome.DUPLICATE, audience.duplicate),
        ):
            counts[found] += rows
        result: dict[str, Any] = {"total": audience.total, **counts}
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        said = f"{audience.total} rows: {words}."
        if handed is None or outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE):
            earlier = " It was handed over before; nothing was sent now." if handed and handed.is_earlier else ""
            self.log.info("%s%s", said, earlier)
            check_suppressed(task.effective_rules, result, task.context)
            return result
        # A failed task's result is worth as much as a successful one's.
        push_result(task.context, result)
        if outcome is Outcome.UNKNOWN:
            raise AirflowFailException(
                f"{said} {handed.reason} Whether the campaign has begun cannot be known from here, and it is not "
                "handed over again: look for it in the console. If it is not there, clear the task with resend=True."
            )
        if outcome is Outcome.UNSENT:
            raise CirrusUnsentError(f"{said} {handed.error}", handed.error.retry_after if handed.error else None)
        raise AirflowFailException(f"{said} {handed.error}")
