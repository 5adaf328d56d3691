"""
A local stand-in for the Cirrus WhatsApp API, for people and tests without an account.

Start it with ``python -m airflow_provider_cirrus.sandbox``, or inside a test::

    from airflow_provider_cirrus.sandbox import Sandbox

    with Sandbox() as sandbox:
        ...  # sandbox.base_url, sandbox.connection_uri, sandbox.messages

It needs the extra ``airflow-provider-cirrus[sandbox]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.faults import http_date
    from airflow_provider_cirrus.sandbox.server import Sandbox

__all__ = ["Sandbox", "http_date"]

INSTALL_HINT = (
    "The sandbox needs jinja2, starlette, uvicorn and python-multipart: install airflow-provider-cirrus[sandbox]"
)
_NEEDED = {"jinja2", "markupsafe", "python_multipart", "starlette", "uvicorn"}


def __getattr__(name: str) -> Any:
    # Lazy, so that a worker that merely scans the package never pays for a web server.
    if name == "http_date":
        from airflow_provider_cirrus.sandbox.faults import http_date

        return http_date
    if name == "Sandbox":
        try:
            from airflow_provider_cirrus.sandbox.server import Sandbox
        except ModuleNotFoundError as exc:
            if exc.name and exc.name.partition(".")[0] in _NEEDED:
                raise ImportError(INSTALL_HINT, name=exc.name) from exc
            raise
        return Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
