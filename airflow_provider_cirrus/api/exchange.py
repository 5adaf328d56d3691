"""One HTTP request and its answer, without the HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_cirrus.api.multipart import MultipartFile


@dataclass(frozen=True)
class Response:
    """One HTTP answer; its headers are found whichever the case of their names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Request:
    """One HTTP request, below the base URL."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | MultipartFile | None = None
    #: True where the server counts or sends something: never repeated once it may have arrived.
    side_effect: bool = False
