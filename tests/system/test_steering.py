"""A running send, watched and steered: in Airflow's own UI by a browser, and from the command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.report.formats import Line
from airflow_provider_cirrus.delivery.report.page import page_of
from airflow_provider_cirrus.delivery.report.writer import ReportFile
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow
from scripts.processes import Supervised, free_ports
from tests.lines import since
from tests.system.test_connection_form import CHROMIUM, PATIENCE, QUIET
from tests.system.test_inbox import axe as axe
from tests.system.test_scheduler import numbers, until

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
    since(3, 3, has="a task state store"),
]
HERE = Path(__file__).parent
DAG = "cirrus_steering"
PASSWORDS = {"ada": "s3cret-ada", "vera": "s3cret-vera"}


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def own_airflow(tmp_path_factory: pytest.TempPathFactory, own_sandbox: Sandbox) -> Iterator[LocalAirflow]:
    """An Airflow of its own: its API server is restarted, with users who may do more and less."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(HERE / "dags" / "cirrus_steering.py", dags)
    home = tmp_path_factory.mktemp("airflow")
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": own_sandbox.connection_uri,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,vera:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        **PARSE_ONCE,
    }
    with LocalAirflow(home, dags, env=env) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as tools:
        home = str(tmp_path_factory.mktemp("browser"))
        made = tools.chromium.launch(executable_path=CHROMIUM, args=QUIET, env={**os.environ, "HOME": home})
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 1400, "height": 1400})
    made = context.new_page()
    made.set_default_timeout(PATIENCE)
    yield made
    made.screenshot(path=tmp_path / "last.png")
    context.close()


class Watched:
    """What a page asked for, and what its console said."""

    def __init__(self, page: Page) -> None:
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, url: str) -> None:
        if not url.removeprefix("blob:").startswith(("http://127.0.0.1:", "file:", "data:")):
            self.elsewhere.append(url)


def api_server(airflow: LocalAirflow, **env: str) -> Supervised:
    """Start one beside whatever runs."""
    made = Supervised(
        [sys.executable, "-m", "airflow", "api-server"],
        env={**airflow.env, **env},
        log=airflow.home / f"api-server{len(env)}.log",
        cwd=airflow.home,
    )
    made.start()
    return made


def restart_the_api_server(airflow: LocalAirflow) -> Supervised:
    """End it as an upgrade does, and start another one that knows its users apart."""
    for process in airflow.processes():
        words = " ".join(process.cmdline())
        if "api-server" in words or "api_server" in words:
            process.terminate()
    until(lambda: not is_up(airflow), 60, "the end of the API server")
    made = api_server(airflow, AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="False")
    until(lambda: is_up(airflow), 120, "the new API server")
    return made


