"""The one door to object storage: the only thing below the hook that needs Airflow, and only for URIs."""

from __future__ import annotations

import os
from typing import Any


def object_path(source: Any) -> Any:
    """
    Return an ``ObjectStoragePath`` for a URI, or for a path that is one already.

    :param source: such as ``s3://conn_id@bucket/key``
    """
    # Late, so that whoever reads and writes plain paths needs no Airflow.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return source if isinstance(source, ObjectStoragePath) else ObjectStoragePath(os.fspath(source))
