"""
The page of a send in Airflow's UI (3.1 and later).

Routes of a plugin have no authentication of their own, so nothing is served here but three static files. The page asks
Airflow's public REST API, in the session of whoever looks at it: nobody sees more than Airflow lets them, and nobody
can pause what they may not edit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

STATIC = Path(__file__).with_name("static")

# Relative, as Airflow may live below a path of its own.
_PAGE = "cirrus/page/delivery.html"
_RUN = f"{_PAGE}?dag_id={{DAG_ID}}&run_id={{RUN_ID}}"


class _StaticFiles:
    """An ASGI application that loads what it needs when it is first asked: plugins are loaded by every worker, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._files is None:
            from starlette.staticfiles import StaticFiles

            self._files = StaticFiles(directory=self._folder)
        await self._files(scope, receive, send)


class CirrusPlugin(AirflowPlugin):
    """The page of a send, of a run's sends, and of those that ran lately."""

    name = "cirrus"
    fastapi_apps = [  # noqa: RUF012  (as Airflow declares it)
        {"app": _StaticFiles(STATIC), "url_prefix": "/cirrus/page", "name": "Cirrus"}
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Delivery",
            "href": f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "cirrus_delivery",
        },
        {"name": "Deliveries", "href": _RUN, "destination": "dag_run", "url_route": "cirrus_deliveries"},
        {
            "name": "Cirrus deliveries",
            "href": _PAGE,
            "destination": "nav",
            "category": "browse",
            "url_route": "cirrus_recent",
        },
    ]