def is_up(airflow: LocalAirflow, base_url: str = "") -> bool:
    try:
        return httpx.get(f"{base_url or airflow.base_url}/api/v2/version", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def token_of(airflow: LocalAirflow, user: str) -> str:
    answer = httpx.post(
        f"{airflow.base_url}/auth/token",
        json={"username": user, "password": PASSWORDS[user]},
        timeout=30,
        trust_env=False,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def log_in(page: Page, airflow: LocalAirflow, user: str) -> None:
    page.context.add_cookies([{"name": "_token", "value": token_of(airflow, user), "url": airflow.base_url}])


def address(airflow: LocalAirflow, run_id: str) -> str:
    return str(
        httpx.URL(
            f"{airflow.base_url}/cirrus/page/delivery.html",
            params={"dag_id": DAG, "run_id": run_id, "task_id": "send", "map_index": "-1"},
        )
    )


def is_still(sandbox: Sandbox) -> Callable[[], bool]:
    seen: list[int] = []

    def look() -> bool:
        # Ten looks of a tenth of a second.
        seen.append(len(sandbox.messages))
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    return look


def test_nothing_is_served_but_three_files(own_airflow: LocalAirflow) -> None:
    from airflow_provider_cirrus.plugins.cirrus import STATIC

    assert sorted(path.name for path in STATIC.iterdir()) == ["delivery.css", "delivery.html", "delivery.js"]
    for path in ("", "/..%2fcirrus.py", "/../cirrus.py", "/nothing"):
        answer: Any = httpx.get(f"{own_airflow.base_url}/cirrus/page{path}", trust_env=False)
        assert "AirflowPlugin" not in answer.text


def test_shards_obey_together(own_airflow: LocalAirflow, own_sandbox: Sandbox, page: Page) -> None:
    airflow, sandbox = own_airflow, own_sandbox
    airflow.wait_for_dag(f"{DAG}_shards")
    run_id = airflow.trigger(f"{DAG}_shards")
    # Of all three: each has a third of the rate.
    until(lambda: len(sandbox.messages) > 200, 120, "the first messages")
    page.goto(f"{airflow.base_url}/auth/token/login")
    page.goto(f"{airflow.base_url}/dags/{DAG}_shards/runs/{run_id}/tasks/send/mapped/1/plugin/cirrus_delivery")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#state")).to_have_text("Running")
    inside.get_by_role("button", name="Pause").click()
    expect(inside.locator("#state")).to_have_text("Paused by the delivery page")
    until(is_still(sandbox), 20, "the pause of all")
    assert len(sandbox.messages) < 3_000
    done = airflow.cli("cirrus", "resume", f"{DAG}_shards", run_id, "send")
    assert done.returncode == 0, done.stderr
    assert airflow.wait_for_run(f"{DAG}_shards", run_id) == "success"
    assert len(sandbox.messages) == len(set(numbers(sandbox))) == 3_000
    sandbox.reset()


def test_a_send_is_watched_and_steered_by_those_who_may(
    own_airflow: LocalAirflow, own_sandbox: Sandbox, page: Page
) -> None:
    airflow, sandbox, count = own_airflow, own_sandbox, 20_000
    watched = Watched(page)
    airflow.wait_for_dag(DAG)
    assert airflow.import_errors() == {}
    run_id = airflow.trigger(DAG, {"count": count, "rate": 300})
    until(lambda: len(sandbox.messages) > 300, 120, "the first messages")

    # As people find it: by a tab of the task in Airflow's own pages.
    page.goto(f"{airflow.base_url}/auth/token/login")
    page.goto(f"{airflow.base_url}/dags/{DAG}/runs/{run_id}/tasks/send/plugin/cirrus_delivery")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#state")).to_have_text("Running")
    expect(inside.locator("#facts")).to_contain_text("of 300 a second")
    inside.get_by_role("button", name="Pause").click()
    expect(inside.locator("#state")).to_have_text("Paused by the delivery page")
    until(is_still(sandbox), 20, "the pause")
    paused = len(sandbox.messages)
    assert paused < count

    # Somebody else, elsewhere, lets it go on.
    done = airflow.cli("cirrus", "resume", DAG, run_id, "send")
    assert done.returncode == 0, done.stderr
    until(lambda: len(sandbox.messages) > paused, 20, "the rest")
    expect(inside.locator("#state")).to_have_text("Running")

    server = restart_the_api_server(airflow)
    try:
        whoever_may_not_cannot(page, airflow, sandbox, run_id)
        log_in(page, airflow, "ada")
        page.goto(address(airflow, run_id))
        page.get_by_label("At most").fill("5")
        page.get_by_role("button", name="Set rate").click()
        expect(page.locator("#facts")).to_contain_text("of 5 a second")
        page.get_by_role("button", name="Stop …").click()
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("button", name="Stop …").click()
        page.get_by_role("button", name="Stop the send").click()
        expect(page.locator("#state")).to_have_text("Ended")
        expect(page.locator("#facts")).to_contain_text("Unsent")
        headers = {"Authorization": f"Bearer {token_of(airflow, 'ada')}"}
        path = f"{airflow.base_url}/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/send"

        def state() -> str:
            return str(httpx.get(path, headers=headers, trust_env=False).json()["state"])

        # The send says that it has ended before Airflow does.
        until(lambda: state() != "running", 30, "the end of the task")
        ended = state()
        found = httpx.get(f"{path}/xcomEntries/return_value", headers=headers, trust_env=False).json()["value"]
        below_a_path_of_its_own(page, airflow, run_id)
    finally:
        server.stop()
    assert ended == "failed"
    sent = numbers(sandbox)
    assert len(sent) == len(set(sent)), "nobody twice"
    assert found["accepted"] == len(sent)
    assert found["accepted"] + found["unsent"] == count
    assert watched.elsewhere == []
    assert watched.errors == []
    log = "\n".join(path.read_text() for path in (airflow.home / "logs").rglob("*attempt*") if run_id in str(path))
    assert "The send is to be paused (asked for by the delivery page)." in log
    assert "at most 5 messages a second" in log


def whoever_may_not_cannot(page: Page, airflow: LocalAirflow, sandbox: Sandbox, run_id: str) -> None:
    page.context.clear_cookies()
    page.goto(address(airflow, run_id))
    expect(page.locator("#message")).to_contain_text("Airflow does not know you")
    expect(page.locator("#send")).to_be_hidden()
    assert "20,000" not in page.content()
    log_in(page, airflow, "vera")
    page.goto(address(airflow, run_id))
    expect(page.locator("#state")).to_have_text("Running")
    before = len(sandbox.messages)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#answer")).to_contain_text("Airflow does not let you do this")
    until(lambda: len(sandbox.messages) > before + 300, 60, "more messages")
    page.context.clear_cookies()


def below_a_path_of_its_own(page: Page, airflow: LocalAirflow, run_id: str) -> None:
    """An Airflow behind a proxy that gives it a part of a site."""
    (port,) = free_ports(1)
    base_url = f"http://127.0.0.1:{port}/tools/airflow"
    server = api_server(airflow, AIRFLOW__API__BASE_URL=base_url, AIRFLOW__API__PORT=str(port))
    try:
        until(lambda: is_up(airflow, base_url), 120, "the API server below a path")
        page.context.clear_cookies()
        page.goto(f"{base_url}/auth/token/login")
        page.goto(f"{base_url}/dags/{DAG}/runs/{run_id}/tasks/send/plugin/cirrus_delivery")
        expect(page.frame_locator("iframe").locator("#state")).to_have_text("Ended")
        page.goto(f"{base_url}/dags/{DAG}/runs/{run_id}/plugin/cirrus_deliveries")
        page.frame_locator("iframe").get_by_role("link", name="send", exact=True).click()
        expect(page.frame_locator("iframe").locator("#state")).to_have_text("Ended")
        page.goto(f"{base_url}/plugin/cirrus_recent")
        expect(page.frame_locator("iframe").get_by_role("link", name="send", exact=True)).to_be_visible()
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_a_page_that_everybody_can_use(browser: Browser, tmp_path: Path, axe: str, scheme: Any) -> None:
    with ReportFile(str(tmp_path / "r.jsonl")) as report:
        outcomes = [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNSENT]
        report.write(
            [
                Line(at, f"4477009{at:05d}", "k", outcomes[at % 5], None, None, None, "<i>no</i>", 1, 1.8e9 + at)
                for at in range(100)
            ]
        )
    path = tmp_path / "r.html"
    path.write_text(page_of(str(tmp_path / "r.jsonl")))
    page = browser.new_context(color_scheme=scheme).new_page()
    watched = Watched(page)
    page.goto(path.as_uri())
    expect(page.locator("#state")).to_have_text("Ended")
    expect(page.locator("#facts")).to_contain_text("100 of 100")
    expect(page.locator("#reasons")).to_contain_text("<i>no</i>")
    expect(page.locator("#chart svg")).to_be_visible()
    expect(page.locator("#steer")).to_be_hidden()
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 5
    assert [(one["id"], one["impact"]) for one in found["violations"]] == []
    assert (watched.elsewhere, watched.errors) == ([], [])
    page.context.close()
