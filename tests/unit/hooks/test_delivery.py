"""What a task remembers between its tries, and what it says where that is gone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput, NotConnected
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerIncomplete, LedgerSuperseded, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.large import MOST
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.hooks.delivery import TaskDelivery
from airflow_provider_cirrus.hooks.ending import fail
from airflow_provider_cirrus.hooks.ledger import expect, fingerprint
from tests.lines import need_task_state_store, since
from tests.unit.delivery.stores import Store

KEY = bytes(12)


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the connection ``cirrus_default``."""

    def make(**extra: Any) -> None:
        given = {
            "conn_type": "cirrus",
            "password": "s3cret",
            "extra": {"stream_id": "hExample_streamID_1Aw==", **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(given))

    make()
    return make


def context(store: Any, try_number: int = 1, max_tries: int = 2) -> Any:
    if store is not None:
        need_task_state_store()
    ti = SimpleNamespace(
        try_number=try_number, max_tries=max_tries, dag_id="shop", run_id="r", task_id="send", map_index=-1
    )
    return {"ti": ti, **({} if store is None else {"task_state_store": store})}


def task(store: Any, try_number: int = 1, max_tries: int = 2, **rest: Any) -> TaskDelivery:
    is_resumed = rest.pop("is_resumed", False)
    return TaskDelivery(
        CirrusHook(), context(store, try_number, max_tries), retries=2, delivery=rest, is_resumed=is_resumed
    )


def ledger_of(store: Any, try_number: int = 1, max_tries: int = 2, **given: Any) -> Any:
    return task(store, try_number, max_tries, **given).ledger()


def test_a_retry_goes_on_where_the_first_try_was_cut_off() -> None:
    store = Store()
    ledger_of(store).commit([KEY], [])
    assert dict(ledger_of(store, 2).load()) == {KEY: INTERRUPTED}
    # Cleared, on an Airflow that keeps the task's state.
    assert dict(ledger_of(store, 3, 4).load()) == {KEY: INTERRUPTED}


@pytest.mark.parametrize("try_number", [2, 3])
def test_after_a_clear_that_emptied_the_store_nothing_is_sent(try_number: int) -> None:
    with pytest.raises(LedgerIncomplete, match=r"was cleared.*nothing was sent now.*resend=True"):
        ledger_of(Store(), try_number, 3)


def test_resend_sends_again_once_for_each_clear() -> None:
    store = Store()
    ledger_of(store, resend="true").commit([KEY], [])
    assert dict(ledger_of(store, 2, resend="true").load()) == {KEY: INTERRUPTED}, "an ordinary retry"
    # The worker of the first try since the clear was lost before it opened anything.
    again = ledger_of(store, 4, 5, resend="true")
    assert dict(again.load()) == {}
    again.commit([KEY], [])
    assert dict(ledger_of(store, 5, 5, resend="true").load()) == {KEY: INTERRUPTED}


def test_another_part_of_the_audience_is_not_taken_for_the_same() -> None:
    store = Store()
    assert ledger_of(store, shard=0, shards=2)
    assert ledger_of(store, 2, shard=0, shards=2)
    with pytest.raises(LedgerError, match="shards was 2 and is 3"):
        ledger_of(store, 3, shard=0, shards=3)


def test_a_deferred_try_goes_on_and_refuses_where_its_past_is_gone() -> None:
    store = Store()
    ledger_of(store).commit([KEY], [])
    assert dict(ledger_of(store, is_resumed=True).load()) == {KEY: INTERRUPTED}
    with pytest.raises(LedgerIncomplete, match="deferred"):
        ledger_of(Store(), is_resumed=True)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "resend", "refuses"),
    [
        pytest.param(1, 2, False, False, id="first"),
        pytest.param(2, 2, False, True, id="retry"),
        pytest.param(2, 2, True, True, id="retry-with-resend"),
        pytest.param(2, 3, False, True, id="cleared"),
        pytest.param(2, 3, True, False, id="cleared-with-resend"),
        pytest.param(3, 3, True, True, id="retry-after-that"),
    ],
)
def test_without_any_memory_a_second_try_refuses(try_number: int, max_tries: int, resend: bool, refuses: bool) -> None:
    if refuses:
        with pytest.raises(AirflowFailException, match=r"nothing was sent now.*ledger_conn_id"):
            ledger_of(None, try_number, max_tries, resend=resend)
    else:
        assert ledger_of(None, try_number, max_tries, resend=resend) is None


