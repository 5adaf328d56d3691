"""
Upload a picture, pass its id by XCom, and send it with a template to several people.

Beside it: a text message to one person, and one that Cirrus is to hold back for an hour. Needs a connection
``cirrus_default`` (see docs/connection.md); ``make up`` brings one to a local sandbox.
"""

from __future__ import annotations

from pathlib import Path

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator, UploadMediaOperator

with DAG(
    dag_id="example_cirrus_send_template",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
    # A parameter that is missing in a template below fails when this file is parsed; see docs/templates.md.
    default_args={"templates_path": "templates"},
    # So that {{ params.recipients }} stays a list.
    render_template_as_native_obj=True,
    params={
        "recipients": ["+44 7700 900123", "+44 7700 900124", "+1 (202) 555-0143"],
        "order": "A-1042",
    },
):
    upload_picture = UploadMediaOperator(
        task_id="upload_picture",
        path=str(Path(__file__).with_name("example_cirrus_picture.png")),
    )

    # [START send_with_picture]
    send_with_picture = SendTemplateOperator(
        task_id="send_with_picture",
        template="summer_greeting",
        language="en",
        to="{{ params.recipients }}",
        header=upload_picture.output,
        body=["our readers", "Friday"],
    )
    # [END send_with_picture]

    send_text = SendTemplateOperator(
        task_id="send_text",
        template="order_update",
        language="en",
        to="+44 7700 900125",
        body={"order": "{{ params.order }}", "status": "on its way"},
        buttons=[{"type": "url", "text": "{{ params.order }}"}],
    )

    send_scheduled = SendTemplateOperator(
        task_id="send_scheduled",
        template="appointment_reminder",
        language="en",
        to="+44 7700 900126",
        body=["tomorrow at 09:30"],
        schedule="{{ (macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(hours=1)).isoformat() }}",
    )

    send_with_picture >> [send_text, send_scheduled]
