from __future__ import annotations

import importlib

import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_cirrus.get_provider_info import get_provider_info
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator


@pytest.mark.parametrize("operator", [SendTemplateOperator, SqlToCirrusOperator])
def test_what_sends_has_the_link(operator: type) -> None:
    assert [(link.name, link.xcom_key) for link in operator.operator_extra_links] == [
        ("Conversation", "conversation_url")
    ]


def test_airflow_knows_the_link() -> None:
    # Airflow 2.11 drops every link of a task if one is not registered.
    (path,) = get_provider_info()["extra-links"]
    module, name = path.rsplit(".", 1)
    assert isinstance(SendTemplateOperator.operator_extra_links[0], getattr(importlib.import_module(module), name))
    assert path in ProvidersManager().extra_links_class_names


def test_a_wrong_console_url_is_told_by_the_connections_test(
    cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{cirrus_default.connection_uri}&console_url=c.example.com")
    works, said = CirrusHook().test_connection()
    assert not works
    assert "console_url: 'no scheme' is no https:// address" in said
