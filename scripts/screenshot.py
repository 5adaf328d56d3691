"""
Take the pictures that the documentation shows: of the sandbox's inbox, and of the page of a send.

python -m scripts.screenshot docs/images/inbox.png docs/images/delivery.png

Needs Chromium. Numbers and names are invented.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.report.page import in_one_file
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.processes import ROOT

TEMPLATES = ROOT / "example_dags" / "templates"
PERSON = "+447700900142"
# A send that is under way, as its task tells of it.
PROGRESS: dict[str, Any] = {
    "title": "bicycle_shop · summer · send",
    "state": "running",
    "total": 20_000,
    "counts": {
        "accepted": 12_480,
        "rejected": 214,
        "suppressed": 1_302,
        "duplicate": 41,
        "unknown": 0,
        "unsent": 0,
    },
    "seconds": 160.0,
    "limit": 80,
    "reasons": [
        {"outcome": "suppressed", "code": None, "reason": "suppression: on the list", "count": 1_302},
        {"outcome": "rejected", "code": 131026, "reason": "Message undeliverable", "count": 214},
        {"outcome": "duplicate", "code": None, "reason": "the same message stands earlier", "count": 41},
    ],
    "countries": {"GB": 9_310, "DE": 1_920, "BR": 1_250},
    "history": [[at, at * 78, at * 1.34, at * 8.1, at * 0.26, 0, 0] for at in range(0, 161, 5)],
}
NAMES = ("Ann", "Ben", "Chloe", "Dev", "Ella", "Finn", "Gus", "Hana", "Ines", "Jo", "Kit", "Lea")


def main() -> int:
    """Take the pictures."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    options.add_argument("inbox", type=Path)
    options.add_argument("delivery", type=Path)
    given = options.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not there: apt-get install chromium", file=sys.stderr)
        return 1
    for path in (given.inbox, given.delivery):
        path.parent.mkdir(parents=True, exist_ok=True)
    with Sandbox(templates=str(TEMPLATES)) as sandbox:
        fill(sandbox)
        take(chromium, f"{sandbox.base_url}/to/{PERSON.removeprefix('+')}", given.inbox)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(in_one_file(PROGRESS), encoding="utf-8")
        take(chromium, page.as_uri(), given.delivery)
    return 0


def fill(sandbox: Sandbox) -> None:
    """Send what the picture shows, and answer some of it."""
    baggage = {"airflow.dag_id": "bicycle_shop"}
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, baggage=baggage) as client:
        for place, name in enumerate(NAMES):
            order = {"order": f"A-{1042 + place}", "status": "packed" if place % 2 else "on its way"}
            client.send([message(f"+4477009001{place:02d}", "order_update", order, f"A-{1042 + place}")])
            if place == 4:
                client.send([message("+447700900191", "order_update", order, "A-1")])
            if place == 8:
                later = {"schedule": 4_000_000_000, "body": ["tomorrow at 09:30"], "object_data": {}}
                template = {"name": "appointment_reminder", "language": "en", "body": later.pop("body")}
                client.send([Message.build("+447700900150", template, **later)])
            if place == 9:
                told = {"name": name, "shop": "Mill Road"}
                client.send([message(PERSON, "bicycle_ready", told, "R-204", header="R-204")])
        sandbox.answer(sandbox.conversations[-1]["objectId"], "I am on my way")
        client.send([message(PERSON, "order_update", {"order": "R-204", "status": "paid"}, "R-204")])


def message(to: str, name: str, body: dict[str, str], link: str, header: str | None = None) -> Message:
    """Return a message whose last button opens a link."""
    parts: dict[str, Any] = {
        "body": body,
        "buttons": [{"type": "url", "index": 0 if header is None else 1, "text": link}],
    }
    if header is not None:
        parts["header"] = {"type": "text", "text": header, "parameter_name": "ticket"}
    opens = {} if header is None else {"object_data": {"StatusId": 1}}
    return Message.build(to, {"name": name, "language": "en", **parts}, **opens)


def take(chromium: str, url: str, path: Path) -> None:
    """Take the picture of a page."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home, sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], env={**os.environ, "HOME": home}
        )
        page = browser.new_page(viewport={"width": 1100, "height": 760}, color_scheme="light")
        page.goto(url)
        page.screenshot(path=str(path))
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
