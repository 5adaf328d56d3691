from __future__ import annotations

import math
from datetime import timedelta

import pytest

from airflow_provider_cirrus.api import errors
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator, UploadMediaOperator
from airflow_provider_cirrus.retries import CirrusRetryPolicy, CirrusUnsentError

RetryAction = pytest.importorskip(
    "airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 and later have retry policies"
).RetryAction

GOOD = {"template": "order_update", "language": "en", "to": "+447700900123"}


@pytest.mark.parametrize(
    ("exception", "action", "delay"),
    [
        pytest.param(CirrusUnsentError("later", 90), RetryAction.RETRY, timedelta(seconds=90), id="asked-to-wait"),
        pytest.param(CirrusUnsentError("later", 0), RetryAction.RETRY, timedelta(seconds=1), id="asked-for-nothing"),
        pytest.param(CirrusUnsentError("later"), RetryAction.DEFAULT, None, id="not-asked"),
        pytest.param(errors.Unauthorized("no"), RetryAction.FAIL, None, id="no-retry-would-mend-it"),
        pytest.param(errors.Throttled("slow", retry_after=5), RetryAction.RETRY, timedelta(seconds=5), id="throttled"),
        pytest.param(CirrusUnsentError("later", 1e300), RetryAction.RETRY, timedelta(days=1), id="beyond-all-dates"),
        pytest.param(CirrusUnsentError("later", math.inf), RetryAction.RETRY, timedelta(days=1), id="for-ever"),
        pytest.param(CirrusUnsentError("later", math.nan), RetryAction.RETRY, timedelta(seconds=1), id="no-number"),
        pytest.param(CirrusUnsentError("later", -5), RetryAction.RETRY, timedelta(seconds=1), id="negative"),
        pytest.param(ValueError("other"), RetryAction.DEFAULT, None, id="not-ours"),
    ],
)
def test_the_policy_waits_as_asked_and_gives_up_where_waiting_is_vain(
    exception: Exception, action: RetryAction, delay: timedelta | None
) -> None:
    decision = CirrusRetryPolicy().evaluate(exception, 1, 3)
    assert (decision.action, decision.retry_delay) == (action, delay)


def test_operators_use_it_unless_the_task_has_its_own() -> None:
    assert isinstance(SendTemplateOperator(task_id="a", **GOOD).retry_policy, CirrusRetryPolicy)
    assert isinstance(UploadMediaOperator(task_id="b", path="a.png", retry_policy=None).retry_policy, CirrusRetryPolicy)
    own = CirrusRetryPolicy()
    assert SendTemplateOperator(task_id="c", retry_policy=own, **GOOD).retry_policy is own
