"""The connection form, as a browser shows it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from airflow_provider_cirrus.get_provider_info import CONNECTION_FIELDS
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

# Nothing that would look for anything outside this machine.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 30_000  # milliseconds; the first page takes seconds on a busy machine

# Airflow's own two, which alone are marked as required.
ALWAYS = ["Connection ID *", "Connection Type *"]
LABELS = [field["label"] for field in CONNECTION_FIELDS.values()]


@contextmanager
def browsing(airflow: LocalAirflow, evidence: Path) -> Iterator[Page]:
    """A logged-in browser on the list of connections; a failure leaves a picture of the page as ``evidence``."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as tools:
        # A home of its own: nothing is left in, or taken from, that of whoever runs the tests.
        browser = tools.chromium.launch(
            executable_path=CHROMIUM, args=QUIET, env={**os.environ, "HOME": str(evidence.parent)}
        )
        try:
            page = browser.new_page(
                locale="en-US",
                permissions=["clipboard-read", "clipboard-write"],
                viewport={"width": 1280, "height": 1800},
            )
            page.set_default_timeout(PATIENCE)
            try:
                page.goto(f"{airflow.base_url}/auth/token/login")
                page.goto(f"{airflow.base_url}/connections")
                yield page
            except BaseException as error:
                page.screenshot(path=evidence)
                error.add_note(f"What the browser showed: {evidence}")
                raise
        finally:
            browser.close()


def new_connection(page: Page) -> Locator:
    """Open the empty form for our type."""
    page.get_by_role("button", name="Add Connection").first.click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox", name="Connection Type").fill("Cirrus")
    page.get_by_role("option", name="Cirrus (WhatsApp)", exact=True).click()
    return form


def show(form: Locator, section: str) -> None:
    form.get_by_role("button", name=section, exact=True).click()


def labels(form: Locator) -> Locator:
    """The labels of the fields that are shown; a switch is a label, too, without text."""
    return form.locator("label:visible", has_text=re.compile(r"\S"))


def row(form: Locator, label: str) -> Locator:
    """The row of one field: Airflow does not tie the labels of text fields to their inputs."""
    exactly = form.page.locator("label", has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
    return form.get_by_role("group").filter(has=exactly)


def control(form: Locator, name: str) -> Locator:
    """What a person fills in, of the kind that suits the field's type."""
    field = CONNECTION_FIELDS[name]
    if "enum" in field["schema"]:
        role = "combobox"
    elif "boolean" in field["schema"]["type"]:
        role = "checkbox"
    elif {"integer", "number"} & set(field["schema"]["type"]):
        role = "spinbutton"
    else:
        role = "textbox"
    named = {"name": "Editor content"} if "object" in field["schema"]["type"] else {}
    return row(form, field["label"]).get_by_role(role, **named)


def paste(editor: Locator, text: str) -> None:
    """Put text into a JSON editor, which would close the brackets that are typed."""
    editor.page.evaluate("text => navigator.clipboard.writeText(text)", text)
    editor.focus()
    editor.page.keyboard.press("ControlOrMeta+a")
    editor.page.keyboard.press("ControlOrMeta+v")


def save(form: Locator) -> None:
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()


def stored(airflow: LocalAirflow, connection_id: str) -> dict[str, Any]:
    connection: dict[str, Any] = airflow.request("GET", f"/api/v2/connections/{connection_id}")
    return connection | {"extra": json.loads(connection["extra"])}


def try_out(airflow: LocalAirflow, connection_id: str) -> dict[str, Any]:
    """Ask Airflow to test the stored connection; the button of Airflow 3.3.2 fails where there is no port."""
    asked = {"connection_id": connection_id, "conn_type": "cirrus"}
    answer: dict[str, Any] = airflow.request("POST", "/api/v2/connections/test", json=asked)
    return answer


def test_the_form_shows_every_field_with_its_help(airflow: LocalAirflow, tmp_path: Path) -> None:
    with browsing(airflow, tmp_path / "form.png") as page:
        form = new_connection(page)
        # As a list: nothing is missing, nothing else is there, and no other one has a star.
        expect(labels(form)).to_have_text([*ALWAYS, "Description", "Host", "API token"])
        expect(form.get_by_label("API token")).to_have_attribute("type", "password")

        show(form, "Extra Fields")
        expect(labels(form)).to_have_text([*ALWAYS, *LABELS])
        for name, field in CONNECTION_FIELDS.items():
            expect(row(form, field["label"])).to_contain_text(field["description"])
            expect(row(form, field["label"]).locator("[required], [aria-required=true]")).to_have_count(0)
            expect(control(form, name)).to_have_count(1)
            default = field["schema"].get("default")
            if isinstance(default, bool):
                expect(control(form, name)).to_be_checked(checked=default)
            elif default is not None:
                expect(control(form, name)).to_have_value(str(default))
        expect(row(form, "API version")).to_contain_text("standard")


def test_what_is_filled_in_is_kept_and_leads_to_cirrus(airflow: LocalAirflow, sandbox: Sandbox, tmp_path: Path) -> None:
    with browsing(airflow, tmp_path / "form.png") as page:
        form = new_connection(page)
        form.get_by_label("Connection ID").fill("cirrus_form")
        form.get_by_label("Host").fill(sandbox.base_url)
        form.get_by_label("API token").fill(sandbox.token)
        show(form, "Extra Fields")
        control(form, "stream_id").fill(sandbox.stream_id)
        paste(control(form, "streams"), '{"support": "hSupport_streamID_1Aw=="}')
        expect(row(form, "Named streams")).to_contain_text("hSupport_streamID_1Aw==")
        control(form, "allowed_recipients").fill("+44 7700 900, +1 212 555")
        control(form, "messages_per_second").fill("20")
        control(form, "validations_per_day").fill("")
        control(form, "timeout").fill("2.5")
        control(form, "api_version").click()
        page.get_by_role("option", name="v2", exact=True).click()
        save(form)

        # What was left alone is kept as it was shown.
        extra = {name: field["schema"].get("default") for name, field in CONNECTION_FIELDS.items()} | {
            "stream_id": sandbox.stream_id,
            "streams": {"support": "hSupport_streamID_1Aw=="},
            "allowed_recipients": "+44 7700 900, +1 212 555",
            "messages_per_second": 20,
            "validations_per_day": None,
            "timeout": 2.5,
            "api_version": "v2",
        }
        connection = stored(airflow, "cirrus_form")
        assert connection["extra"] == extra
        assert (connection["conn_type"], connection["host"]) == ("cirrus", sandbox.base_url)
        said = {"status": True, "message": f"Cirrus at {sandbox.base_url} knows the token and the stream."}
        assert try_out(airflow, "cirrus_form") == said

        # Who comes back to change one thing finds the others, and does not have to know the token.
        page.get_by_role("row", name="cirrus_form").get_by_role("button", name="Edit Connection").click()
        form = page.get_by_role("dialog")
        expect(form.get_by_label("API token")).to_have_value("***")
        show(form, "Extra Fields")
        expect(control(form, "timeout")).to_have_value("2.5")
        expect(row(form, "Named streams")).to_contain_text("hSupport_streamID_1Aw==")
        expect(row(form, "API version")).to_contain_text("v2")
        control(form, "messages_per_second").fill("10")
        save(form)
        assert stored(airflow, "cirrus_form")["extra"] == extra | {"messages_per_second": 10}
        assert try_out(airflow, "cirrus_form") == said
