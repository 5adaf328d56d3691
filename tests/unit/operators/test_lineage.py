from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.openlineage.extractors import base as extractors

from airflow_provider_cirrus.operators.campaign import CampaignOperator
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator, UploadMediaOperator
from airflow_provider_cirrus.operators.lineage import dataset_of
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator


@pytest.mark.parametrize(
    ("path", "dataset"),
    [
        pytest.param("s3://aws_default@shop/2027/customers.csv", ("s3://shop", "2027/customers.csv"), id="s3"),
        pytest.param("gs://shop/customers.csv", ("gs://shop", "customers.csv"), id="gs"),
        pytest.param("/srv/customers.csv", ("file", "/srv/customers.csv"), id="local"),
        pytest.param(Path("/srv/customers.csv"), ("file", "/srv/customers.csv"), id="path"),
        pytest.param("file:///srv/customers.csv", ("file", "/srv/customers.csv"), id="file-uri"),
    ],
)
def test_a_file_has_the_name_that_openlineage_gives_it(path: Any, dataset: tuple[str, str]) -> None:
    assert dataset_of(path) == dataset


def names(datasets: Any) -> list[tuple[str, str]]:
    return [(one.namespace, one.name) for one in datasets]


def test_openlineage_sees_audience_and_report() -> None:
    """Through the extractor that its provider runs on every task."""
    send = SendTemplateOperator(
        task_id="send", template="t", language="en", audience="/srv/a.csv", report="s3://conn@shop/r.jsonl"
    )
    found = extractors.DefaultExtractor(send).extract()
    assert (names(found.inputs), names(found.outputs)) == ([("file", "/srv/a.csv")], [("s3://shop", "r.jsonl")])
    at_the_end = extractors.DefaultExtractor(send).extract_on_complete(None)
    assert names(at_the_end.outputs) == [("s3://shop", "r.jsonl")]
    few = SendTemplateOperator(task_id="few", template="t", language="en", to="+447700900123")
    assert extractors.DefaultExtractor(few).extract().inputs == []
    upload = UploadMediaOperator(task_id="upload", path="s3://conn@shop/menu.pdf")
    assert names(extractors.DefaultExtractor(upload).extract().inputs) == [("s3://shop", "menu.pdf")]
    campaign = CampaignOperator(task_id="campaign", template="t", language="en", audience_file="/srv/c.csv")
    assert names(extractors.DefaultExtractor(campaign).extract().inputs) == [("file", "/srv/c.csv")]


def test_openlineage_sees_the_tables_of_a_query(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", postgres.replace("postgresql+psycopg2", "postgres"))
    given: dict[str, Any] = {"template": "t", "language": "en", "sql_conn_id": "shop", "report": "/srv/r.csv"}
    send = SqlToCirrusOperator(
        task_id="send", **given, sql="SELECT phone FROM crm.people JOIN orders USING (id) WHERE day = %s;"
    )
    found = extractors.DefaultExtractor(send).extract()
    place = postgres.partition("@")[2].partition("/")[0]
    assert sorted(names(found.inputs)) == [
        (f"postgres://{place}", "postgres.crm.people"),
        (f"postgres://{place}", "postgres.public.orders"),
    ]
    assert names(found.outputs) == [("file", "/srv/r.csv")]


def test_a_database_that_openlineage_does_not_know_has_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "sqlite:////srv/shop.db")
    send = SqlToCirrusOperator(
        task_id="send", template="t", language="en", sql_conn_id="shop", sql="SELECT phone FROM people;"
    )
    assert extractors.DefaultExtractor(send).extract().outputs == []
