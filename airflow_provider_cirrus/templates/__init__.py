"""
Templates as code: definitions in Meta's message-template JSON, kept beside the DAGs that send them.

``definitions`` reads them, ``store`` finds them in a folder, ``check`` compares them with what a message fills in,
``lint`` with Meta's limits, ``render`` shows what the recipient sees, ``markup`` what WhatsApp makes of ``*bold*``. A
new limit is a function in ``lint``, a new kind of component a class in ``definitions`` and a branch in ``check`` and
``render``. Pure: nothing here knows Airflow, sends, or asks Cirrus, which has no call that lists templates.
"""

from airflow_provider_cirrus.templates.check import Mismatch, check
from airflow_provider_cirrus.templates.definitions import Definition, read_definition
from airflow_provider_cirrus.templates.lint import Finding, lint
from airflow_provider_cirrus.templates.render import Preview, render
from airflow_provider_cirrus.templates.store import Templates

__all__ = [
    "Definition",
    "Finding",
    "Mismatch",
    "Preview",
    "Templates",
    "check",
    "lint",
    "read_definition",
    "render",
]
