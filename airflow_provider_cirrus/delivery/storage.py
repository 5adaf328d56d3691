"""
The one door to files: local ones, and those of object storage. The only thing below the hook that needs Airflow, and
only for URIs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput

# Bytes that are fetched at once.
_FETCHED = 4 * 1024 * 1024


def object_path(source: Any) -> Any:
    """
    Return an ``ObjectStoragePath`` for a URI, or for a path that is one already.

    :param source: such as ``s3://conn_id@bucket/key``
    """
    # Late, so that whoever reads and writes plain paths needs no Airflow.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return source if isinstance(source, ObjectStoragePath) else ObjectStoragePath(os.fspath(source))


def open_source(path: Any) -> Any:
    """
    Open a file for reading, in binary, without holding much of it in memory.

    :param path: a ``Path`` or an ``ObjectStoragePath``
    """
    # By itself the client of S3 fetches 50 MB at once, and holds them twice.
    options = {"block_size": _FETCHED} if hasattr(path, "fs") else {}
    return path.open("rb", **options)


def create_private(path: str) -> Any:
    """
    Make a file of this machine that its owner alone may read, and open it for writing in binary.

    :raises FileExistsError: it is there
    """
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def write_text(source: Any, text: str, field: str) -> None:
    """
    Write a file that is there or is not.

    :param source: a path, a URI, or an ``ObjectStoragePath``
    :param field: how errors name it
    :raises InvalidInput: it cannot be written
    """
    path: Any = Path(str(source)) if "://" not in str(source) else object_path(source)
    try:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise InvalidInput(field, f"{str(source)!r} cannot be written ({error.strerror}).") from error


def open_file(source: Any, field: str) -> Any:
    """
    Open a file for reading, in binary.

    :param source: a path, a URI, or an ``ObjectStoragePath``
    :param field: how errors name it
    :raises InvalidInput: there is none, or it may not be read
    """
    path: Any = Path(str(source)) if "://" not in str(source) else object_path(source)
    try:
        return open_source(path)
    except FileNotFoundError:
        raise InvalidInput(field, f"there is no file {str(source)!r}.", hint="The worker must see the file.") from None
    except IsADirectoryError:
        raise InvalidInput(field, f"{str(source)!r} is a directory.", hint="Give one file.") from None
    except PermissionError:
        raise InvalidInput(field, f"{str(source)!r} may not be read.") from None
