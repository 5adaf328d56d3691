"""The notifier against the sandbox; runs with tasks and DAGs are in tests/integration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import socketserver
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, mask_secret

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import AIRFLOW, since

GOOD: dict[str, Any] = {"template": "task_failed", "language": "en", "to": "+447700900101"}
TRACEBACK = "Traceback (most recent call last):\n" + '\tFile "a.py",     line 1\n' * 200


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that no other test has claimed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def context(dag_id: str = "shop", **values: Any) -> dict[str, Any]:
    return {"dag": DAG(dag_id, schedule=None), **values}


def call(notifier: CirrusNotifier, where: dict[str, Any]) -> None:
    if AIRFLOW >= (3, 1):
        return notifier(where)
    # Airflow before 3.1 logs what a notifier raises, and goes on.
    one = copy(notifier)
    one.render_template_fields(where)
    return one.notify(where)


def await_it(notifier: CirrusNotifier, where: dict[str, Any]) -> None:
    async def wait() -> None:
        notifier.context = where
        await notifier

    asyncio.run(wait())


both_ways = pytest.mark.parametrize(
    "send",
    [
        pytest.param(call, id="sync"),
        pytest.param(await_it, id="async", marks=since(3, 1, has="notifiers that are awaited")),
    ],
)


def texts(sandbox: Sandbox, kind: str = "body") -> list[list[str]]:
    return [
        [parameter["text"] for parameter in component["parameters"]]
        for message in sandbox.messages
        for component in message["components"]
        if component["type"] == kind
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"to": "07700 900101"}, "no country code", id="national"),
        pytest.param({"to": None}, "to: is of type NoneType", id="nobody"),
        pytest.param({"to": []}, "holds no recipient", id="empty-list"),
        pytest.param({"template": None}, "template: is missing", id="no-template"),
        pytest.param({"body": "text"}, "give a list of parameters", id="body-no-list"),
        pytest.param({"buttons": [{"type": "urll"}]}, "did you mean 'url'", id="button-type"),
        pytest.param({"header": ["a", "b"]}, "takes exactly one", id="two-in-header"),
        pytest.param({"authentication_code": "1" * 16}, "at most 15", id="code-is-not-cut"),
        pytest.param({"max_parameter_length": 1025}, "no whole number from 1 to 1024", id="length"),
        pytest.param({"dedupe_window": 10}, "is no time above 0", id="window-no-time"),
        pytest.param({"dedupe_window": timedelta(0)}, "is no time above 0", id="window-nothing"),
        pytest.param({"dedupe_key": "x"}, "no effect without dedupe_window", id="key-alone"),
        pytest.param(
            {"recovery_of": "x", "dedupe_window": timedelta(1)}, "dedupe_window: does not go with", id="end-in-a-window"
        ),
        pytest.param({"delivery": {"ledger_conn_id": "x"}}, "delivery: has no effect", id="ledger-alone"),
        pytest.param({"rules": {"opt_in": ["nobody"]}}, r"opt_in\[0\]: ", id="opt-in"),
        pytest.param(
            {"rules": {"opt_in": {"column": "ok"}}}, r"opt_in.column: .*opt_in=\[their numbers\]", id="opt-in-column"
        ),
        pytest.param(
            {"rules": {"opt_in": {"utility": ["447700900101"]}}}, "opt_in: differs by category", id="opt-in-category"
        ),
        pytest.param(
            {"rules": {"suppression": {"column": "gone"}}}, "suppression.column: goes by", id="suppression-column"
        ),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        CirrusNotifier(**{**GOOD, **given})


def test_an_argument_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="tempalte"):
        CirrusNotifier(**GOOD, tempalte="x")


@both_ways
def test_one_notifier_serves_many_contexts(send: Any, cirrus_default: Sandbox) -> None:
    notifier = CirrusNotifier(**GOOD, body=["{{ what }}", {"x": 1}], header={"type": "text", "text": "{{ what }}"})
    first, second = context(what="first"), context(what="")
    for where in (first, second):
        send(notifier, where)
    assert [found[0] for found in texts(cirrus_default)] == ["first", "-"]
    assert texts(cirrus_default, "header") == [["first"], ["-"]]
    assert notifier.body[0] == "{{ what }}"
    assert set(first) == {"dag", "what"}, "the context of the callbacks that follow was changed"


@both_ways
def test_an_exceptions_text_arrives_cleaned(send: Any, cirrus_default: Sandbox) -> None:
    assert len(TRACEBACK) > 5_000
    notifier = CirrusNotifier(
        **GOOD,
        header="{{ exception }}",
        body={"task": "load", "error": "{{ exception }}", "again": "{{ exception }}"},
        buttons=[{"type": "url", "text": "{{ exception }}"}, {"type": "quick_reply", "payload": "a  b"}],
    )
    send(notifier, context(exception=ValueError(TRACEBACK)))
    ((task, error, again),) = texts(cirrus_default)
    assert task == "load"
    assert error.startswith('Traceback (most recent call last): File "a.py", line 1 File')
    assert error.endswith("…")
    assert error == again
    assert len(error) <= 400
    assert len(task + error + again) <= 800
    ((header,),) = texts(cirrus_default, "header")
    assert (len(header) <= 60, header[-1]) == (True, "…")
    buttons = [component for component in cirrus_default.messages[0]["components"] if component["type"] == "button"]
    assert "\n" not in buttons[0]["parameters"][0]["text"]
    assert buttons[1]["parameters"] == [{"type": "payload", "payload": "a  b"}]


def test_a_parameter_may_have_the_whole_body(cirrus_default: Sandbox) -> None:
    call(CirrusNotifier(**GOOD, body=["{{ error }}"], max_parameter_length=1024), context(error="x" * 2000))
    assert texts(cirrus_default) == [["x" * 1023 + "…"]]


def test_native_values_become_text(cirrus_default: Sandbox) -> None:
    where = {"dag": DAG("native", schedule=None, render_template_as_native_obj=True)}
    where |= {"error": KeyError("order"), "to": ["+447700900101", 447700900102], "nothing": None}
    CirrusNotifier(**{**GOOD, "to": "{{ to }}"}, body=["{{ error }}", "{{ nothing }}", "{{ [1] }}"])(where)
    assert texts(cirrus_default) == [["'order'", "-", "[1]"]] * 2


@both_ways
def test_everybody_gets_it_once(send: Any, cirrus_default: Sandbox) -> None:
    everyone = [f"4477009{place:05d}" for place in range(25)]
    send(CirrusNotifier(**{**GOOD, "to": [*everyone, "+44 7700 900001"]}), context())
    assert [message["recipient"] for message in cirrus_default.messages] == everyone
    assert len(cirrus_default.requests) == 2


@both_ways
def test_who_is_not_allowed_gets_nothing_and_nothing_fails(
    send: Any, cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = cirrus_default.connection_uri + "&allowed_recipients=447700900101"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", uri)
    send(CirrusNotifier(**{**GOOD, "to": ["+447700900101", "+447700900102"]}), context())
    send(CirrusNotifier(**{**GOOD, "to": ["+447700900102"]}), context())
    assert [message["recipient"] for message in cirrus_default.messages] == ["447700900101"]
    said = capsys.readouterr().out
    assert said.count("+44******0102 gets no notice") == 2
    assert "447700900102" not in said


TEAM = ["+447700900101", "+447700900102", "+447700900103"]


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of who agreed, with the connection ``crm``."""
    path = tmp_path / "crm.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE consents (phone TEXT)")
        database.executemany("INSERT INTO consents VALUES (?)", [("447700900101",), ("447700900102",)])
        database.commit()
    monkeypatch.setenv("AIRFLOW_CONN_CRM", f"sqlite:///{path}")
    return path


