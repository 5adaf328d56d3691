from __future__ import annotations

import asyncio
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.sandbox import Sandbox

MAIN, SUPPORT = "hNyRN_fLUy7rrOrN9jLpipA%3d%3d", "hAbCdEfGhIjKlMnOpQrStUv%3d%3d"


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the connection ``cirrus_default``."""

    def make(**fields: Any) -> None:
        extra = fields.pop("extra", {"stream_id": MAIN})
        given = {"conn_type": "cirrus", "password": "s3cret", "extra": extra, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(given))

    return make


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        pytest.param({}, "https://api.commbox.io", id="default"),
        pytest.param({"host": "cirrus.example.com"}, "https://cirrus.example.com", id="bare-host"),
        pytest.param({"host": "https://cirrus.example.com/api/"}, "https://cirrus.example.com/api", id="with-path"),
        pytest.param({"host": "cirrus.example.com", "port": 8443}, "https://cirrus.example.com:8443", id="port"),
        pytest.param({"host": "127.0.0.1", "port": 8787, "schema": "http"}, "http://127.0.0.1:8787", id="as-in-a-uri"),
        pytest.param({"host": "https://gw/cirrus", "port": 8443}, "https://gw:8443/cirrus", id="port-and-path"),
        pytest.param({"host": "gw/cirrus/", "port": 8443}, "https://gw:8443/cirrus", id="port-path-and-no-scheme"),
        pytest.param({"host": "https://gw:8443/cirrus", "port": 8443}, "https://gw:8443/cirrus", id="port-twice"),
        pytest.param({"host": "::1", "port": 8787, "schema": "http"}, "http://[::1]:8787", id="ipv6"),
        pytest.param({"host": "[::1]", "port": 8787, "schema": "http"}, "http://[::1]:8787", id="ipv6-in-brackets"),
        pytest.param({"host": "http://[::1]", "port": 8787}, "http://[::1]:8787", id="ipv6-with-a-scheme"),
        pytest.param({"host": "localhost.shop.example"}, "https://localhost.shop.example", id="only-begins-so"),
        pytest.param({"host": "[2001:db8::1]"}, "https://[2001:db8::1]", id="ipv6-elsewhere"),
    ],
)
def test_the_host_comes_from_the_connection(connection: Any, fields: dict[str, Any], url: str) -> None:
    connection(**fields)
    assert CirrusHook().get_conn().endpoint.base_url == url


@pytest.mark.parametrize("streams", [{"support": SUPPORT}, json.dumps({"support": SUPPORT})])
@pytest.mark.parametrize(
    ("stream", "stream_id"),
    [
        pytest.param(None, MAIN, id="the-connections-own"),
        pytest.param("support", SUPPORT, id="by-name"),
        pytest.param("hZZZZ_fLUy7rrOrN9jLpipA==", "hZZZZ_fLUy7rrOrN9jLpipA==", id="by-id"),
    ],
)
def test_a_stream_is_found_by_name_or_id(connection: Any, streams: Any, stream: str | None, stream_id: str) -> None:
    connection(extra={"stream_id": MAIN, "streams": streams})
    assert CirrusHook(stream=stream).get_conn().endpoint.stream_id == stream_id


@pytest.mark.parametrize(
    ("fields", "stream", "problem"),
    [
        pytest.param({"password": ""}, None, "token: is missing in connection 'cirrus_default'", id="no-token"),
        pytest.param({"extra": {}}, None, "has no stream_id", id="no-stream"),
        pytest.param({"extra": {"streams": {"a": MAIN}}}, "suport", "neither a name .* Known streams: a", id="slip"),
        pytest.param({"extra": {"stream_id": MAIN}}, "sales", "names no streams", id="no-names"),
        pytest.param({"extra": {"streams": "support"}}, "x", "no JSON object", id="streams-no-json"),
        pytest.param({"extra": {"streams": {"a": 5}}}, "a", "no JSON object", id="streams-no-text"),
        pytest.param({"host": "http://cirrus.example.com"}, None, "in the clear", id="plain-http"),
        pytest.param({"host": "127.0.0.1", "port": 8787}, None, "has no scheme.*http://", id="this-machine"),
        pytest.param({"host": "[::1"}, None, "host: is no address", id="half-an-address"),
        pytest.param({"host": "https://gw:8443", "port": 443}, None, "port: 443 is another", id="two-ports"),
        pytest.param(
            {"extra": {"stream_id": MAIN, "streams": {"customer-support-emea": SUPPORT}}},
            "customer-suport-emea",
            "Did you mean 'customer-support-emea'",
            id="slip-in-a-long-name",
        ),
        pytest.param({"extra": {"stream_id": MAIN}}, "customer-support-emea", "names no streams", id="a-long-name"),
        pytest.param(
            {"extra": {"stream_id": MAIN, "streams": {"CustomerSupportEmea2026": SUPPORT}}},
            "CustomerSuportEmea2026",
            "Did you mean 'CustomerSupportEmea2026'",
            id="a-slip-that-looks-like-an-id",
        ),
        pytest.param({"extra": {"stream_id": MAIN, "timeout": "soon"}}, None, "timeout: 'soon'", id="timeout"),
        pytest.param({"extra": {"stream_id": MAIN, "api_version": "v9"}}, None, "'v9' is unknown", id="version"),
    ],
)
def test_a_connection_that_cannot_work_says_what_to_mend(
    connection: Any, fields: dict[str, Any], stream: str | None, problem: str
) -> None:
    connection(**fields)
    with pytest.raises(InvalidInput, match=problem) as caught:
        CirrusHook(stream=stream).get_conn()
    assert "s3cret" not in str(caught.value)


def test_settings_reach_the_client(connection: Any) -> None:
    connection(extra={"stream_id": MAIN, "api_version": "v2", "timeout": "7.5", "messages_per_second": "250"})
    hook = CirrusHook()
    assert (hook.client.endpoint.api_version, hook.client.endpoint.timeout) == ("v2", 7.5)
    assert hook.messages_per_second == 250


def test_the_rate_is_whatsapps_unless_told_otherwise(connection: Any) -> None:
    connection()
    assert CirrusHook().messages_per_second == 80
    for value in (40, "40", 40.0, "40.0"):
        connection(extra={"stream_id": MAIN, "messages_per_second": value})
        assert CirrusHook().messages_per_second == 40
    for value in ("fast", 0, "0", -1, 0.5, True):
        connection(extra={"stream_id": MAIN, "messages_per_second": value})
        with pytest.raises(InvalidInput, match="no whole number from 1 on"):
            _ = CirrusHook().messages_per_second


MESSAGE = {"name": "order_update", "language": "en"}
ANN, BEN = "447700900101", "447700900102"


def clients_of_every_way(extra: str, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> list[Any]:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&{extra}")
    hook = CirrusHook()
    made = [hook.get_conn(), hook.client, hook.make_client(attempts=1), asyncio.run(hook.amake_client())]
    return [*made, asyncio.run(hook.aget_conn())]


def come(found: Any) -> Any:
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("way", range(5))
def test_allowed_recipients_hold_on_every_way_to_the_client(
    way: int, cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients_of_every_way(f"allowed_recipients={ANN}", monkeypatch, cirrus_default)[way]
    sent = come(client.send([Message.build(to, MESSAGE) for to in (BEN, ANN, BEN)]))
    assert [(one.recipient, one.outcome.value) for one in sent.results] == [
        (BEN, "suppressed"),
        (ANN, "accepted"),
        (BEN, "suppressed"),
    ]
    assert [message["recipient"] for message in cirrus_default.messages] == [ANN]
    assert [one.outcome.value for one in come(client.send([Message.build(BEN, MESSAGE)])).results] == ["suppressed"]
    with pytest.raises(InvalidInput, match="may not be checked: allowed_recipients"):
        come(client.validate_contact(BEN))
    with pytest.raises(InvalidInput, match="CampaignOperator"):
        come(client.send_campaign(Campaign.build("news", "en"), io.BytesIO(b"phone1\n1"), "a.csv"))
    assert len(cirrus_default.requests) == 1


@pytest.mark.parametrize("way", range(5))
def test_a_required_opt_in_holds_on_every_way_to_the_client(
    way: int, cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients_of_every_way("require_opt_in=true", monkeypatch, cirrus_default)[way]
    for attempt in (
        lambda: client.send([Message.build(ANN, MESSAGE)]),
        lambda: client.validate_contact(ANN),
        lambda: client.send_campaign(Campaign.build("news", "en"), io.BytesIO(b"phone1\n1"), "a.csv"),
    ):
        with pytest.raises(InvalidInput, match=r"opt_in: is missing.*CirrusHook\.deliver"):
            come(attempt())
    assert cirrus_default.requests == []


def test_fifty_numbers_a_day_may_be_asked_for_unless_told_otherwise(connection: Any) -> None:
    connection()
    assert CirrusHook().validations_per_day == 50
    connection(extra={"stream_id": MAIN, "validations_per_day": "0"})
    assert CirrusHook().validations_per_day == 0
    connection(extra={"stream_id": MAIN, "validations_per_day": "many"})
    with pytest.raises(InvalidInput, match="validations_per_day: 'many' in connection 'cirrus_default' is no whole"):
        _ = CirrusHook().validations_per_day


def test_the_hook_asks_as_carefully_as_the_operator(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{cirrus_default.connection_uri}&validations_per_day=1")

    def ask(number: str, opt_in: Any = True) -> bool:
        return CirrusHook().validate_contact(number, opt_in=opt_in, ledger_conn_id="cirrus_ledger", max_age=3600)

    assert ask("+44 7700 900101") is ask("447700900101") is True
    with pytest.raises(CirrusError, match="its 1 a day are used up"):
        ask("+44 7700 900102")
    with pytest.raises(InvalidInput, match="no opt-in on record"):
        ask("+44 7700 900101", opt_in=["+44 7700 900102"])
    assert len(cirrus_default.requests) == 1
    assert CirrusHook().erase("+44 7700 900101", ledger_conn_id="cirrus_ledger")["checks"] == 1


def test_making_a_hook_looks_nothing_up() -> None:
    CirrusHook("there_is_no_such_connection", stream="nor_such_a_stream")


def test_the_client_is_made_once(connection: Any) -> None:
    connection()
    hook = CirrusHook()
    assert hook.get_conn() is hook.get_conn()


def test_the_connection_is_tested_by_a_read(cirrus_default: Sandbox) -> None:
    assert CirrusHook().test_connection()[0] is True
    (request,) = cirrus_default.requests
    assert (request["method"], request["path"].rsplit("/", 1)[-1]) == ("GET", "streamavailability")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(("sandbox-token", "wrong-token"), "did not accept the token", id="token"),
        pytest.param(("stream_id=h", "stream_id=x"), "Check the stream id", id="stream"),
        pytest.param(("127.0.0.1", "cirrus.invalid"), "in the clear", id="host"),
    ],
)
def test_a_connection_that_does_not_work_is_told_so(
    cirrus_default: Sandbox, change: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", cirrus_default.connection_uri.replace(*change))
    works, message = CirrusHook().test_connection()
    assert not works
    assert said in message
    assert "wrong-token" not in message


def test_a_connection_that_is_not_there_is_told_so() -> None:
    works, message = CirrusHook("nowhere_to_be_found").test_connection()
    assert not works
    assert "nowhere_to_be_found" in message


def test_the_async_client_leads_to_the_same_place(cirrus_default: Sandbox) -> None:
    async def availability() -> Any:
        async with await CirrusHook().aget_conn() as client:
            return await client.stream_availability()

    assert asyncio.run(availability()) is not None
    assert len(cirrus_default.requests) == 1


@pytest.mark.parametrize("spelling", [str, Path, lambda path: f"file://{path}"])
def test_a_file_is_uploaded_from_a_path_or_a_uri(cirrus_default: Sandbox, tmp_path: Path, spelling: Any) -> None:
    path = tmp_path / "menu.pdf"
    path.write_bytes(b"%PDF-1.4 soup")
    found = CirrusHook().upload_media(spelling(path))
    (upload,) = cirrus_default.uploads
    assert found == {"id": upload["id"], "filename": "menu.pdf", "type": "document"}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("gone.pdf", None, "does not exist", id="missing"),
        pytest.param("empty.pdf", b"", "is empty", id="empty"),
        pytest.param("photo.png", b"%PDF-1.4", "holds a PDF document", id="mistyped"),
        pytest.param(
            "big.png", b"\x89PNG\r\n\x1a\n" + b"\0" * (5 * 1024 * 1024), "too large for image", id="oversized"
        ),
        pytest.param("", None, "is a folder|does not exist", id="folder"),
    ],
)
def test_a_file_that_whatsapp_does_not_take_is_not_uploaded(
    cirrus_default: Sandbox, tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=problem):
        CirrusHook().upload_media(str(tmp_path / name))
    assert cirrus_default.requests == []


@pytest.mark.parametrize("path", [None, "", "  "])
def test_an_upload_needs_a_path(cirrus_default: Sandbox, path: Any) -> None:
    with pytest.raises(InvalidInput, match="path: is missing"):
        CirrusHook().upload_media(path)


def test_the_token_is_not_logged(
    cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_CIRRUS_DEFAULT", cirrus_default.connection_uri.replace("sandbox-token", "s3cret-token")
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(CirrusError):
        CirrusHook().get_conn().stream_availability()
    assert "s3cret-token" not in caplog.text


def test_a_connection_uri_is_read_as_airflow_reads_it(sandbox: Sandbox) -> None:
    if not hasattr(Connection, "from_uri"):
        pytest.skip("Airflow 3.1 and later read a connection's URI without a database")
    connection = Connection.from_uri(sandbox.connection_uri, conn_id="c")
    assert (connection.conn_type, connection.password) == ("cirrus", sandbox.token)


def test_one_place_says_what_remembers_and_a_tasks_own_word_wins(connection: Any) -> None:
    connection()
    assert CirrusHook().ledger_conn_id_or(None) is None
    assert CirrusHook().ledger_conn_id_or("own") == "own"
    connection(extra={"stream_id": MAIN, "ledger_conn_id": "shop_db"})
    assert CirrusHook().ledger_conn_id_or(None) == CirrusHook().ledger_conn_id_or("") == "shop_db"
    assert CirrusHook().ledger_conn_id_or("own") == "own"
    assert asyncio.run(CirrusHook().aledger_conn_id_or(None)) == "shop_db"
    assert asyncio.run(CirrusHook().aledger_conn_id_or("own")) == "own"


@pytest.mark.parametrize(
    ("place", "works", "says"),
    [
        pytest.param("ledger.db", True, "The database of 'shop_db' answers", id="yet-to-be-made"),
        pytest.param("no/ledger.db", False, "does not answer: there is no folder", id="no-folder"),
        pytest.param(".", False, "does not answer: OperationalError", id="a-folder"),
    ],
)
def test_testing_a_connection_looks_at_its_ledger_and_writes_nothing(
    cirrus_default: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, works: bool, says: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", f"sqlite:///{tmp_path / place}")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{cirrus_default.connection_uri}&ledger_conn_id=shop_db")
    found, said = CirrusHook().test_connection()
    assert found is works
    assert says in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "extra",
    [
        {"messages_per_second": 80.5},
        {"allowed_recipients": "07700 900123"},
        {"validations_per_day": "many"},
        {"require_opt_in": "perhaps"},
        {"console_url": "console"},
        {"ledger_conn_id": 7},
        {"ledger_conn_id": "nowhere_to_be_found"},
        {"allow_large_state": "perhaps"},
    ],
)
def test_testing_a_connection_tells_what_a_task_would_stumble_over(connection: Any, extra: dict[str, Any]) -> None:
    with Sandbox() as sandbox:
        connection(password=sandbox.token, host=sandbox.base_url, extra={"stream_id": sandbox.stream_id})
        assert CirrusHook().test_connection()[0]
        connection(password=sandbox.token, host=sandbox.base_url, extra={"stream_id": sandbox.stream_id, **extra})
        works, said = CirrusHook().test_connection()
    assert not works
    assert next(iter(extra)) in said


def test_the_sandbox_learns_of_which_task_a_message_is(
    cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAG_ID", "DAG_RUN_ID", "TASK_ID"):
        monkeypatch.delenv(f"AIRFLOW_CTX_{name}", raising=False)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "shop")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__2026-11-20T08:00:00+00:00")
    message = Message.build("+447700900101", {"name": "order_update", "language": "en"})
    CirrusHook().get_conn().send([message])

    async def send() -> None:
        client = await CirrusHook().aget_conn()
        await client.send([message])
        await client.close()

    asyncio.run(send())
    tags = ["template:order_update", f"stream:{cirrus_default.stream_id}", "dag:shop"]
    tags.append("run:manual__2026-11-20T08:00:00+00:00")
    assert [one["tags"] for one in cirrus_default.messages] == [tags, tags]
