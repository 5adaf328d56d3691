"""OpenLineage: files that are read as audiences and written as reports, where its provider is installed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

# Of the drivers: what OpenLineage's parser takes for no SQL.
_PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|\?|(?<![:\w]):\w+")


def dataset_of(path: Any) -> tuple[str, str]:
    """
    Return namespace and name of a file, as OpenLineage's naming rules have them.

    :param path: local path, ``ObjectStoragePath``, or URI such as ``s3://conn_id@bucket/key``
    :return: ``("file", "/srv/audience.csv")``, or ``("s3://bucket", "key")``: the connection is left out
    """
    text = str(path)
    if "://" not in text or text.startswith("file://"):
        return "file", os.path.abspath(text.removeprefix("file://"))
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/") or "/"


def lineage_of(reads: Iterable[Any], writes: Iterable[Any]) -> Any:
    """
    Return what an operator reads and writes.

    Called by OpenLineage's provider alone: it is not needed otherwise.

    :param reads: paths or URIs
    :param writes: paths or URIs
    :return: its ``OperatorLineage``
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    def datasets(paths: Iterable[Any]) -> list[Any]:
        return [Dataset(namespace=namespace, name=name) for namespace, name in map(dataset_of, paths)]

    return OperatorLineage(inputs=datasets(reads), outputs=datasets(writes))


def tables_of(sql: str, hook: Any, conn_id: str, database: str | None) -> list[Any]:
    """
    Return the tables that a query reads, as far as the hook of its database can be asked; no query is sent.

    :param hook: a ``DbApiHook``
    :param conn_id: the connection that it is of
    :return: OpenLineage's datasets
    """
    from airflow.providers.openlineage.sqlparser import SQLParser

    connection = hook.get_connection(conn_id)
    try:
        info = hook.get_openlineage_database_info(connection)
        dialect = hook.get_openlineage_database_dialect(connection)
    except (AttributeError, NotImplementedError):
        return []
    if info is None:
        return []
    parser = SQLParser(dialect=dialect, default_schema=hook.get_openlineage_default_schema())
    found = parser.generate_openlineage_metadata_from_sql(
        sql=_PLACEHOLDER.sub("NULL", sql), hook=hook, database_info=info, database=database, use_connection=False
    )
    return list(found.inputs)
