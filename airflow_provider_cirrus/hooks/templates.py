"""Where a task finds the definitions of its templates: its own folder, or that of the connection."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import from_text, is_true

if TYPE_CHECKING:
    from airflow_provider_cirrus.templates.store import Templates


def templates_in(
    path: Any, languages: Any = None, *, folder: str | None = None, extra: Mapping[str, Any] | None = None
) -> Templates | None:
    """
    Return the definitions that a send goes by; None: it goes by none.

    :param path: of their folder; None: that of the connection
    :param languages: in which to look, in this order, where a message's own language has no definition
    :param folder: of the DAG file, which a relative path begins at; None: where the process works
    :param extra: of the connection
    :raises InvalidInput: no path and no list of languages, or no path where the connection requires definitions
    """
    said = extra or {}
    required = is_true(said.get("require_templates", False), "require_templates")
    chosen = path or said.get("templates_path") or None
    order = _languages(languages)
    if chosen is None:
        if required:
            raise InvalidInput(
                "templates_path",
                "is missing, and the connection requires it (require_templates).",
                hint="Name the folder of the definitions, in the task or in the connection.",
            )
        if order:
            raise InvalidInput("languages", "needs templates_path: which of them there are is in the definitions.")
        return None
    if not isinstance(chosen, str | os.PathLike):
        raise InvalidInput("templates_path", f"is of type {type(chosen).__name__}, not the path of a folder.")
    # Late, as most DAGs have no definitions.
    from airflow_provider_cirrus.templates.store import Templates

    return Templates(os.path.join(folder or "", os.fspath(chosen)), required, order)


def _languages(value: Any) -> tuple[str, ...]:
    value = from_text(value)
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, Sequence) or not all(isinstance(one, str) and one for one in value):
        raise InvalidInput("languages", "is no list of language codes.", hint='Such as ["pt_BR", "pt", "en"].')
    return tuple(value)


def folder_of(dag: Any) -> str | None:
    """Return the folder of a DAG's file; None where it has none, as for a DAG that came out of a database."""
    folder = getattr(dag, "folder", None)
    return folder if isinstance(folder, str) else None
