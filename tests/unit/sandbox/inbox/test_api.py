"""The API of the inbox: what openapi.json says is what is answered."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import httpx
import jsonschema
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.control import Control
from airflow_provider_cirrus.sandbox.faults import Fault, FaultFields
from airflow_provider_cirrus.sandbox.inbox.api import Api
from tests.unit.templates.definitions import ALL
from tests.unit.templates.test_check import GOOD

DESCRIPTION: dict[str, Any] = json.loads(
    (files("airflow_provider_cirrus.sandbox.inbox") / "openapi.json").read_text(encoding="utf-8")
)
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
}


@pytest.fixture
def running(tmp_path: Any) -> Any:
    for one in ALL.values():
        (tmp_path / f"{one['name']}.{one['language']}.json").write_text(json.dumps(one))
    with Sandbox(templates=str(tmp_path)) as sandbox:
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            order = {"name": "order_update", "language": "en", **GOOD["order"]}
            client.send([Message.build("+447700900101", order, object_data={}), Message.build("+447700900190", order)])
            client.send([Message.build("+447700900102", order, schedule=4_000_000_000)])
            client.validate_contact("+447700900103")
        with httpx.Client(base_url=sandbox.base_url, trust_env=False) as http:
            png = {"pic": ("a.png", b"\x89PNG")}
            authorization = {"Authorization": f"Bearer {sandbox.token}"}
            address = f"/whatsapp/uploadmedia/{sandbox.stream_id.replace('=', '%3D')}"
            http.post(address, files=png, headers=authorization).raise_for_status()
            yield sandbox, http


def check(answer: httpx.Response, operation: str) -> Any:
    """Check an answer against what is said of it; return its content."""
    responses = OPERATIONS[operation][2]["responses"]
    assert str(answer.status_code) in responses, answer.text
    said = responses[str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    if kind != "application/json":
        assert kind in said or "application/octet-stream" in said
        return answer.content
    schema = {**said["application/json"]["schema"], "components": DESCRIPTION["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    return answer.json()


def test_everything_that_is_answered_is_described_and_the_other_way_round() -> None:
    answered = {
        (method, re.sub(r":path\}", "}", route.path))
        for route in Api(None).routes()  # type: ignore[arg-type]
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert answered == {(method, path) for method, path, _ in OPERATIONS.values()}
    assert DESCRIPTION["openapi"] == "3.1.0"


def test_every_schema_that_is_named_is_there_and_sound() -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DESCRIPTION)))
    assert named == set(DESCRIPTION["components"]["schemas"])
    for schema in DESCRIPTION["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for _, path, operation in OPERATIONS.values():
        given = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert given == set(re.findall(r"\{(\w+)\}", path))
        assert operation["summary"]


def test_every_field_of_a_fault_is_described() -> None:
    said = set(DESCRIPTION["components"]["schemas"]["Fault"]["properties"])
    assert said == {*FaultFields.__annotations__, "name"}
    assert set(FaultFields.__annotations__) == {
        name for name, field in Fault.__dataclass_fields__.items() if field.init and name != "name"
    }


def test_what_the_pages_answer_hides_nothing_of_the_api() -> None:
    """A pattern of a page may stand for an address of the API: the API comes first."""
    control = Control(None, loopback_only=True)  # type: ignore[arg-type]
    paths = [route.path for route in control.routes]
    assert paths.index("/_sandbox/latest") < paths.index("/_sandbox/{asset}")
    assert len({(route.path, *sorted(route.methods or ())) for route in control.routes}) == len(control.routes)


CALLS: list[Any] = [
    pytest.param("health", {}, 200, id="health"),
    pytest.param("metrics", {}, 200, id="metrics"),
    pytest.param("inbox", {}, 200, id="inbox"),
    pytest.param("inbox", {"params": {"query": "is:nothing"}}, 400, id="inbox-wrong-query"),
    pytest.param("inbox", {"params": {"limit": "-1"}}, 400, id="inbox-wrong-limit"),
    pytest.param("openapi", {}, 200, id="openapi"),
    pytest.param("latest", {}, 200, id="latest"),
    pytest.param("latest", {"params": {"query": "nobody"}}, 404, id="latest-none"),
    pytest.param("messages", {"params": {"limit": 2, "offset": 1}}, 200, id="messages"),
    pytest.param("messages", {"params": {"limit": 1001}}, 400, id="messages-too-many"),
    pytest.param("mark", {"json": {"read": True}}, 200, id="mark"),
    pytest.param("mark", {"json": {"read": "yes"}}, 400, id="mark-wrong"),
    pytest.param("mark", {"json": {}}, 400, id="mark-nothing"),
    pytest.param("delete", {"params": {"query": "is:refused"}}, 200, id="delete"),
    pytest.param("delete", {}, 400, id="delete-everything"),
    pytest.param("message", {"path": "1"}, 200, id="message"),
    pytest.param("message", {"path": "r1"}, 200, id="message-refused"),
    pytest.param("message", {"path": "99"}, 404, id="message-none"),
    pytest.param("summary", {}, 200, id="summary"),
    pytest.param("recipient", {"path": "447700900101"}, 200, id="recipient"),
    pytest.param("recipient", {"path": "447700900103"}, 200, id="recipient-checked"),
    pytest.param("recipient", {"path": "447700900199"}, 404, id="recipient-none"),
    pytest.param("answerFrom", {"path": "447700900102", "json": {"text": "Hello"}}, 201, id="answer"),
    pytest.param("answerFrom", {"path": "447700900102", "json": {"text": ""}}, 400, id="answer-empty"),
    pytest.param("answerFrom", {"path": "447700900199", "json": {"text": "Hello"}}, 404, id="answer-nobody"),
    pytest.param("media", {"path": "257250616863001"}, 200, id="media"),
    pytest.param("media", {"path": "1"}, 404, id="media-none"),
    pytest.param("conversations", {}, 200, id="conversations"),
    pytest.param("changeConversation", {"path": "70001", "json": {"status": 2}}, 200, id="change"),
    pytest.param("changeConversation", {"path": "70001", "json": {}}, 400, id="change-nothing"),
    pytest.param("changeConversation", {"path": "1", "json": {"text": "x"}}, 404, id="change-none"),
    pytest.param("faults", {}, 200, id="faults"),
    pytest.param("addFault", {"json": {"name": "drop_after", "probability": 0.5, "seed": 7}}, 201, id="add-fault"),
    pytest.param("addFault", {"json": {"probability": 2}}, 400, id="add-fault-wrong"),
    pytest.param("addFault", {"content": b"["}, 400, id="add-fault-no-json"),
    pytest.param("clearFaults", {}, 200, id="clear-faults"),
    pytest.param("removeFault", {"path": "1"}, 404, id="remove-fault-none"),
    pytest.param("reset", {}, 200, id="reset"),
]


@pytest.mark.parametrize(("operation", "given", "status"), CALLS)
def test_an_answer_is_as_it_is_described(running: Any, operation: str, given: dict[str, Any], status: int) -> None:
    _, http = running
    method, path, said = OPERATIONS[operation]
    given = dict(given)
    path = re.sub(r"\{\w+\}", given.pop("path", ""), path)
    answer = http.request(method, path, **given)
    assert answer.status_code == status, answer.text
    check(answer, operation)
    for name in given.get("params", {}):
        assert name in {one["name"] for one in said["parameters"]}


def test_every_operation_is_called_here() -> None:
    assert {call.values[0] for call in CALLS} | {"removeFault"} == set(OPERATIONS)


def test_messages_come_a_page_at_a_time_newest_first(running: Any) -> None:
    _, http = running
    everything = check(http.get("/_sandbox/messages"), "messages")
    keys = [one["key"] for one in everything["messages"]]
    # Of one request, in the order in which they stood in it.
    assert keys == ["2", "r1", "1"]
    page = check(http.get("/_sandbox/messages", params={"limit": 1, "offset": 1}), "messages")
    assert (page["total"], [one["key"] for one in page["messages"]]) == (3, ["r1"])


def test_a_message_is_found_by_the_id_that_the_sender_has(running: Any) -> None:
    sandbox, http = running
    for message in sandbox.messages:
        found = http.get(f"/_sandbox/messages/{message['id']}").json()
        assert found["key"] == message["key"]
    assert found["preview"].startswith("*Order A-17*")
    assert set(found["previews"]) == {"en", "pt_BR"}


def test_what_is_deleted_is_gone_and_still_counted(running: Any) -> None:
    sandbox, http = running
    before = sandbox.counts
    assert http.delete("/_sandbox/messages", params={"query": "to:900101"}).json() == {"deleted": 1}
    assert [one["recipient"] for one in sandbox.messages] == ["447700900102"]
    assert sandbox.counts == before
    assert http.get("/_sandbox/messages/1").status_code == 404
    assert http.delete("/_sandbox/messages", params={"query": "to:900101"}).json() == {"deleted": 0}


def test_who_looks_at_a_page_has_read_what_is_on_it(running: Any) -> None:
    _, http = running

    def unread() -> list[str]:
        found = http.get("/_sandbox/messages", params={"query": "is:unread"}).json()["messages"]
        return [one["key"] for one in found]

    assert unread() == ["2", "r1", "1"]
    http.get("/")
    http.get("/_sandbox/recipients/447700900101")
    assert unread() == ["2", "r1", "1"], "a list and a program read nothing"
    http.get("/to/447700900101")
    assert unread() == ["2", "r1"]
    http.get("/messages/r1")
    assert unread() == ["2"]
    assert http.patch("/_sandbox/messages", json={"read": False}).json() == {"changed": 2}
    assert unread() == ["2", "r1", "1"]
    assert http.patch("/_sandbox/messages?query=is:refused", json={"read": True}).json() == {"changed": 1}
    assert unread() == ["2", "1"]


def test_metrics_count(running: Any) -> None:
    _, http = running
    lines = http.get("/metrics").text.splitlines()
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert values["cirrus_sandbox_accepted_total"] == "2"
    assert values["cirrus_sandbox_refused_total"] == "1"
    assert values["cirrus_sandbox_unread_messages"] == "3"
    assert {line.split(" ")[2] for line in lines if line.startswith("# TYPE")} == set(values)


@pytest.mark.parametrize(
    ("filename", "kind", "how"),
    [
        ("a.PNG", "image/png", "inline"),
        ("a.mp4", "video/mp4", "inline"),
        ("a.pdf", "application/octet-stream", "attachment"),
        ('"<script>.txt', "application/octet-stream", "attachment"),
    ],
)
def test_a_file_is_served_as_what_cannot_act(
    sandbox: Sandbox, client: httpx.Client, path: Any, filename: str, kind: str, how: str
) -> None:
    content = b"<script>alert(1)</script>"
    answer = client.post(path(sandbox, "whatsapp/uploadmedia"), files={"pic": (filename, content, "")})
    served = client.get(f"/_sandbox/media/{answer.json()['data'][0]['id']}")
    assert served.content == content
    assert served.headers["content-type"] == kind
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-disposition"].startswith(f"{how}; filename*=UTF-8''")
    assert "script-src 'self'" in served.headers["content-security-policy"]