@pytest.mark.parametrize(
    ("own", "connections", "used"),
    [
        pytest.param(None, "shop_db", "shop_db", id="the-connections"),
        pytest.param("own_db", "shop_db", "own_db", id="the-tasks-own-wins"),
        pytest.param("own_db", "", "own_db", id="the-tasks-own"),
    ],
)
def test_the_connection_says_which_database_remembers(
    connection: Any, monkeypatch: pytest.MonkeyPatch, own: str | None, connections: str, used: str
) -> None:
    class Opened:
        def open(self, task: TaskTry) -> None:
            assert task == TaskTry(2, 3, 2, resend=True)

    asked: list[str] = []
    monkeypatch.setattr(CirrusHook, "sql_ledger", lambda self, conn_id, ti: (asked.append(conn_id), Opened())[1])
    connection(ledger_conn_id=connections)
    assert isinstance(ledger_of(Store(), 2, 3, ledger_conn_id=own, resend=True), Opened)
    assert asked == [used]


def test_a_large_send_is_refused_unless_the_connection_allows_it(
    connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = ledger_of(Store())
    expect(ledger, None)
    expect(ledger, MOST)
    assert "12 MB" in caplog.text
    with pytest.raises(LedgerError, match=r"Nothing was sent.*ledger_conn_id"):
        expect(ledger, MOST + 1)
    connection(allow_large_state=True)
    expect(ledger_of(Store()), MOST + 1)
    expect(None, MOST + 1)


@since(3, 3, has="a task state store")
def test_what_is_remembered_is_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import NEVER_EXPIRE

    kept: list[Any] = []

    class Telling(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            kept.append(retention)
            super().set(key, value, retention=retention)

    ledger_of(Telling()).commit([KEY], [])
    assert [one is NEVER_EXPIRE for one in kept] == [True, True]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(LedgerUnavailable("away"), AirflowException, id="unavailable"),
        pytest.param(LedgerError("format"), AirflowFailException, id="error"),
        pytest.param(LedgerIncomplete("gone"), AirflowFailException, id="incomplete"),
        pytest.param(LedgerSuperseded("newer"), AirflowFailException, id="superseded"),
        pytest.param(InvalidInput("to", "is missing."), AirflowFailException, id="input"),
    ],
)
def test_only_what_passes_by_itself_is_retried(error: CirrusError, expected: type[Exception]) -> None:
    with pytest.raises(expected) as raised:
        fail(error)
    assert type(raised.value) is expected


GIVEN = """[
    ["a.csv"],
    ["b.csv"],
    [pathlib.Path("a.csv"), {"b": 1, "a": 2}],
    [{"447700900101", "447700900102"}, datetime.datetime(2027, 3, 1)],
    [[{"to": "447700900101"}], None],
    [object()],
]"""


def test_a_fingerprint_is_the_same_in_every_process_and_another_for_other_things() -> None:
    program = (
        "import datetime, pathlib; from airflow_provider_cirrus.hooks.ledger import fingerprint;"
        f"print([fingerprint(*one) for one in {GIVEN}])"
    )
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    first, second = (json.loads(text.splitlines()[-1].replace("'", '"')) for text in said)
    assert first == second
    assert len(set(first)) == len(first)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def ended(result: DeliveryResult, **options: Any) -> str:
    """Return what a task says that fails."""
    ti = SimpleNamespace(try_number=1, max_tries=2, dag_id="d", run_id="r", task_id="t", map_index=-1)
    ti.xcom_push = lambda key, value: None
    task = TaskDelivery(CirrusHook(), {"ti": ti}, 2, delivery=options)
    task.message = {"template": "order_update", "language": "en"}
    with pytest.raises(AirflowException) as caught:
        task.end(result)
    return str(caught.value)


