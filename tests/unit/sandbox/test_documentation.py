from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from airflow_provider_cirrus.sandbox.__main__ import parser
from airflow_provider_cirrus.sandbox.faults import ACTIONS, NAMED, Fault
from airflow_provider_cirrus.sandbox.suffixes import SUFFIXES

PAGE = Path(__file__).parents[3] / "docs" / "sandbox.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def test_every_ending_is_described(page):
    assert re.findall(r"^\| (\d\d) \|", page, re.MULTILINE) == list(SUFFIXES)


def test_every_ready_made_fault_is_described(page):
    described = re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert described == [(name, fault.get("on", "any")) for name, fault in NAMED.items()]


def test_every_field_and_action_of_a_fault_is_described(page):
    names = {field.name for field in fields(Fault) if field.init} - {"name"}
    for name in [*names, *ACTIONS]:
        assert f"`{name}`" in page


def test_every_option_is_described(page):
    options = {option for action in parser()._actions for option in action.option_strings} - {"-h", "--help"}
    assert options == set(re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE))
