"""A sandbox that remembers what it has seen when it has ended."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.__main__ import main
from airflow_provider_cirrus.sandbox.archive import Archive, ArchiveError

TEMPLATE = {"name": "order_update", "language": "en", "body": ["Ann"]}


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "sandbox.db")


def send(sandbox: Sandbox, *recipients: str, **more: Any) -> None:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        client.send([Message.build(f"+{recipient}", TEMPLATE, **more) for recipient in recipients])


def upload(sandbox: Sandbox) -> str:
    answer = httpx.post(
        f"{sandbox.base_url}/whatsapp/uploadmedia/{sandbox.stream_id.replace('=', '%3D')}",
        files={"pic": ("a.png", b"\x89PNG", "image/png")},
        headers={"Authorization": f"Bearer {sandbox.token}"},
        trust_env=False,
    )
    return str(answer.json()["data"][0]["id"])


def everything(sandbox: Sandbox) -> dict[str, Any]:
    inbox: dict[str, Any] = httpx.get(f"{sandbox.base_url}/inbox.json", trust_env=False).json()
    return {**inbox, "conversations": sandbox.conversations}


def test_what_was_seen_is_there_again_and_numbers_go_on(file: str) -> None:
    with Sandbox(data=file) as sandbox:
        send(sandbox, "447700900101", "447700900190", object_data={})
        media_id = upload(sandbox)
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            client.validate_contact("+447700900101")
        sandbox.answer(sandbox.conversations[0]["objectId"], "Thank you")
        httpx.get(f"{sandbox.base_url}/to/447700900101", trust_env=False)
        before = everything(sandbox)
    with Sandbox(data=file) as sandbox:
        assert everything(sandbox) == before
        assert before["messages"][0]["read"]
        assert httpx.get(f"{sandbox.base_url}/_sandbox/media/{media_id}", trust_env=False).content == b"\x89PNG"
        send(sandbox, "447700900101", object_data={})
        assert [message["number"] for message in sandbox.messages] == [1, 2]
        assert sandbox.counts["duplicates"] == 1
        assert len({message["id"] for message in sandbox.messages}) == 2
        assert [one["objectId"] for one in sandbox.conversations] == [70001, 70002]
        assert upload(sandbox) != media_id


def test_what_is_deleted_or_forgotten_does_not_come_back(file: str) -> None:
    with Sandbox(data=file) as sandbox:
        send(sandbox, "447700900101", "447700900102")
        httpx.delete(f"{sandbox.base_url}/_sandbox/messages?query=to:101", trust_env=False)
    with Sandbox(data=file) as sandbox:
        assert [one["recipient"] for one in sandbox.messages] == ["447700900102"]
        sandbox.reset()
        send(sandbox, "447700900103", object_data={})
    with Sandbox(data=file) as sandbox:
        assert [(one["number"], one["recipient"]) for one in sandbox.messages] == [(1, "447700900103")]
        assert len(sandbox.conversations) == 1


def test_a_sandbox_that_stops_and_starts_keeps_what_changed_in_between(file: str) -> None:
    sandbox = Sandbox(data=file)
    sandbox.start()
    send(sandbox, "447700900101", object_data={})
    sandbox.stop()
    sandbox.reset()
    sandbox.start()
    send(sandbox, "447700900102")
    sandbox.stop()
    with Sandbox(data=file) as other:
        assert [one["recipient"] for one in other.messages] == ["447700900102"]
        assert other.conversations == []


def test_no_more_is_kept_than_was_asked_for(file: str) -> None:
    with Sandbox(data=file, keep=3) as sandbox:
        for number in range(5):
            send(sandbox, f"44770090010{number}", object_data={})
            upload(sandbox)
    with Sandbox(data=file) as sandbox:
        assert [one["number"] for one in sandbox.messages] == [3, 4, 5]
        assert len(sandbox.conversations) == len(sandbox.uploads) == 3
    with Sandbox(data=file, keep=2) as sandbox:
        assert [one["number"] for one in sandbox.messages] == [4, 5]
    with Sandbox(data=file) as sandbox:
        assert [one["number"] for one in sandbox.messages] == [4, 5]


def test_what_is_too_old_goes(file: str, eventually: Callable[[Callable[[], bool]], None]) -> None:
    with Sandbox(data=file, keep_for=0.2) as sandbox:
        send(sandbox, "447700900101", object_data={})
        upload(sandbox)
        # Looked for once a second.
        eventually(lambda: sandbox.messages == [] and sandbox.uploads == [] and sandbox.conversations == [])
        assert sandbox.counts["accepted"] == 1
    with Sandbox(data=file) as sandbox:
        assert (sandbox.messages, sandbox.uploads, sandbox.conversations) == ([], [], [])
        assert sandbox.counts["accepted"] == 1


def test_a_sandbox_that_is_killed_loses_half_a_second_at_most(file: str) -> None:
    archive = Archive(file)
    archive.put("message", "1", {"a": 1})
    deadline = time.monotonic() + 5
    # As another process would see it after the kill.
    while (
        sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True).execute("SELECT key FROM items").fetchall() == []
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    archive.close()


def test_the_newest_value_of_a_key_counts_and_keeps_its_place(file: str) -> None:
    archive = Archive(file)
    for key in ("b", "a", "c"):
        archive.put("message", key, {"key": key})
    archive.close()
    archive = Archive(file)
    archive.put("message", "b", {"key": "b", "read": True})
    archive.drop("message", "a")
    archive.close()
    archive = Archive(file)
    assert archive.load("message") == {"b": {"key": "b", "read": True}, "c": {"key": "c"}}
    archive.close()


def test_others_cannot_read_the_file(file: str) -> None:
    with Sandbox(data=file):
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600


def test_one_sandbox_at_a_time(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Sandbox(data=file):
        with pytest.raises(ArchiveError, match="another sandbox uses it"):
            Sandbox(data=file).start()
        assert main(["--port", "0", "--data", file]) == 1
    assert "--data: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        pytest.param(lambda path: path.write_bytes(b"no database" * 100), "holds something else", id="no-database"),
        pytest.param(
            lambda path: sqlite3.connect(path).execute("CREATE TABLE mine (x)").connection.close(),
            "holds the tables of something else",
            id="other-tables",
        ),
    ],
)
def test_a_file_of_something_else_is_left_alone(file: str, write: Any, problem: str) -> None:
    write(Path(file))
    before = Path(file).read_bytes()
    with pytest.raises(ArchiveError, match=problem):
        Sandbox(data=file).start()
    assert Path(file).read_bytes() == before


def test_a_file_of_another_version_is_left_alone(file: str) -> None:
    Archive(file).close()
    sqlite3.connect(file).execute("PRAGMA user_version = 2").connection.close()
    with pytest.raises(ArchiveError, match="is of format 2, not 1"):
        Archive(file)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is in no folder that exists"):
        Sandbox(data=str(tmp_path / "nowhere" / "x.db")).start()


def test_a_write_that_fails_is_said_and_tried_again(
    file: str, monkeypatch: pytest.MonkeyPatch, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    real = Archive._change

    def full(*args: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with Sandbox(data=file) as sandbox:
        monkeypatch.setattr(Archive, "_change", full)
        send(sandbox, "447700900101")

        def health() -> httpx.Response:
            return httpx.get(f"{sandbox.base_url}/healthz", trust_env=False)

        eventually(lambda: health().status_code == 503)
        assert "database or disk is full" in health().json()["problems"][0]
        assert "database or disk is full" in httpx.get(sandbox.base_url, trust_env=False).text
        monkeypatch.setattr(Archive, "_change", real)
        eventually(lambda: health().status_code == 200)
    with Sandbox(data=file) as sandbox:
        assert len(sandbox.messages) == 1


def test_what_could_not_be_written_at_the_end_is_an_error(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    sandbox = Sandbox(data=file)
    sandbox.start()
    monkeypatch.setattr(Archive, "_change", full)
    send(sandbox, "447700900101")
    with pytest.raises(ArchiveError, match="lacks what came in last: database or disk is full"):
        sandbox.stop()


def test_a_webhook_is_told_of_what_comes_in(eventually: Callable[[Callable[[], bool]], None]) -> None:
    with Sandbox() as told:
        # Any server will do; this one records what it gets.
        with Sandbox(webhook=f"{told.base_url}/core/hook") as sandbox:
            send(sandbox, "447700900101", "447700900190", object_data={})
            sandbox.answer(sandbox.conversations[0]["objectId"], "Thank you")
            sandbox.answer(sandbox.conversations[0]["objectId"], "from us", from_customer=False)
        events = [request["json"] for request in told.requests]
        assert [event["event"] for event in events] == ["accepted", "refused", "answered"]
        assert events[0]["message"]["object_id"] == 70001
        assert events[1]["message"]["failed"] == "invalid — Not a valid WhatsApp user"
        assert (events[2]["message"]["message"], events[2]["message"]["recipient"]) == ("Thank you", "447700900101")


def test_a_webhook_that_takes_nothing_is_said(eventually: Callable[[Callable[[], bool]], None]) -> None:
    with Sandbox() as gone:
        address = gone.base_url
    with Sandbox(webhook=f"{address}/core/hook") as sandbox:
        send(sandbox, "447700900101")

        def health() -> Any:
            return httpx.get(f"{sandbox.base_url}/healthz", trust_env=False).json()

        eventually(lambda: bool(health()["problems"]))
        assert "1 events were not told to the webhook" in health()["problems"][0]
        metrics = httpx.get(f"{sandbox.base_url}/metrics", trust_env=False).text
        assert "cirrus_sandbox_webhook_failed_total 1" in metrics
        assert len(sandbox.messages) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keep_for": 0}, "keep_for must be seconds"),
        ({"keep_for": float("inf")}, "keep_for must be seconds"),
        ({"webhook": "ftp://hooks.example"}, "webhook must be an address"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Sandbox(**options)


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("90m", 5400), ("12h", 43_200), ("7d", 604_800)])
def test_times_on_the_command_line(text: str, seconds: int) -> None:
    from airflow_provider_cirrus.sandbox.__main__ import parser

    assert parser().parse_args(["--keep-for", text]).keep_for == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1.5h", "forever"])
def test_times_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_provider_cirrus.sandbox.__main__ import parser

    with pytest.raises(SystemExit):
        parser().parse_args([f"--keep-for={text}"])
    assert "is no time, such as 45s, 90m, 12h or 7d" in capsys.readouterr().err