def test_whoever_is_on_call_reads_the_cause_and_the_remedy_first() -> None:
    result = DeliveryResult(stopped="Cirrus refuses all messages of the account (131031): the account is locked.")
    result.remedy = "See the account's page in WhatsApp Manager."
    entries = [Entry(Outcome.ACCEPTED, "m")] * 660 + [Entry(Outcome.REJECTED, code=131026, reason="(#131026) no")] * 12
    entries += [Entry(Outcome.UNSENT, reason="the run stopped before its turn")] * 3806
    for index, entry in enumerate(entries):
        result.add(MessageOutcome(index, b"k", f"4477009{index:05d}", entry))
    result.report_uri = "/reports/r.jsonl"
    lines = ended(result).splitlines()
    assert lines[:4] == [
        "4478 messages: 660 accepted, 12 rejected, 3806 unsent of template 'order_update' (en).",
        "Stopped: Cirrus refuses all messages of the account (131031): the account is locked.",
        "What to do: See the account's page in WhatsApp Manager.",
        "3806 unsent: the run stopped before its turn (+44******0672, +44******0673, +44******0674, …)",
    ]
    assert lines[4].startswith("12 rejected: (#131026) no [the message cannot reach the number")
    assert lines[5:] == ["Report: /reports/r.jsonl"]
    assert max(map(len, lines)) < 200, "a line that fits a screen"


def test_a_hint_never_contradicts_the_counts() -> None:
    result = DeliveryResult(error=NotConnected("No connection to h.", hint="The request did not leave. Check it."))
    result.add(MessageOutcome(0, b"k", "447700900101", Entry(Outcome.ACCEPTED, "m")))
    result.add(MessageOutcome(1, b"k", "447700900102", Entry(Outcome.UNSENT, reason="No connection to h.")))
    said = ended(result)
    assert "Nothing was sent" not in said
    assert "What to do: The request did not leave. Check it." in said


def test_a_failure_of_which_nothing_is_left_to_retry_names_the_limit() -> None:
    result = DeliveryResult()
    result.add(MessageOutcome(0, b"k", "447700900101", Entry(Outcome.REJECTED, reason="no")))
    assert ended(result).splitlines()[-1] == "More than max_failed=0 allows."


def warned(capsys: pytest.CaptureFixture[str], **given: Any) -> bool:
    capsys.readouterr()
    TaskDelivery(CirrusHook(), context(Store()), 2, **given).ledger()
    return "remembered for this task and run only" in "".join(capsys.readouterr())


def test_message_keys_without_a_database_are_warned_of(capsys: pytest.CaptureFixture[str], connection: Any) -> None:
    assert warned(capsys, columns={"to": "phone", "key": "order"})
    assert warned(capsys, message={"message_key": "order-1"})
    assert warned(capsys, audience=[None, [{"to": "447700900101", "message_key": "order-1"}]])
    assert not warned(capsys, audience=[None, [{"to": "447700900101"}]], columns={"to": "phone"})


def test_message_keys_in_a_database_are_not_warned_of(
    capsys: pytest.CaptureFixture[str], connection: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    connection(ledger_conn_id="ledger")
    assert not warned(capsys, message={"message_key": "order-1"}, delivery={"retry_rejected_after": 86_400})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (timedelta(days=1), "needs a database"),
        (3_600, "3600 s is less than a day.*timedelta"),
        ("soon", "'soon' is no time span"),
        (True, "True is no time span"),
    ],
)
def test_a_later_try_of_what_was_refused(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"retry_rejected_after: .*{problem}"):
        task(Store(), retry_rejected_after=value).ledger()


