"""The sandbox's inbox, as a browser shows it: a bubble, its buttons, and an answer that the API then has."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
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
from tests.unit.templates.definitions import ORDER, PICTURE
from tests.unit.templates.test_check import GOOD

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

# A picture of one point.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
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
            assert problems == []
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
    page.get_by_role("link", name="447700900101").click()
    expect(page.locator(".bubble .body")).to_have_text(
        "Hello Ann, the bicycle that you ordered at our shop arrives on Friday in the morning hours."
    )
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
    page.get_by_role("link", name="447700900101").click()
    page.get_by_role("button", name="Thank you").click()
    expect(page.locator(".theirs .bubble")).to_have_text("Thank you")
    assert sensor.poke({})


def test_what_comes_in_is_shown_at_once(sandbox: Sandbox, page: Page) -> None:
    page.goto(sandbox.base_url)
    expect(page.locator(".people li")).to_have_count(0)
    number = send(sandbox)
    expect(page.locator(".people li")).to_have_count(1)
    expect(page.locator(".chart rect.accepted")).to_have_count(1)
    page.goto(f"{sandbox.base_url}/conversations/{number}")
    expect(page.locator(".ours .bubble")).to_have_count(1)
    expect(page.locator(".theirs")).to_have_count(0)
    page.get_by_label("Answer as the customer").fill("half a sen")
    sandbox.answer(number, "On my way")
    expect(page.locator(".theirs .bubble")).to_have_text("On my way")
    expect(page.locator(".timeline .answered")).to_have_count(1)
    expect(page.get_by_label("Answer as the customer")).to_have_value("half a sen")
    send(sandbox, "Ben")
    expect(page.locator(".ours .bubble")).to_have_count(2)


def test_a_hostile_parameter_is_text(sandbox: Sandbox, page: Page) -> None:
    send(sandbox, "<img src=x onerror=\"document.title='taken'\"> \U0001f6b2")
    for path in ("/to/447700900101", "/messages/1"):
        page.goto(sandbox.base_url + path)
        expect(page.locator(".bubble .body").first).to_contain_text("Hello <img src=x onerror=")
        assert page.title().endswith("Cirrus sandbox")
        assert page.locator(".bubble img").count() == 0
    page.goto(sandbox.base_url)
    expect(page.locator(".people .line")).to_contain_text("Hello <img src=x")
    assert page.title() == "Cirrus sandbox"


def test_it_can_be_used_by_the_keyboard_alone(sandbox: Sandbox, page: Page) -> None:
    send(sandbox)
    page.goto(sandbox.base_url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("Search").focus()
    page.keyboard.type("to:900101")
    page.keyboard.press("Enter")
    expect(page.locator(".people li")).to_have_count(1)
    page.locator(".people li a").focus()
    page.keyboard.press("Enter")
    thank_you = page.get_by_role("button", name="Thank you")
    thank_you.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".theirs .bubble")).to_have_text("Thank you")


def test_faults_are_set_in_a_form(sandbox: Sandbox, page: Page) -> None:
    page.goto(f"{sandbox.base_url}/faults")
    page.get_by_label("ready-made").select_option("refused")
    page.get_by_label("reason of a refusal").fill("not today")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#faults tbody tr")).to_have_count(1)
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        client.send([Message.build("+447700900102", {"name": "order_update", "language": "en", **GOOD["order"]})])
    expect(page.locator("#faults tbody")).to_contain_text("1 of 1")
    page.goto(f"{sandbox.base_url}/to/447700900102")
    expect(page.locator(".failed .problem")).to_have_text("Refused: not today")
    page.goto(f"{sandbox.base_url}/faults")
    page.get_by_role("button", name="Remove fault 1").click()
    expect(page.locator("#faults tbody tr")).to_have_count(0)


def test_a_picture_is_shown_in_its_bubble(sandbox: Sandbox, page: Page, tmp_path: Path) -> None:
    (tmp_path / "templates" / "new_bicycle.en.json").write_text(json.dumps(PICTURE))
    picture = BytesIO(base64.b64decode(PIXEL))
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        header = client.upload_media(picture, "pixel.png", "image/png")
        media = {"type": "image", "id": header.id}
        template = {"name": "new_bicycle", "language": "en", **GOOD["picture"], "header": media}
        assert client.send([Message.build("+447700900101", template)]).counts == {"accepted": 1}
    page.goto(f"{sandbox.base_url}/to/447700900101")
    shown = page.locator(".bubble img")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.naturalWidth") == 1


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
        sandbox.add_fault("drop_after", times=None, probability=0.1)
        sandbox.answer(number, "Thank you")
        for path in ("/", "/?query=order", f"/conversations/{number}", "/messages/1", "/files", "/faults", "/to/1"):
            page.goto(sandbox.base_url + path)
            page.evaluate(axe)
            found = page.evaluate("axe.run()")
            assert len(found["passes"]) > 5
            assert [(one["id"], one["impact"]) for one in found["violations"]] == []
        browser.close()
