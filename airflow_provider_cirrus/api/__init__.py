"""
The Cirrus API without Airflow: usable from a plain script.

Importing this package costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.async_client import AsyncCirrusClient as AsyncCirrusClient
    from airflow_provider_cirrus.api.client import CirrusClient as CirrusClient
    from airflow_provider_cirrus.api.errors import CirrusError as CirrusError
    from airflow_provider_cirrus.api.models import Message as Message
    from airflow_provider_cirrus.api.models import ObjectData as ObjectData
    from airflow_provider_cirrus.api.models import Template as Template
    from airflow_provider_cirrus.api.results import Outcome as Outcome
    from airflow_provider_cirrus.api.results import Result as Result
    from airflow_provider_cirrus.api.results import SendResult as SendResult

_HOME = {
    "AsyncCirrusClient": "async_client",
    "CirrusClient": "client",
    "CirrusError": "errors",
    "Message": "models",
    "ObjectData": "models",
    "Outcome": "results",
    "Result": "results",
    "SendResult": "results",
    "Template": "models",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
