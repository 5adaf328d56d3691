"""Links: from a task that sent to the conversation in the Cirrus console."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_cirrus.api.errors import InvalidInput

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

log = logging.getLogger(__name__)

#: XCom that holds the address.
XCOM_KEY = "conversation_url"


#: Attribute of an operator that holds it, too, in the process that runs the task; empty: there is none yet.
ATTRIBUTE = "conversation_url"


class ConversationLink(BaseOperatorLink):
    """
    A button on the task's page that opens the conversation which the send opened.

    The task leaves the address as an XCom while it runs. Airflow 2.11 asks for the link in the webserver, where
    arguments are not rendered and the worker's connections may not be had; Airflow 3 asks where the task ran, and
    takes the same XCom.
    """

    name = "Conversation"
    xcom_key = XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, or an empty text where the send opened no conversation."""
        # Airflow 3 asks in the task's own process, and would log an error about an XCom that was never pushed.
        if (own := getattr(operator, ATTRIBUTE, None)) is not None:
            return str(own)
        from airflow.providers.common.compat.sdk import XCom

        return str(XCom.get_value(ti_key=ti_key, key=XCOM_KEY) or "")


def leave_link(result: Mapping[str, Any], conversation_url: Callable[[str], str], context: Context) -> None:
    """
    Leave the address of the first conversation that a delivery opened.

    :param result: the summary of the delivery; one without outcomes, as many messages have it, leads nowhere
    :param conversation_url: of :class:`~.hooks.cirrus.CirrusHook`
    :param context: of the task
    """

    opened = (o["object_id"] for o in result.get("outcomes", ()) if o["outcome"] == "accepted" and o["object_id"])
    object_id = next(opened, None)
    if object_id is None:
        return
    try:
        url = conversation_url(object_id)
    except InvalidInput as error:
        # The messages have left: nothing is gained by a failed task. The connection's test tells it, too.
        log.warning("There is no link to the conversation: %s", error)
        return
    # In Airflow 3.0 the two are not always one.
    for task in (context.get("task"), getattr(context["ti"], "task", None)):
        if task is not None:
            setattr(task, ATTRIBUTE, url)
    context["ti"].xcom_push(key=XCOM_KEY, value=url)