@pytest.mark.parametrize(
    ("recipients", "shown"),
    [
        pytest.param(None, "447700900101", id="whole"),
        pytest.param("masked", "+44******0101", id="masked"),
        pytest.param("hash", "", id="hash"),
    ],
)
@pytest.mark.parametrize("pushes", [True, False])
def test_one_setting_governs_report_and_xcom_and_no_xcom_is_pushed_where_none_is_wanted(
    recipients: str | None, shown: str, pushes: bool
) -> None:
    pushed: list[Any] = []
    ti = SimpleNamespace(try_number=1, max_tries=2, dag_id="d", run_id="r", task_id="t", map_index=-1)
    ti.xcom_push = lambda key, value: pushed.append(value)
    report = None if recipients is None else {"recipients": recipients}
    airflow_context: Any = {"ti": ti, "task": SimpleNamespace(do_xcom_push=pushes)}
    made = TaskDelivery(CirrusHook(), airflow_context, 2, report=report)
    result = DeliveryResult()
    entry = Entry(Outcome.REJECTED, code=131026, reason="no user +447700900101")
    result.add(MessageOutcome(0, b"k", "447700900101", entry))
    with pytest.raises(AirflowFailException) as caught:
        made.end(result)
    assert "447700900101" not in str(caught.value)
    assert len(pushed) == pushes
    if pushes:
        (outcome,) = pushed[0]["outcomes"]
        assert (outcome["recipient"] == shown) is (recipients != "hash")
        assert ("447700900101" in json.dumps(pushed)) is (recipients is None)


def unsent(count: int = 2, **others: int) -> DeliveryResult:
    result = DeliveryResult(error=NotConnected("refused"))
    result.counts |= {"unsent": count, **others}
    return result


def beginning_anew(result: DeliveryResult, *, store: Any = None, begun: int = 0) -> list[tuple[float, int | None]]:
    """What a task that has nothing to remember by asks to wait for."""
    found: list[tuple[float, int | None]] = []
    one = context(store)
    one["task"] = SimpleNamespace(retry_delay=timedelta(minutes=5), do_xcom_push=False)
    delivery = TaskDelivery(CirrusHook(), one, retries=2, begun=begun)
    delivery._is_remembered = delivery.ledger() is not None
    with pytest.raises((AirflowException, KeyboardInterrupt)):
        delivery.end(result, lambda until, count: _wait(found, until, count))
    return found


def _wait(found: list[tuple[float, int | None]], until: float, count: int | None) -> None:
    found.append((until - time.time(), count))
    # As TaskDeferred does.
    raise KeyboardInterrupt


@pytest.mark.parametrize("begun", [0, 1])
def test_what_could_not_be_sent_at_all_begins_anew_where_nothing_would_remember_that(begun: int) -> None:
    (found,) = beginning_anew(unsent(suppressed=1, rejected=1), begun=begun)
    assert found == (pytest.approx(300, abs=5), begun + 1)


def test_a_server_that_asks_for_more_patience_gets_it() -> None:
    result = unsent()
    result.error = NotConnected("later", retry_after=900)
    assert beginning_anew(result)[0][0] == pytest.approx(900, abs=5)


@pytest.mark.parametrize(
    ("others", "begun"),
    [
        pytest.param({"accepted": 1}, 0, id="one-was-sent"),
        pytest.param({"unknown": 1}, 0, id="one-may-have-been-sent"),
        pytest.param({}, 2, id="as-often-as-there-are-retries"),
    ],
)
def test_else_it_is_airflows_retry(others: dict[str, int], begun: int) -> None:
    assert beginning_anew(unsent(**others), begun=begun) == []


def test_what_is_remembered_is_airflows_retry() -> None:
    assert beginning_anew(unsent(), store=Store()) == []


@pytest.mark.parametrize(
    ("try_number", "is_resumed", "expected"),
    [
        pytest.param(1, False, "fail", id="first"),
        pytest.param(1, True, None, id="after-quiet-hours"),
        pytest.param(2, False, None, id="retry"),
    ],
)
def test_only_the_first_try_minds_a_report_that_is_there(
    try_number: int, is_resumed: bool, expected: str | None
) -> None:
    found = TaskDelivery(
        CirrusHook(),
        context(None, try_number),
        retries=2,
        report={"path": "r.csv", "if_exists": "fail"},
        is_resumed=is_resumed,
    )
    assert found.effective_report.if_exists == expected
