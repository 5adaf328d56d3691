"""The audience in a mapped HttpOperator task for each message; see benchmarks/mapped_http.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator


def body(line: str) -> str:
    """Write the request that sends one message, to the recipient in a line of the audience."""
    row = json.loads(line)
    parameters = [{"type": "text", "text": row[name]} for name in ("name", "order")]
    template = {
        "name": "order_update",
        "language": {"code": "en"},
        "components": [{"type": "body", "parameters": parameters}],
    }
    return json.dumps({"data": [{"template_data": {"to": row["phone"], "template": template}}]})


# Read here and not in a task before it, which would be one task more for Airflow to run.
AUDIENCE = Path(os.environ["CIRRUS_BENCH_MAPPED_AUDIENCE"]).read_text().splitlines()

with DAG("bench_mapped_http", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    HttpOperator.partial(
        task_id="send",
        http_conn_id="cirrus_http",
        endpoint=f"whatsapp/sendtemplatedmessage/{quote(os.environ['CIRRUS_BENCH_STREAM'], safe='')}",
    ).expand(data=[body(line) for line in AUDIENCE])