@both_ways
@pytest.mark.parametrize(
    "opt_in",
    [
        pytest.param(["+44 7700 900101", "{{ '+44 7700 900102' }}"], id="list"),
        pytest.param({"table": "consents", "conn_id": "crm"}, id="database"),
        pytest.param(lambda digits: digits < "447700900103", id="function"),
    ],
)
def test_only_who_agreed_and_is_on_no_list_gets_a_notice(
    send: Any, cirrus_default: Sandbox, crm: Path, capsys: pytest.CaptureFixture[str], opt_in: Any
) -> None:
    send(CirrusNotifier(**{**GOOD, "to": TEAM}, rules={"opt_in": opt_in, "suppression": ["+447700900102"]}), context())
    assert [message["recipient"] for message in cirrus_default.messages] == ["447700900101"]
    said = capsys.readouterr().out
    assert "+44******0102 gets no notice: suppression: on the list" in said
    assert "+44******0103 gets no notice: opt_in: no opt-in on record" in said
    assert "447700900103" not in said


@both_ways
def test_a_rule_that_cannot_be_asked_sends_nothing(send: Any, cirrus_default: Sandbox, crm: Path) -> None:
    with pytest.raises(InvalidInput, match="suppression"):
        send(CirrusNotifier(**GOOD, rules={"suppression": "{{ 'gone' }}.csv"}), context())
    crm.unlink()
    with pytest.raises(CirrusError, match="no such table"):
        send(CirrusNotifier(**GOOD, rules={"opt_in": {"table": "consents", "conn_id": "crm"}}), context())
    assert cirrus_default.requests == []


