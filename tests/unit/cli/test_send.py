from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_cirrus.cli.__main__ import main
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import AIRFLOW


class Done(NamedTuple):
    """What a command came to."""

    status: int
    outcome: dict[str, Any] | None
    said: str


@pytest.fixture
def send(cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run ``send`` with a template and these arguments."""
    # So that it is as it was when the test has ended.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")

    def run(*arguments: str, to: str = "+44 7700 900123") -> Done:
        status = main(["send", "--template", "order_update", "--language", "en", "--to", to, *arguments])
        out, said = capfd.readouterr()
        assert cirrus_default.token not in out + said
        assert to.replace(" ", "")[-10:] not in out + said, "a whole number is shown"
        # What Airflow's log writes there depends on the tests before this one.
        answers = [line for line in out.splitlines() if line.startswith("{")]
        return Done(status, json.loads(answers[-1]) if answers else None, said)

    return run


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sit at the terminal and type a line."""
    ends = pty.openpty()

    def type_it(line: str) -> None:
        os.write(ends[0], line.encode())
        monkeypatch.setattr(sys, "stdin", os.fdopen(os.dup(ends[1])))

    yield type_it
    for end in ends:
        os.close(end)


Send = Callable[..., Done]


def test_a_message_is_shown_and_sent(send: Send, sandbox: Sandbox) -> None:
    done = send("--body", "a=b", "--body", "Ann", "--header-text", "Hi", "--yes")
    (message,) = sandbox.messages
    assert done.status == 0
    assert done.outcome is not None
    assert (done.outcome["outcome"], done.outcome["message_id"]) == ("accepted", message["id"])
    assert message["recipient"] == "447700900123"
    assert message["components"] == [
        {"type": "header", "parameters": [{"type": "text", "text": "Hi"}]},
        {"type": "body", "parameters": [{"type": "text", "text": "a=b"}, {"type": "text", "text": "Ann"}]},
    ]
    shown, _ = json.JSONDecoder().raw_decode(done.said, done.said.index("{\n"))
    assert shown["template_data"]["template"]["components"] == message["components"]
    assert shown["template_data"]["to"] == "+44******0123"
    assert "+44******0123: accepted, id" in done.said


def test_parameters_may_have_names(send: Send, sandbox: Sandbox) -> None:
    assert send("--named-body", "name=Ann", "--named-body", "order=a=b", "--yes").status == 0
    parameters = sandbox.messages[0]["components"][0]["parameters"]
    assert [(p["parameter_name"], p["text"]) for p in parameters] == [("name", "Ann"), ("order", "a=b")]


@pytest.mark.parametrize(
    ("to", "outcome", "said"),
    [
        pytest.param("+44 7700 900190", "rejected", "Not a valid WhatsApp user", id="rejected"),
        pytest.param("+44 7700 900198", "unknown", "before you send it again", id="unknown"),
    ],
)
def test_what_is_not_accepted_is_told(send: Send, sandbox: Sandbox, to: str, outcome: str, said: str) -> None:
    done = send("--yes", to=to)
    assert done.outcome is not None
    assert (done.status, done.outcome["outcome"]) == (1, outcome)
    assert said in done.said
    assert len(sandbox.requests) == 1, "it was tried again"


def test_what_certainly_was_not_sent_is_tried_again_and_told_where_that_does_not_help(
    send: Send, sandbox: Sandbox
) -> None:
    sandbox.add_fault("rate_limited_retry_after", retry_after=0)
    assert send("--yes").status == 0
    sandbox.reset()
    sandbox.add_fault("rate_limited_retry_after", retry_after=3600)
    done = send("--yes")
    assert done.outcome is not None
    assert (done.status, done.outcome["outcome"]) == (1, "unsent")
    assert "Nothing was sent" in done.said
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        pytest.param("y\n", 0, id="yes"),
        pytest.param("YES\n", 0, id="spelled-out"),
        pytest.param("n\n", 1, id="no"),
        pytest.param("\n", 1, id="just-return"),
        pytest.param("\x04", 1, id="end-of-file"),
    ],
)
def test_a_person_is_asked(send: Send, sandbox: Sandbox, answer: Any, typed: str, status: int) -> None:
    answer(typed)
    done = send()
    assert "Send it? [y/N]" in done.said
    assert done.status == status
    assert len(sandbox.messages) == 1 - status


