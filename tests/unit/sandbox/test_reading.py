from __future__ import annotations

import time

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

VALIDATE = "whatsapp/validatecontact"


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        pytest.param("447700900101", True, id="usual"),
        pytest.param("447700900190", False, id="ending-90"),
        pytest.param("447700900199", False, id="ending-99"),
        pytest.param("447700900191", True, id="refused-only-on-send"),
    ],
)
def test_validation(sandbox, client, path, number, valid):
    answer = client.get(path(sandbox, VALIDATE, number))
    assert answer.status_code == 200
    assert answer.json()["data"] == {"valid": valid}
    assert [(item["number"], item["valid"]) for item in sandbox.validations] == [(number, valid)]


@pytest.mark.parametrize("number", ["+447700900101", "0447700900101", "abc", "44770"])
def test_validation_takes_digits_only(sandbox, client, path, number):
    assert client.get(path(sandbox, VALIDATE, number)).status_code == 400
    assert sandbox.validations == []


def test_older_contact_answer(connect, path):
    with Sandbox(contact_format="contacts") as sandbox:
        client = connect(sandbox)
        good = client.get(path(sandbox, VALIDATE, "447700900101")).json()["data"]
        bad = client.get(path(sandbox, VALIDATE, "447700900199")).json()["data"]
    assert good == {"contacts": [{"input": "447700900101", "status": "valid", "wa_id": "447700900101"}]}
    assert bad == {"contacts": [{"input": "447700900199", "status": "invalid"}]}


def test_unwise_validations_are_reported(sandbox, client, path, post, message):
    for number in ("447700900101", "447700900102", "447700900102", "447700900103"):
        client.get(path(sandbox, VALIDATE, number))
    post(client, sandbox, message("447700900101"), message("447700900102"))
    warnings = client.get("/inbox.json").json()["validation_warnings"]
    assert [(item["number"], item["asked"], item["messaged"]) for item in warnings] == [
        ("447700900102", 2, True),
        ("447700900103", 1, False),
    ]


def test_conversation_is_opened_and_read_back(sandbox, client, path, post, message):
    user = {"Phone1": "447700900101", "FirstName": "Ada"}
    data = {"StatusId": 7, "ManagerId": 12, "User": user}
    answer = post(client, sandbox, message(object_data=data), message("447700900102"))
    plain, opened = answer.json()["data"]
    assert "object_id" not in plain
    object_id = opened["object_id"]
    assert sandbox.messages[0]["object_id"] == object_id
    for stream in (path(sandbox, "streams"), f"/streams/{sandbox.plain_stream_id}"):
        answer = client.get(f"{stream}/objects/{object_id}", params={"includeChilds": "true"})
        (conversation,) = answer.json()["data"]
        assert conversation["objectId"] == object_id
        assert conversation["streamid"] == sandbox.plain_stream_id
        assert conversation["statusId"] == 7
        assert conversation["assignedManagerId"] == 12
        assert conversation["user"]["FirstName"] == "Ada"
        childs = conversation.get("childs") or conversation["user"]["childs"]
        assert [child["id"] for child in childs] == [opened["id"]]
        assert childs[0]["user"]["isManager"] is True


def test_childs_stand_in_both_documented_places(sandbox, client, path, post, message):
    answer = post(client, sandbox, *(message(number, object_data={}) for number in ("447700900101", "447700900102")))
    shown = [
        client.get(path(sandbox, "streams", "objects", str(entry["object_id"])), params={"includeChilds": "true"})
        for entry in answer.json()["data"]
    ]
    places = {"childs" in item.json()["data"][0] for item in shown}
    assert places == {True, False}


def test_childs_are_given_on_request_only(sandbox, client, path, post, message):
    object_id = post(client, sandbox, message(object_data={})).json()["data"][0]["object_id"]
    (conversation,) = client.get(path(sandbox, "streams", "objects", str(object_id))).json()["data"]
    assert "childs" not in conversation
    assert "childs" not in conversation["user"]


def test_child_object_continues_the_conversation(sandbox, client, post, message):
    first, second, third = (
        post(client, sandbox, message(object_data={"createChildObject": child})).json()["data"][0]["object_id"]
        for child in (True, True, False)
    )
    assert first == second != third


