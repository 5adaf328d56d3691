"""The definitions of templates that a notice has to fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.hooks.templates import folder_of, templates_in

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cirrus.templates.store import Templates


def templates_of(path: Any, extra: Mapping[str, Any], context: Context) -> Templates | None:
    """
    Return the definitions that a notice goes by; None: it goes by none.

    :param path: of their folder; None: that of the connection
    :param extra: of the connection
    :param context: where the notice is sent from: a relative path begins at the file of its DAG
    :raises InvalidInput: there are none, and the connection requires them
    """
    return templates_in(path, folder=folder_of(context.get("dag")), extra=extra)


def check_definition(path: Any, message: Mapping[str, Any]) -> None:
    """
    Check what is written out in a DAG file, where it is known where the definitions are.

    :param path: of their folder: a notifier is made before its DAG, and does not know where a relative one begins
    :param message: what all notices share; templated in parts
    :raises InvalidInput: the first parameter that does not fit, with the template's text
    """
    if path is None or not is_literal(path) or not os.path.isabs(path):
        return
    # Late, as most DAGs have no definitions.
    from airflow_provider_cirrus.delivery.audience.columns import Columns
    from airflow_provider_cirrus.hooks.template_check import check_literals

    templates = templates_in(path)
    if templates is not None:
        check_literals(templates, message, Columns())
