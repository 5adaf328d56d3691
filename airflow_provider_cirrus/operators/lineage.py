"""OpenLineage: files that are read as audiences and written as reports, where its provider is installed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit


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
