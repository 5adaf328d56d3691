"""Operators that say what a send would come to, before anybody is messaged: what they share, and the one of lists."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import is_literal, to_plain
from airflow_provider_cirrus.hooks.ending import check_on_empty, end_empty, fail, push_result
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.operators.hidden import unhidden
from airflow_provider_cirrus.operators.send import SendOperator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.delivery.deliver import Messages
    from airflow_provider_cirrus.delivery.plan.rate_card import RateCard
    from airflow_provider_cirrus.hooks.delivery import TaskDelivery


#: Parts of a plan that are XComs of their own, too: ``plan.output["markdown"]`` is the XCom of that key.
PUSHED = ("markdown", "approval")


class Planning(SendOperator):
    """What an operator that plans has beside the send of its kind, before whose class it stands."""

    on_empty: str

    def __init__(
        self, *, rate_card: RateCard | Mapping[str, Any] | str | None = None, page: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate_card = to_plain(rate_card)
        self.page = page
        with self._checking():
            if page is not None and is_literal(page):
                _check_page(page)
            if rate_card is not None and is_literal(rate_card):
                # Late, as most tasks plan nothing.
                from airflow_provider_cirrus.delivery.plan.rate_card import RateCard

                RateCard.of(rate_card)

    @abstractmethod
    def _planned(self, task: TaskDelivery) -> AbstractContextManager[Messages]:
        """Return the messages of the audience, while they can be read; raises EmptyAudience where there are none."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the audience; return what sending it would come to."""
        from airflow_provider_cirrus.delivery.errors import EmptyAudience
        from airflow_provider_cirrus.hooks.plan import plan_of

        task = self._task_delivery(context)
        try:
            task.check()
            check_on_empty(self.on_empty)
            with self._planned(task) as messages:
                found = plan_of(task, messages, self.rate_card)
            self._write_page(found)
        except EmptyAudience as error:
            end_empty(self.on_empty, f"{error.message} There is nothing to plan.")
        except CirrusError as error:
            fail(error)
        finally:
            self.hook.close()
        self.log.info(
            "A plan: %d of %d messages would be sent, in %.0f s at %g a second; nothing was sent.",
            found["to_send"],
            found["total"],
            found["seconds"],
            found["messages_per_second"],
        )
        for key in PUSHED:
            push_result(context, found[key], key)
        return found

    def _write_page(self, found: Mapping[str, Any]) -> None:
        if not self.page:
            return
        # Late, as most plans are read where they are approved.
        from airflow_provider_cirrus.delivery.plan.page import page_of
        from airflow_provider_cirrus.delivery.storage import write_text

        _check_page(self.page)
        title = f"Plan of {self.template}" if isinstance(self.template, str) else "Plan of a send"
        write_text(self.page, page_of(found, title), "page")
        self.log.info("The plan is a page: %s", self.page)


class PlanSendOperator(Planning, SendTemplateOperator):
    """
    Say what a send would come to, and send nothing.

    .. seealso:: docs/plan.md

    It takes the arguments of :class:`~airflow_provider_cirrus.operators.cirrus.SendTemplateOperator`, reads the
    audience once through every rule, and returns counts, how long it takes, what it costs at most, and examples. Its
    ``markdown`` is made for the ``body`` of Airflow's ``ApprovalOperator``; its ``approval`` for ``approved`` of the
    send, which then messages nobody where the audience, the message, the rules, the definitions or the rate are others.
    Both are XComs of these keys, too.

    Example::

        shared = {"template": "order_update", "language": "en", "audience": "s3://shop/orders.csv"}
        plan = PlanSendOperator(task_id="plan", **shared)
        approve = ApprovalOperator(task_id="approve", subject="Send it?", body=plan.output["markdown"])
        send = SendTemplateOperator(task_id="send", **shared, approved=plan.output["approval"])
        plan >> approve >> send

    :param rate_card: Meta's price list as you downloaded it, a path, or a dict of ``path`` and ``markets``, as
        :class:`~airflow_provider_cirrus.delivery.plan.RateCard`; None: nobody asks what it costs
    :param page: a path or URI, ending in .html, where the plan is written as a page; None: nowhere
    :param kwargs: as ``SendTemplateOperator``
    :return: ``{"total", "to_send", "outcomes", "countries", "templates", "categories", "rules", "reasons",
        "messages_per_second", "seconds", "ends_at", "asleep", "cost", "budget", "examples", "notes", "approval",
        "markdown"}``
    :raises AirflowFailException: wrong arguments, or something that cannot be used
    """

    template_fields: Sequence[str] = (*SendTemplateOperator.template_fields, "rate_card", "page")
    operator_extra_links = ()
    template_fields_renderers: ClassVar[dict[str, str]] = SendTemplateOperator.template_fields_renderers

    @contextmanager
    def _planned(self, task: TaskDelivery) -> Iterator[Messages]:
        messages, _ = task.messages(
            is_planned=True,
            to=unhidden(self.to),
            messages=unhidden(self.messages),
            audience=unhidden(self.audience),
            may_be_empty=self.on_empty == "succeed",
        )
        yield messages


def _check_page(page: Any) -> None:
    text = str(page)
    if not text.lower().endswith((".html", ".htm")):
        raise InvalidInput("page", f"{text[-40:]!r} does not end in .html.", hint="Such as /reports/plan.html.")
