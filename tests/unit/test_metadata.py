"""What Airflow reads of the provider, held against Airflow's own schemas."""

from __future__ import annotations

import importlib
import json
import re
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_provider_cirrus import __version__
from airflow_provider_cirrus.get_provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from tests.lines import AIRFLOW, since

CONNECTION_PAGE = Path(__file__).parents[2] / "docs" / "connection.md"


@pytest.mark.parametrize(
    "schema",
    [
        "provider_info.schema.json",
        pytest.param("provider.yaml.schema.json", marks=since(3, 2, has="all of its keys")),
    ],
)
def test_the_metadata_is_valid_under_airflows_schemas(schema: str) -> None:
    jsonschema.validate(get_provider_info(), json.loads(files("airflow").joinpath(schema).read_text()))


@since(3, 2, has="all of its keys")
def test_no_key_is_one_that_airflow_would_ignore() -> None:
    known = json.loads(files("airflow").joinpath("provider.yaml.schema.json").read_text())["properties"]
    assert set(get_provider_info()) <= set(known)


def test_the_package_name_is_the_distributions() -> None:
    assert get_provider_info()["package-name"] == distribution("airflow-provider-cirrus").metadata["Name"]
    assert get_provider_info()["versions"][0] == __version__


def test_every_module_and_class_that_is_named_exists() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                if module.endswith("operators.approval") and AIRFLOW < (3, 1):
                    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"needs Airflow 3\.1 or later"):
                        importlib.import_module(module)
                else:
                    importlib.import_module(module)
    for entry in info["transfers"]:
        importlib.import_module(entry["python-module"])
    for path in info["notifications"]:
        module, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(module), name)
    (connection,) = info["connection-types"]
    module, name = connection["hook-class-name"].rsplit(".", 1)
    hook = getattr(importlib.import_module(module), name)
    assert hook is CirrusHook
    assert (hook.conn_type, hook.hook_name) == (connection["connection-type"], connection["hook-name"])


def test_no_field_is_shown_as_required() -> None:
    assert [name for name, field in CONNECTION_FIELDS.items() if "null" not in field["schema"]["type"]] == []


def test_a_number_in_the_form_has_a_lower_limit() -> None:
    numbers = [field for field in CONNECTION_FIELDS.values() if {"integer", "number"} & set(field["schema"]["type"])]
    assert numbers
    assert [field["label"] for field in numbers if "minimum" not in field["schema"]] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}-{value}")
        for name, field in CONNECTION_FIELDS.items()
        for value in [
            None,
            # What the forms of Airflow 2.11 to 3.1 leave of an empty field.
            "",
            *(field["schema"][limit] for limit in ("minimum", "maximum", "default") if limit in field["schema"]),
            *field["schema"].get("enum", []),
            *([True, False] if "boolean" in field["schema"]["type"] else []),
        ]
    ],
)
def test_the_hook_takes_whatever_the_form_offers(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {name: value, "stream_id": "hExample_streamID_1Aw=="}
    connection = {"conn_type": "cirrus", "password": "a-token", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_FORM", json.dumps(connection))
    hook = CirrusHook("form")
    hook.make_client().close()
    hook.allowlist()
    hook.check_opt_in(["447700900123"])
    hook.conversation_url(1)
    assert hook.messages_per_second >= 1
    assert hook.validations_per_day >= 0
    assert hook.ledger_conn_id is None
    assert hook.allow_large_state is (name == "allow_large_state" and value is True)


def test_airflow_lists_the_provider_and_its_connection() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.providers["airflow-provider-cirrus"].version == __version__
    assert manager.hooks["cirrus"].hook_class_name.endswith("CirrusHook")


@since(3, 2, has="a form that is made of the metadata")
def test_the_connection_forms_api_shows_ours() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (found,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "cirrus"]
    assert found.hook_name == "Cirrus (WhatsApp)"
    fields: dict[str, Any] = dict(found.extra_fields or {})
    assert list(fields) == list(CONNECTION_FIELDS)
    assert {name: field["schema"]["title"] for name, field in fields.items()} == {
        name: field["label"] for name, field in CONNECTION_FIELDS.items()
    }
    standard = found.standard_fields
    assert standard is not None
    assert standard.password is not None
    assert standard.password.title == "API token"
    assert standard.login is not None
    assert standard.login.hidden


def test_the_documentation_shows_the_form_as_it_is() -> None:
    rows = re.findall(r"^\| ([^|]+) \| extra `(\w+)` \| [^|]+ \| ([^|]*)\|$", CONNECTION_PAGE.read_text(), re.M)
    assert [(label, name) for label, name, _ in rows] == [
        (field["label"], name) for name, field in CONNECTION_FIELDS.items()
    ]
    defaults = {
        name: field["schema"]["default"] for name, field in CONNECTION_FIELDS.items() if "default" in field["schema"]
    }
    assert {name: json.loads(default.strip("` ")) for _, name, default in rows if name in defaults} == defaults