@both_ways
def test_a_connection_can_require_an_opt_in(
    send: Any, cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", cirrus_default.connection_uri + "&require_opt_in=true")
    with pytest.raises(InvalidInput, match=r"'cirrus_default' requires it .*opt_in=\[their numbers\]"):
        send(CirrusNotifier(**GOOD), context())
    assert cirrus_default.requests == []
    send(CirrusNotifier(**GOOD, rules={"opt_in": [GOOD["to"]]}), context())
    assert len(cirrus_default.messages) == 1


@both_ways
@pytest.mark.parametrize(
    ("fault", "problem", "requests"),
    [
        pytest.param(
            {"name": "drop_after"},
            r"20 of 21 .*20 unknown: .*\(\+44\*{6}0000, .*, …\)",
            2,
            id="unknown-is-not-repeated",
        ),
        pytest.param({"name": "unauthorized"}, "21 of 21 .*unsent: .*did not accept the token", 1, id="token"),
        pytest.param(
            {"name": "refused", "recipient": "447700900000"},
            r"1 of 21 .*1 rejected: .*\(\+44\*{6}0000\)",
            2,
            id="one-of-many",
        ),
    ],
)
def test_what_is_not_accepted_is_an_error(
    send: Any, cirrus_default: Sandbox, fault: dict[str, Any], problem: str, requests: int
) -> None:
    cirrus_default.add_fault(**fault)
    everyone = [f"4477009{place:05d}" for place in range(21)]
    with pytest.raises(AirflowException, match=problem) as caught:
        send(CirrusNotifier(**{**GOOD, "to": everyone}), context())
    assert len(cirrus_default.requests) == requests
    assert not any(number in str(caught.value) for number in everyone)


def test_what_certainly_was_not_sent_is_tried_again(cirrus_default: Sandbox) -> None:
    cirrus_default.add_fault("rate_limited_retry_after", retry_after=0)
    call(CirrusNotifier(**GOOD), context())
    assert len(cirrus_default.messages) == 1


def test_a_server_that_hangs_is_not_waited_for_longer_than_told(cirrus_default: Sandbox) -> None:
    cirrus_default.add_fault("hang_before")
    with pytest.raises(AirflowException, match="did not answer in time"):
        call(CirrusNotifier(**GOOD, timeout=0.2), context())
    assert len(cirrus_default.requests) == 1


@both_ways
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b""])
def test_a_server_that_answers_byte_by_byte_ends_with_the_timeout(
    send: Any, head: bytes, windowed_files: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Trickle(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            with contextlib.suppress(OSError):
                self.wfile.write(head)
                while not over.wait(0.05):
                    self.wfile.write(b" " if head else b"H")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", connection_to(f"http://127.0.0.1:{port}"))
        start = time.monotonic()
        with pytest.raises(AirflowException, match="not accepted"):
            send(CirrusNotifier(**windowed_files, timeout=0.5), context())
        took = time.monotonic() - start
        over.set()
        server.shutdown()
    assert took < 5


@both_ways
def test_what_found_no_connection_in_time_leaves_the_window_open(
    send: Any, windowed_files: dict[str, Any], cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(hole.getsockname())
    with monkeypatch.context() as patched:
        port = hole.getsockname()[1]
        patched.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", connection_to(f"http://127.0.0.1:{port}"))
        with pytest.raises(AirflowException, match="took too long to accept a connection"):
            send(CirrusNotifier(**windowed_files, timeout=0.5), context())
    for one in (*fillers, hole):
        one.close()
    send(CirrusNotifier(**windowed_files), context())
    assert len(cirrus_default.messages) == 1


def connection_to(host: str) -> str:
    return json.dumps(
        {"conn_type": "cirrus", "host": host, "password": "a-token-of-nobody", "extra": {"stream_id": "s" * 22}}
    )


@both_ways
@pytest.mark.parametrize(
    "to",
    [
        pytest.param("{{ ['+44 7700 900101', '+44 7700 900102'] }}", id="a-list-rendered-to-text"),
        pytest.param('{{ \'["+447700900101", "+447700900102"]\' }}', id="json"),
        pytest.param("+44 7700 900101, +44 7700 900102", id="with-a-comma"),
        pytest.param("{{ '+44 7700 900101;+44 7700 900102' }}", id="with-a-semicolon"),
    ],
)
def test_several_people_in_one_text(send: Any, to: str, cirrus_default: Sandbox) -> None:
    send(CirrusNotifier(**{**GOOD, "to": to}), context())
    assert sorted(message["recipient"] for message in cirrus_default.messages) == ["447700900101", "447700900102"]


@both_ways
def test_one_number_that_is_none_leaves_nobody_else_in_the_dark(send: Any, cirrus_default: Sandbox) -> None:
    notifier = CirrusNotifier(**{**GOOD, "to": "{{ ['07700 900100', '+44 7700 900102'] }}"})
    with pytest.raises(AirflowException, match=r"to\[0\]: has no country code") as caught:
        send(notifier, context())
    assert "7700 900100" not in str(caught.value)
    assert [message["recipient"] for message in cirrus_default.messages] == ["447700900102"]


@both_ways
def test_an_uploads_output_that_rendered_to_text_is_a_header(send: Any, cirrus_default: Sandbox) -> None:
    upload = {"type": "document", "link": "https://shop.example/a.pdf", "filename": "a.pdf"}
    send(CirrusNotifier(**GOOD, header="{{ upload }}"), context(upload=upload))
    (message,) = cirrus_default.messages
    (header,) = message["components"]
    assert header["parameters"][0]["document"] == {"link": "https://shop.example/a.pdf", "filename": "a.pdf"}


@both_ways
def test_a_secret_that_airflow_masks_is_masked_before_it_is_sent(send: Any, cirrus_default: Sandbox) -> None:
    mask_secret("hunter2-pass")
    notifier = CirrusNotifier(**GOOD, body={"error": "{{ exception }}"}, header="{{ exception }}")
    send(notifier, context(exception=ValueError("login as shop:hunter2-pass failed")))
    assert texts(cirrus_default) == [["login as shop:*** failed"]]
    assert texts(cirrus_default, "header") == [["login as shop:*** failed"]]


# ---- dedupe_window


@pytest.fixture
def windowed_files() -> dict[str, Any]:
    return {**GOOD, "dedupe_window": timedelta(minutes=10)}


@pytest.fixture(params=["files", "database", "database of the connection"])
def windowed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of a notifier with a window, kept in either memory."""
    if request.param == "files":
        return {**GOOD, "dedupe_window": timedelta(minutes=10)}
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    if request.param == "database of the connection":
        sandbox = request.getfixturevalue("cirrus_default")
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&ledger_conn_id=cirrus_ledger")
        return {**GOOD, "dedupe_window": timedelta(minutes=10)}
    return {**GOOD, "dedupe_window": timedelta(minutes=10), "delivery": {"ledger_conn_id": "{{ 'cirrus_ledger' }}"}}


@both_ways
def test_a_window_lets_one_message_pass(send: Any, windowed: dict[str, Any], cirrus_default: Sandbox) -> None:
    notifier = CirrusNotifier(**windowed, body=["{{ what }}"])
    for what in ("first", "second", "third"):
        send(notifier, context(what=what))
    assert texts(cirrus_default) == [["first"]]


@both_ways
def test_the_next_notice_tells_how_many_were_held_back(
    send: Any, windowed: dict[str, Any], cirrus_default: Sandbox
) -> None:
    words = ["{{ what }}", "{% if held_back %}and {{ held_back }} more{% else %}alone{% endif %}"]
    cirrus_default.add_fault(name="refused")
    notifier = CirrusNotifier(**windowed, body=words)
    with pytest.raises(AirflowException):
        send(notifier, context(what="zeroth"))
    send(notifier, context(what="first"))
    send(notifier, context(what="second"))
    ended = CirrusNotifier(**{**windowed, "dedupe_window": timedelta(microseconds=1)}, body=words)
    send(ended, context(what="third"))
    assert texts(cirrus_default)[-2:] == [["first", "and 1 more"], ["third", "and 1 more"]]


def test_what_is_not_deduplicated_has_held_nothing_back(cirrus_default: Sandbox) -> None:
    call(CirrusNotifier(**GOOD, body=["{{ held_back }}"]), context())
    assert texts(cirrus_default) == [["0"]]


@pytest.fixture
def recovery(windowed: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in windowed.items() if name not in ("template", "dedupe_window")}
    return {**rest, "template": "task_recovered", "recovery_of": "{{ 'task_failed' }}", "body": ["{{ held_back }}"]}


@both_ways
def test_an_end_is_told_once_and_only_of_what_was_told(
    send: Any, windowed: dict[str, Any], recovery: dict[str, Any], cirrus_default: Sandbox
) -> None:
    over = CirrusNotifier(**recovery)
    send(over, context())
    assert cirrus_default.messages == []
    for _ in range(3):
        send(CirrusNotifier(**windowed), context())
    send(over, context("bank"))
    send(over, context())
    send(over, context())
    # The window is open again.
    send(CirrusNotifier(**windowed), context())
    assert [message["template"] for message in cirrus_default.messages] == [
        "task_failed",
        "task_recovered",
        "task_failed",
    ]
    assert texts(cirrus_default) == [["2"]]


def test_an_end_that_could_not_be_told_is_told_later(
    windowed: dict[str, Any], recovery: dict[str, Any], cirrus_default: Sandbox
) -> None:
    call(CirrusNotifier(**windowed), context())
    cirrus_default.add_fault(name="unauthorized")
    with pytest.raises(AirflowException):
        call(CirrusNotifier(**recovery), context())
    call(CirrusNotifier(**recovery), context())
    assert [message["template"] for message in cirrus_default.messages] == ["task_failed", "task_recovered"]


def test_a_notice_that_never_left_has_no_end(
    windowed: dict[str, Any], recovery: dict[str, Any], cirrus_default: Sandbox
) -> None:
    cirrus_default.add_fault(name="unauthorized")
    with pytest.raises(AirflowException):
        call(CirrusNotifier(**windowed), context())
    call(CirrusNotifier(**recovery), context())
    assert cirrus_default.messages == []


def test_a_window_ends(windowed: dict[str, Any], cirrus_default: Sandbox) -> None:
    for _ in range(2):
        call(CirrusNotifier(**{**windowed, "dedupe_window": timedelta(microseconds=1)}), context())
    assert len(cirrus_default.messages) == 2


@pytest.mark.parametrize(
    ("other", "where", "sent"),
    [
        pytest.param({}, {}, 1, id="the-same"),
        pytest.param({"to": ["+44 7700 900-101"]}, {}, 1, id="the-same-in-another-spelling"),
        pytest.param({"body": ["x"]}, {}, 1, id="another-text"),
        pytest.param({}, {"dag_id": "bank"}, 2, id="another-dag"),
        pytest.param({"to": "+447700900102"}, {}, 2, id="another-recipient"),
        pytest.param({"template": "dag_failed"}, {}, 2, id="another-template"),
        pytest.param({"dedupe_key": "{{ dag.dag_id }}"}, {}, 1, id="key-of-the-default"),
        pytest.param({"dedupe_key": "{{ task }}"}, {"task": "load"}, 2, id="another-key"),
    ],
)
def test_what_shares_a_window(
    windowed: dict[str, Any], cirrus_default: Sandbox, other: dict[str, Any], where: dict[str, Any], sent: int
) -> None:
    call(CirrusNotifier(**windowed), context())
    call(CirrusNotifier(**{**windowed, **other}), context(**where))
    assert len(cirrus_default.messages) == sent


@both_ways
@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        pytest.param({"name": "unauthorized"}, 1, id="unsent"),
        pytest.param({"name": "refused"}, 1, id="rejected"),
        pytest.param({"name": "drop_before"}, 0, id="unknown"),
        pytest.param({"name": "drop_after"}, 1, id="unknown-but-accepted"),
    ],
)
def test_only_what_certainly_was_not_sent_leaves_the_window_open(
    send: Any, windowed: dict[str, Any], cirrus_default: Sandbox, fault: dict[str, Any], sent: int
) -> None:
    cirrus_default.add_fault(**fault)
    with pytest.raises(AirflowException):
        send(CirrusNotifier(**windowed), context())
    send(CirrusNotifier(**windowed), context())
    assert len(cirrus_default.messages) == sent


def test_the_connections_database_remembers_the_window(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{cirrus_default.connection_uri}&ledger_conn_id=cirrus_ledger")
    call(CirrusNotifier(**GOOD, dedupe_window=timedelta(minutes=10)), context())
    asyncio.run(CirrusNotifier(**GOOD, dedupe_window=timedelta(minutes=10)).async_notify(context()))
    assert len(cirrus_default.messages) == 1
    assert (tmp_path / "ledger.db").exists()


def test_without_its_memory_nothing_is_sent(cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", "sqlite:////nowhere/to/be/found.db")
    with pytest.raises(Exception, match="none is sent"):
        call(
            CirrusNotifier(**GOOD, dedupe_window=timedelta(minutes=1), delivery={"ledger_conn_id": "cirrus_ledger"}),
            context(),
        )
    assert cirrus_default.requests == []


# ---- deadline alerts

RUN = {"dag_run": {"dag_id": "shop", "dag_run_id": "manual__1"}, "deadline": {"id": "1", "deadline_time": "soon"}}
MISSED = {**GOOD, "body": ["{{ dag_run.dag_id }}", "{{ deadline.deadline_time }}"], "dedupe_window": timedelta(hours=1)}


def test_a_deadline_alert_in_the_executor(cirrus_default: Sandbox) -> None:
    supervisor = pytest.importorskip(
        "airflow.sdk.execution_time.callback_supervisor", reason="this Airflow runs no callbacks there"
    )
    import structlog

    path = f"{CirrusNotifier.__module__}.{CirrusNotifier.__qualname__}"
    for _ in range(2):
        done = supervisor.execute_callback(path, {**MISSED, "context": RUN}, "", None, structlog.get_logger())
        assert done == (True, None)
    assert texts(cirrus_default) == [["shop", "soon"]]


def test_a_deadline_alert_in_the_triggerer(cirrus_default: Sandbox) -> None:
    callback = pytest.importorskip("airflow.triggers.callback", reason="this Airflow has no callback triggers")

    async def run() -> list[Any]:
        trigger = callback.CallbackTrigger(
            f"{CirrusNotifier.__module__}.{CirrusNotifier.__qualname__}", {**MISSED, "context": RUN}
        )
        return [event.payload["state"] async for event in trigger.run()]

    assert [str(getattr(state, "value", state)) for state in asyncio.run(run())] == ["running", "success"]
    assert texts(cirrus_default) == [["shop", "soon"]]


@both_ways
def test_what_has_no_effect_on_a_notice_is_refused_before_anything_is_sent(send: Any, cirrus_default: Sandbox) -> None:
    windowed = {**GOOD, "dedupe_window": timedelta(minutes=10)}
    with pytest.raises(InvalidInput, match=r"delivery\.dry_run: has no effect"):
        CirrusNotifier(**windowed, delivery={"dry_run": True})
    with pytest.raises(InvalidInput, match=r"delivery\.dry_run: has no effect"):
        send(CirrusNotifier(**windowed, delivery={"dry_run": "{{ 'yes' }}"}), context())
    assert cirrus_default.requests == []
