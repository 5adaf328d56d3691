"""
Templates as code: a wrong parameter fails when this file is parsed, and each customer is told in their language.

The definitions stand beside this file, in ``templates/``, in the JSON that WhatsApp Manager and Meta's API use. Needs a
connection ``cirrus_default`` (see docs/connection.md); ``make up`` brings one to a local sandbox.
"""

from __future__ import annotations

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Columns
from airflow_provider_cirrus.operators import SendTemplateOperator

READY = [
    {"phone": "+44 7700 900181", "name": "Ann", "ticket": "R-204", "language": "en"},
    {"phone": "+44 7700 900182", "name": "Bernd", "ticket": "R-205", "language": "de"},
    {"phone": "+44 7700 900183", "name": "Chloe", "ticket": "R-206", "language": "fr"},
]

with DAG(
    "example_cirrus_templates",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # [START templates]
    SendTemplateOperator(
        task_id="tell",
        template="bicycle_ready",
        audience=[{**row, "shop": "Mill Road"} for row in READY],
        columns=Columns(
            to="phone",
            header="ticket",
            body={"name": "name", "shop": "shop"},
            buttons=["ticket"],
            language="language",
            key="ticket",
        ),
        # What columns fill in: a parameter by its name, and the second button, as the first is a quick reply.
        header={"type": "text", "parameter_name": "ticket"},
        buttons=[{"type": "url", "index": 1}],
        templates_path="templates",
        languages=["en"],
    )
    # [END templates]
