"""The sandbox's inbox, as a browser shows it: a bubble, its buttons, and an answer that the API then has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.operators import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor
from tests.unit.templates.definitions import ORDER
from tests.unit.templates.test_check import GOOD

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

HOSTILE = "<script>document.title='taken'</script>\u202e\U0001f6b2"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "order_update.en.json").write_text(json.dumps(ORDER))
    with Sandbox(templates=str(folder)) as running:
        yield running


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of which no console error, no failed request and no request to elsewhere is let pass."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], env={**os.environ, "HOME": str(tmp_path)}
        )
        try:
            made = browser.new_page()
            problems: list[str] = []
            made.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
            made.on("pageerror", lambda error: problems.append(str(error)))
            made.on(
                "request",
                lambda sent: problems.append(sent.url) if not sent.url.startswith("http://127.0.0.1:") else None,
            )
            yield made
            # A browser asks for an icon by itself.
            assert [one for one in problems if "404" not in one] == []
        finally:
            browser.close()


def send(sandbox: Sandbox, name: str = "Ann") -> int:
    """Send one message; return its conversation."""
    fields = {**GOOD["order"], "body": [name, "Friday", "morning"]}
    message = Message.build(
        "+447700900101", {"name": "order_update", "language": "en", **fields}, object_data={"StatusId": 1}
    )
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        (result,) = client.send([message]).results
    assert result.object_id is not None
    return int(result.object_id)


def test_a_button_that_is_pressed_is_an_answer_that_the_api_has(sandbox: Sandbox, page: Page) -> None:
    number = send(sandbox)
    page.goto(sandbox.base_url)
    expect(page.locator(".bubble .body")).to_have_text(
        "Hello Ann, the bicycle that you ordered at our shop arrives on Friday in the morning hours."
    )
    page.get_by_role("link", name=str(number)).click()
    page.get_by_role("button", name="Thank you").click()
    expect(page.locator(".theirs .bubble")).to_have_text("Thank you")
    page.get_by_label("Answer as the customer").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator(".theirs .bubble")).to_have_count(2)
    page.get_by_role("button", name="Answer STOP").click()
    expect(page.locator(".theirs .bubble")).to_have_count(3)
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        found = client.get_conversation(number)
    assert [one.message for one in found.childs if one.from_customer] == ["Thank you", HOSTILE, "STOP"]


def test_the_operator_sends_a_person_presses_and_the_sensor_ends(
    sandbox: Sandbox, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri)
    fields = {**GOOD["order"], "template": "order_update", "language": "en"}
    send_it = SendTemplateOperator(task_id="send", to="+447700900101", **fields, object_data={"StatusId": 1})
    ti = SimpleNamespace(
        try_number=1, max_tries=0, dag_id="d", run_id="r", task_id="send", map_index=-1, xcom_push=lambda **_: None
    )
    found = send_it.execute({"ti": ti, "task": send_it})  # type: ignore[typeddict-item]
    sensor = ConversationSensor(task_id="wait", object_id=found, reply=True)
    assert not sensor.poke({})
    page.goto(f"{sandbox.base_url}/?query=template:order_update")
    page.get_by_role("link", name=str(found["outcomes"][0]["object_id"])).click()
    page.get_by_role("button", name="Thank you").click()
    expect(page.locator(".theirs .bubble")).to_have_text("Thank you")
    assert sensor.poke({})


def test_what_comes_in_is_shown_at_once(sandbox: Sandbox, page: Page) -> None:
    page.goto(sandbox.base_url)
    expect(page.locator(".bubble")).to_have_count(0)
    number = send(sandbox)
    expect(page.locator(".bubble")).to_have_count(1)
    page.goto(f"{sandbox.base_url}/conversations/{number}")
    expect(page.locator(".theirs")).to_have_count(0)
    sandbox.answer(number, "On my way")
    expect(page.locator(".theirs .bubble")).to_have_text("On my way")


def test_a_hostile_parameter_is_text(sandbox: Sandbox, page: Page) -> None:
    send(sandbox, "<img src=x onerror=\"document.title='taken'\"> \U0001f6b2")
    page.goto(sandbox.base_url)
    expect(page.locator(".bubble .body")).to_contain_text("Hello <img src=x onerror=")
    assert page.title() == "Cirrus sandbox"
    assert page.locator(".bubble img").count() == 0


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from the registry that npm is set up for."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, for axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4.10.3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.skip("axe-core cannot be installed here")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_can_be_used_by_everybody(sandbox: Sandbox, tmp_path: Path, axe: str, scheme: Any) -> None:
    number = send(sandbox)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], env={**os.environ, "HOME": str(tmp_path)}
        )
        # The policy of the pages lets no script in but their own.
        page = browser.new_context(color_scheme=scheme, bypass_csp=True).new_page()
        for path in ("/", f"/conversations/{number}"):
            page.goto(sandbox.base_url + path)
            page.evaluate(axe)
            found = page.evaluate("axe.run()")
            assert len(found["passes"]) > 5
            assert [(one["id"], one["impact"]) for one in found["violations"]] == []
        browser.close()
