"""How a task ends that sends: with a result, skipped, failed for good, or to be tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.arguments import allowance
from airflow_provider_cirrus.delivery.options import Rules

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: What a task does where there is nobody to message.
ON_EMPTY = ("skip", "succeed", "fail")


def check_on_empty(value: Any) -> None:
    """
    Check ``on_empty``.

    :raises InvalidInput: it is none of :data:`ON_EMPTY`
    """
    if value not in ON_EMPTY:
        raise InvalidInput("on_empty", f"{value!r} is unknown; known are {', '.join(ON_EMPTY)}.")


def end_empty(on_empty: str, reason: str) -> NoReturn:
    """End a task that has nobody to message, as it was told to; not for ``succeed``."""
    raise AirflowSkipException(reason) if on_empty == "skip" else AirflowFailException(reason)


def push_result(context: Context, result: Any, key: str = "return_value") -> None:
    """Leave a result as an XCom, also of a task that fails; not where the task is told to leave none."""
    if getattr(context.get("task"), "do_xcom_push", True):
        context["ti"].xcom_push(key=key, value=result)


def check_suppressed(rules: Rules, result: Mapping[str, Any], context: Context) -> None:
    """
    Fail the task where the rules held back more than they may.

    :param result: the result of the task, with ``total`` and ``suppressed``
    :raises AirflowFailException: they did
    """
    if rules.max_suppressed is None:
        return
    if result["suppressed"] > allowance(rules.max_suppressed, result["total"], "max_suppressed"):
        push_result(context, result)
        raise AirflowFailException(
            f"{result['suppressed']} of {result['total']} messages were suppressed "
            f"(max_suppressed={rules.max_suppressed}); the report, or the log, says by which rule."
        )


def fail(error: CirrusError) -> NoReturn:
    """Raise Airflow's exception for ours: retryable only where time alone may mend it."""
    if not error.retryable:
        raise AirflowFailException(str(error)) from error
    failure = AirflowException(str(error))
    # For the retry policy.
    failure.retry_after = error.retry_after  # type: ignore[attr-defined]
    raise failure from error


def refuse_one_shot(audience: Any) -> None:
    """
    Refuse an audience that can be read only once, where it is read to look at it first.

    :raises InvalidInput: it is an iterator
    """
    if hasattr(audience, "__next__"):
        raise InvalidInput(
            "audience",
            f"is a {type(audience).__name__}, which can be read only once.",
            hint="Give a file or a list: it is compared with what was approved, or counted, before anything is sent.",
        )
