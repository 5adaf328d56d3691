"""The DAGs of tests/integration/test_campaign.py; what varies comes in by the run's conf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_provider_cirrus.operators.campaign import CampaignOperator

COMMON: dict[str, Any] = {
    "schedule": None,
    "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
    "catchup": False,
    "render_template_as_native_obj": True,
}
CAMPAIGN: dict[str, Any] = {
    "task_id": "campaign",
    "template": "opening_hours",
    "language": "en",
    "audience_file": "{{ dag_run.conf['path'] }}",
    "retries": 2,
    "retry_delay": timedelta(0),
}


def fail_after_first_try(context: Any, result: Any = None) -> None:
    """Fail a task that has done its work, as a worker does that dies before it could say so."""
    if context["ti"].try_number == 1:
        raise AirflowException("lost after the work was done")


with DAG("campaign", **COMMON):
    CampaignOperator(
        **CAMPAIGN,
        campaign_name="Opening hours {{ ds }}",
        schedule="{{ dag_run.conf.get('schedule') }}",
        on_bad_rows="{{ dag_run.conf.get('on_bad_rows', 'fail') }}",
        delivery={"dry_run": "{{ dag_run.conf.get('dry_run', False) }}"},
        rules={
            "opt_in": "{{ dag_run.conf.get('opt_in') }}",
            "suppression": "{{ dag_run.conf.get('suppression') }}",
            "max_suppressed": "{{ dag_run.conf.get('max_suppressed') }}",
        },
        cirrus_conn_id="{{ dag_run.conf.get('connection', 'cirrus_default') }}",
    )

with DAG("campaign_lost", **COMMON):
    CampaignOperator(**CAMPAIGN, post_execute=fail_after_first_try)

with DAG("campaign_once", **COMMON):
    CampaignOperator(**CAMPAIGN, message_key="opening-2090", delivery={"ledger_conn_id": "cirrus_ledger"})
