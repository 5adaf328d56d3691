"""The DAGs of tests/integration; what varies comes in by the run's conf."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.operators import SendTemplateOperator, UploadMediaOperator, ValidateContactOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
ORDER: dict[str, Any] = {"template": "order_update", "language": "en"}
PICTURE = str(Path(__file__).with_name("example_cirrus_picture.png"))

with DAG("mapped", **COMMON):
    uploads = UploadMediaOperator.partial(task_id="upload").expand(path=[PICTURE, PICTURE])
    # One send a picture, each to the same two people.
    SendTemplateOperator.partial(task_id="by_header", **ORDER, to=["+447700900101", "+447700900102"]).expand(
        header=uploads.output
    )
    SendTemplateOperator.partial(task_id="by_recipient", **ORDER).expand(to=["+447700900103", ["+447700900104"]])

    @task
    def rows() -> list[dict[str, Any]]:
        return [
            {"to": "+44 7700 900105", "body": ["{{ not_a_template }}"], "message_key": "order-1"},
            {"to": 447700900106, "body": ["see report.sql"], "schedule": "2090-01-01T00:00:00Z"},
        ]

    SendTemplateOperator(task_id="by_message", **ORDER, messages=rows())

with DAG("conf_send", render_template_as_native_obj=True, **COMMON):
    send = SendTemplateOperator(
        task_id="send",
        template="{{ dag_run.conf.get('template', 'order_update') }}",
        language="en",
        to="{{ dag_run.conf['to'] }}",
        body="{{ dag_run.conf.get('body') }}",
        schedule="{{ dag_run.conf.get('schedule') }}",
        stream="{{ dag_run.conf.get('stream') }}",
        cirrus_conn_id="{{ dag_run.conf.get('connection', 'cirrus_default') }}",
        retries=2,
        retry_delay=timedelta(seconds=0),
    )

    @task(trigger_rule="all_done", multiple_outputs=False)
    def after(sent: dict[str, Any]) -> dict[str, Any]:
        return sent

    after(send.output)

with DAG("tolerant", **COMMON):
    SendTemplateOperator(task_id="one", **ORDER, to=["+447700900101", "+447700900190"], delivery={"max_failed": 1})
    SendTemplateOperator(task_id="half", **ORDER, to=["+447700900102", "+447700900191"], delivery={"max_failed": 0.5})
    SendTemplateOperator(task_id="fewer", **ORDER, to=["+447700900103", "+447700900191"], delivery={"max_failed": 0.4})

with DAG("validations", **COMMON):
    ValidateContactOperator.partial(task_id="same", opt_in=True, ledger_conn_id="cirrus_ledger").expand(
        phone_number=["+447700900101", "+44 7700 900-101"]
    )
    ValidateContactOperator(task_id="skipping", phone_number="+447700900199", opt_in=True, skip_if_invalid=True)
    ValidateContactOperator(task_id="failing", phone_number="+447700900190", opt_in=True, fail_if_invalid=True)
    ValidateContactOperator(task_id="saying", phone_number="+447700900290", opt_in=True)

with DAG("validate_again", **COMMON):
    ValidateContactOperator(
        task_id="validate", phone_number="+447700900101", opt_in=True, retries=1, retry_delay=timedelta(seconds=0)
    )

with DAG("validate_remembered", render_template_as_native_obj=True, **COMMON):
    ValidateContactOperator(
        task_id="validate",
        phone_number="{{ dag_run.conf['number'] }}",
        opt_in="{{ dag_run.conf['agreed'] }}",
        ledger_conn_id="cirrus_ledger",
        max_age=timedelta(days=7),
        retries=1,
        retry_delay=timedelta(0),
    )

with DAG("upload_conf", **COMMON):
    UploadMediaOperator(task_id="upload", path="{{ dag_run.conf['path'] }}", retries=1, retry_delay=timedelta(0))

with DAG("audience", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        audience="{{ dag_run.conf['path'] }}",
        columns={"to": "phone", "body": ["name", "order"], "key": "order"},
        report="{{ dag_run.conf['report'] }}",
        delivery={"max_failed": 1, "dry_run": "{{ dag_run.conf.get('dry_run', False) }}"},
    )


def end_first_try(context: Any) -> None:
    """Tell the first try to end, as Airflow does on SIGTERM."""
    if context["ti"].try_number == 1:
        context["task"].on_kill()
    else:
        # The tries of a test share a process, and so the operator.
        context["task"]._stop.clear()


with DAG("ended", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=["+447700900101", "+447700900102"],
        pre_execute=end_first_try,
        retries=1,
        retry_delay=timedelta(0),
    )

with DAG("sharded", **COMMON):
    SendTemplateOperator.partial(
        task_id="send",
        **ORDER,
        to=[f"4477009{place:05d}" for place in range(60)],
    ).expand(delivery=Delivery(messages_per_second=1000).sharded(3))

with DAG("once_per_order", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        messages="{{ dag_run.conf['messages'] }}",
        delivery={
            "ledger_conn_id": "cirrus_ledger",
            "mode": "{{ dag_run.conf.get('delivery', 'at_most_once') }}",
            "resend": "{{ dag_run.conf.get('resend', False) }}",
        },
        retries=1,
        retry_delay=timedelta(0),
    )

with DAG("by_connection", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(task_id="send", **ORDER, messages="{{ dag_run.conf['messages'] }}")

with DAG("capped_by_connection", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        messages="{{ dag_run.conf['messages'] }}",
        rules={"frequency_cap": {"max_messages": 1, "days": 7}},
        delivery={"max_failed": 1},
    )

with DAG("overlapping", **COMMON):

    @task
    def paths(dag_run: Any = None) -> list[str]:
        return list(dag_run.conf["paths"])

    SendTemplateOperator.partial(
        task_id="send", **ORDER, columns={"to": "phone"}, delivery={"messages_per_second": 1000}
    ).expand(audience=paths())

with DAG("resharded", **COMMON):
    # As after a clear with another number of shards: all of them have the same ledger.
    SendTemplateOperator.partial(
        task_id="send",
        **ORDER,
        to=[f"4477009{place:05d}" for place in range(60)],
    ).expand(delivery=[part for shards in (2, 3) for part in Delivery(messages_per_second=1000).sharded(shards)])

with DAG("slow_shards", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=[f"4477009{place:05d}" for place in range(20)],
        delivery={"shards": 4, "shard": 1, "messages_per_second": 3},
    )

with DAG("kept_red", render_template_as_native_obj=True, **COMMON):

    @task(trigger_rule="all_done")
    def write_to_the_others(sent: dict[str, Any]) -> list[Any]:
        return [[reason["count"], reason["outcome"]] for reason in sent["reasons"]]

    @task
    def done() -> None: ...

    sent = SendTemplateOperator(task_id="send", **ORDER, to="{{ dag_run.conf['to'] }}")
    [sent, write_to_the_others(sent.output)] >> done()  # type: ignore[operator]