def test_nothing_is_sent_without_a_terminal(send: Send, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        done = send()
    assert done.status == 1
    assert "--yes" in done.said
    assert sandbox.requests == []


def test_a_dry_run_sends_nothing(send: Send, sandbox: Sandbox) -> None:
    done = send("--dry-run", "--yes")
    assert done.status == 0
    assert "Nothing was sent." in done.said
    assert sandbox.requests == []


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_the_connections_allowed_recipients_hold(
    send: Send, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    uri = f"{sandbox.connection_uri}&allowed_recipients=447700900101"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", uri)
    done = send(option)
    assert done.outcome is not None
    assert (done.status, done.outcome["outcome"]) == (1, "suppressed")
    assert "allowed_recipients" in done.said
    assert sandbox.requests == []
    assert send(option, to="+44 7700 900101").status == 0


def test_a_connection_that_requires_an_opt_in_wants_a_word(
    send: Send, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&require_opt_in=true")
    done = send("--yes")
    assert (done.status, done.outcome) == (1, None)
    assert "--opted-in: is missing, and connection 'cirrus_default' requires it" in done.said
    assert sandbox.requests == []
    assert send("--yes", "--opted-in").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--to", "07700 900123"], "to: has no country code", id="number"),
        pytest.param(["--body", "two\nlines"], "body[0]", id="body"),
        pytest.param(["--named-body", "Ann"], "--named-body[0]: is not of the form NAME=TEXT", id="no-name"),
        pytest.param(["--named-body", "a=1", "--named-body", "a=2"], "'a' is there twice", id="name-twice"),
        pytest.param(["--named-body", "a=1", "--body", "2"], "do not go together", id="mixed"),
        pytest.param(["--stream", "nope"], "'nope' is neither a name", id="stream"),
        pytest.param(["--conn-id", "nope"], "`nope` isn't defined", id="connection"),
    ],
)
def test_a_wrong_call_says_what_to_mend(send: Send, sandbox: Sandbox, arguments: list[str], said: str) -> None:
    done = send(*arguments, "--yes")
    assert (done.status, done.outcome) == (1, None)
    assert said in done.said
    assert "Nothing was sent." in done.said
    # Airflow 2.11 logs what its own database says of a connection that is not there.
    assert "Traceback" not in done.said or (AIRFLOW < (3, 0) and "--conn-id" in arguments)
    assert sandbox.requests == []


def test_a_wrong_token_is_not_shown(send: Send, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = sandbox.connection_uri.replace(sandbox.token, "wr0ng-token")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", uri)
    done = send("--yes")
    assert done.outcome is not None
    assert (done.status, done.outcome["outcome"]) == (1, "unsent")
    assert "did not accept the token" in done.said
    assert "wr0ng" not in done.said + json.dumps(done.outcome)


def test_an_interrupted_send_may_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "airflow_provider_cirrus.cli", "send", "--yes"]
    message = ["--template", "order_update", "--language", "en", "--to", "+44 7700 900123"]
    # Of its own: the message arrives there when this test is long over.
    with Sandbox() as own:
        own.add_fault("latency", on="send", delay=10)
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", own.connection_uri)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # Whatever started these tests may ignore the signal, and a child would with it.
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen([*command, *message], **pipes) as started:
            try:
                deadline = time.monotonic() + 30
                while not own.requests:
                    assert time.monotonic() < deadline, "nothing was sent"
                    time.sleep(0.05)
                started.send_signal(signal.SIGINT)
                out, said = started.communicate(timeout=20)
            finally:
                started.kill()
    assert started.returncode == 1
    assert json.loads(out)["outcome"] == "unknown"
    assert "It may have been sent" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("closing", "accepted"),
    [
        pytest.param(">&-", True, id="no-output"),
        pytest.param(">/dev/full", True, id="a-full-disk"),
        pytest.param("2>&- >&-", True, id="neither"),
        pytest.param("| true", True, id="nobody-listens"),
        pytest.param(">&-", False, id="not-accepted"),
    ],
)
def test_whoever_does_not_listen_changes_no_status(
    cirrus_default: Sandbox, closing: str, accepted: bool, airflow_home: Path
) -> None:
    """A script that repeats what failed would send again what was accepted."""
    to = "+447700900123" if accepted else "+447700900190"
    command = f"'{sys.executable}' -m airflow_provider_cirrus.cli send --template t --language en --to {to} --yes"
    script = f"set -o pipefail; {command} {closing}"
    done = subprocess.run(["bash", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (0 if accepted else 1), done.stderr
    assert "Traceback" not in done.stderr
    assert len(cirrus_default.requests) == 1
