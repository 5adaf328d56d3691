"""The DAG of tests/system/test_campaign.py."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.operators.campaign import CampaignOperator

with DAG("campaign_cleared", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    CampaignOperator(
        task_id="campaign",
        template="opening_hours",
        language="en",
        audience_file="{{ dag_run.conf['path'] }}",
        delivery={"resend": "{{ var.value.get('cirrus_campaign_resend', 'no') }}"},
    )
