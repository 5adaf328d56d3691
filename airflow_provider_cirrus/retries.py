"""When Airflow should try a task again: what only a worker that has the exception can know."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_cirrus.api.errors import CirrusError

if TYPE_CHECKING:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
    except ImportError:
        # Airflow before 3.3 has no retry policies.
        RetryDecision, RetryPolicy = None, object


class CirrusUnsentError(AirflowException):
    """
    Messages are left that a retry of the task sends: those that certainly were not sent.

    With ``Delivery(mode="at_least_once")`` also those that may not have been.

    :ivar retry_after: seconds that Cirrus asked to wait, or None
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CirrusRetryPolicy(RetryPolicy):
    """
    Waits as long as Cirrus asked, and gives up at once on what no retry would mend (Airflow 3.3 and later).

    The operators use it where the task has no policy of its own. Everything else is left to the task's
    ``retries`` and ``retry_delay``.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return what to do after this exception."""
        from airflow_provider_cirrus.api.answers import LONGEST_RETRY_AFTER

        if isinstance(exception, CirrusError) and not exception.retryable:
            return RetryDecision.fail(reason="no retry would mend this")
        asked = getattr(exception, "retry_after", None)
        if asked is None:
            return RetryDecision.default()
        # In this order, so that what is no number at all leaves one second.
        wait = min(max(1.0, asked), LONGEST_RETRY_AFTER)
        return RetryDecision.retry(delay=timedelta(seconds=wait), reason=f"Cirrus asked to wait {wait:.0f} s")


def policy_or_default(policy: Any) -> Any:
    """Return the task's own policy, or ours where Airflow knows policies, or None."""
    return CirrusRetryPolicy() if policy is None and RetryDecision is not None else policy