def test_conversations_are_listed_by_time_at_most_100(sandbox, client, path, post, message):
    for _ in range(6):
        post(client, sandbox, *(message(object_data={}) for _ in range(20)))
    now = int(time.time())
    url = path(sandbox, "streams", "objects")
    span = {"unixStartTime": now - 60, "unixEndTime": now + 60}
    assert len(client.get(url, params=span).json()["data"]) == 100
    earlier = {"unixStartTime": now - 120, "unixEndTime": now - 60}
    assert client.get(url, params=earlier).json()["data"] == []
    assert client.get(url).status_code == 400


@pytest.mark.parametrize("object_id", ["1", "abc", "70001", "9" * 5000])
def test_unknown_conversation_is_404(sandbox, client, path, object_id):
    assert client.get(path(sandbox, "streams", "objects", object_id)).status_code == 404


def test_availability_needs_the_right_stream(sandbox, client, path):
    assert client.get(path(sandbox, "streams", "streamavailability")).status_code == 200
    assert client.get("/streams/40002/streamavailability").status_code == 404


def test_status_needs_no_token(sandbox, client):
    assert client.get("/core/systemstatus", headers={"Authorization": ""}).status_code == 200


def test_people_go_on_with_a_conversation(sandbox, client, path, post, message):
    object_id = post(client, sandbox, message(object_data={})).json()["data"][0]["object_id"]
    page = f"/_sandbox/conversations/{object_id}"
    assert client.post(page, json={"text": "Hello", "from_customer": False}).status_code == 200
    assert client.post(page, json={"text": "Yes", "status": 2}).status_code == 200
    (listed,) = client.get("/_sandbox/conversations").json()["conversations"]
    assert [(child["message"], child["user"]["isManager"]) for child in listed["childs"]] == [
        ("[order_update]", True),
        ("Hello", True),
        ("Yes", False),
    ]
    (read,) = client.get(path(sandbox, "streams", "objects", str(object_id))).json()["data"]
    assert read["statusId"] == 2
    assert read["updatedTime"] > read["createdTime"]


@pytest.mark.parametrize(
    ("object_id", "body", "status"),
    [
        pytest.param("1", {"text": "Hello"}, 404, id="unknown"),
        pytest.param("70001", {}, 400, id="nothing-to-do"),
        pytest.param("70001", {"texts": "Hello"}, 400, id="misspelled"),
        pytest.param("70001", {"status": "2"}, 400, id="status-as-text"),
        pytest.param("70001", [], 400, id="list"),
    ],
)
def test_a_wrong_change_is_refused(sandbox, client, post, message, object_id, body, status):
    post(client, sandbox, message(object_data={}))
    assert client.post(f"/_sandbox/conversations/{object_id}", json=body).status_code == status


def test_who_always_answers_does_so_in_a_conversation_only(sandbox, client, post, message):
    post(client, sandbox, message("447700900189"), message("447700900289", object_data={}))
    (talk,) = sandbox.conversations
    assert [child["message"] for child in talk["childs"]] == ["[order_update]", "Yes, please"]


def test_a_listing_by_change_shows_what_changed(connect, path, post, message):
    with Sandbox(list_by="updated") as sandbox:
        client = connect(sandbox)
        object_id = post(client, sandbox, message(object_data={})).json()["data"][0]["object_id"]
        begun = time.time()
        while int(time.time()) == int(begun):
            time.sleep(0.01)
        now = int(time.time())
        span = {"unixStartTime": now, "unixEndTime": now + 60}
        url = path(sandbox, "streams", "objects")
        assert client.get(url, params=span).json()["data"] == []
        sandbox.set_status(object_id, 2)
        assert [item["objectId"] for item in client.get(url, params=span).json()["data"]] == [object_id]


def test_a_conversation_that_is_not_there_cannot_go_on(sandbox):
    with pytest.raises(ValueError, match="no conversation 1"):
        sandbox.answer(1, "Hello")
    with pytest.raises(ValueError, match="no conversation '1'"):
        sandbox.set_status("1", 2)
