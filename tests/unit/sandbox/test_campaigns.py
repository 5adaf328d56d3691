from __future__ import annotations

import pytest

CALL = "/whatsapp/campaign"
CSV = b"phone1\n447700900101\n447700900102\n"


@pytest.fixture
def form(sandbox):
    return {"template_name": "opening_hours", "language_code": "en", "stream_id": sandbox.stream_id}


def start(client, form, content=CSV, filename="a.csv", field="audience_file"):
    return client.post(CALL, data=form, files={field: (filename, content)})


def test_a_campaign_is_recorded_and_answered_without_an_id(sandbox, client, form):
    answer = start(client, {**form, "scheduled_date": "2090-01-01T00:00:00Z", "substream_id": "0"})
    assert answer.status_code == 200, answer.text
    assert "data" not in answer.json()
    (recorded,) = sandbox.campaigns
    assert recorded["recipients"] == ["447700900101", "447700900102"]
    assert recorded["fields"]["scheduled_date"] == "2090-01-01T00:00:00Z"
    assert client.get("/inbox.json").json()["campaigns"] == sandbox.campaigns
    assert "<h2>Campaigns</h2>" in client.get("/files").text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"template_name": None}, "Missing parameter template_name", id="template"),
        pytest.param({"template_name": " "}, "must not be empty", id="empty"),
        pytest.param({"expiration_date": "2090-01-01T00:00:00Z"}, "unknown field 'expiration_date'", id="unknown"),
        pytest.param({"scheduled_date": "2090-01-01"}, "ISO 8601 with a zone", id="naive"),
        pytest.param({"scheduled_date": "2020-01-01T00:00:00Z"}, "in the future", id="past"),
        pytest.param(
            {"scheduled_date": "2090-01-01T00:00:00Z", "expiration_data": "2089-01-01T00:00:00Z"}, "after", id="order"
        ),
        pytest.param({"substream_id": "x"}, "integer", id="sub-stream"),
        pytest.param({"notify_mail": "team"}, "mail address", id="mail"),
        pytest.param({"save_as_new_audience": "yes"}, "true or false", id="save"),
        pytest.param({"new_audience_name": "x"}, "needs save_as_new_audience", id="name-without-save"),
        pytest.param({"campaign_name": ["a", "b"]}, "twice", id="twice"),
    ],
)
def test_a_broken_form_is_refused(sandbox, client, form, change, problem):
    answer = start(client, {name: value for name, value in {**form, **change}.items() if value is not None})
    assert answer.status_code == 400
    assert problem in answer.json()["description"]
    assert sandbox.campaigns == []


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        pytest.param({"field": "file"}, "unknown field 'file'", id="other-field"),
        pytest.param({"filename": "a.txt"}, "neither CSV nor XLSX", id="ending"),
        pytest.param({"content": b"Phone1\n447700900101\n"}, "one column 'phone1'", id="column"),
        pytest.param({"content": b"phone1\n"}, "has no row", id="nobody"),
        pytest.param({"content": b"phone1\n+447700900101\n"}, "row 1: phone1 must be", id="plus"),
        pytest.param({"content": CSV + b"447700900101\n"}, "stands in it twice", id="duplicate"),
        pytest.param({"content": b"phone1\n\xff\n"}, "no CSV in UTF-8", id="latin"),
        pytest.param({"content": CSV, "filename": "a.xlsx"}, "is no workbook", id="no-workbook"),
    ],
)
def test_a_broken_file_is_refused(sandbox, client, form, file, problem):
    answer = start(client, form, **file)
    assert answer.status_code == 400
    assert problem in answer.json()["description"]
    assert sandbox.campaigns == []


def test_the_stream_of_the_form_counts(sandbox, client, form):
    assert start(client, {**form, "stream_id": sandbox.stream_id.replace("=", "%3D")}).status_code == 404
    assert sandbox.campaigns == []


@pytest.mark.parametrize(
    ("content", "content_type", "problem"),
    [
        pytest.param(b"{}", "application/json", "multipart/form-data", id="json"),
        pytest.param(b"nonsense--b--", "multipart/form-data; boundary=b", "body", id="nonsense"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="template_name"\r\n\r\na',
            "multipart/form-data; boundary=b",
            "ends early",
            id="cut-off",
        ),
    ],
)
def test_a_broken_body_is_refused(client, content, content_type, problem):
    answer = client.post(CALL, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert problem in answer.json()["description"]


def test_a_campaign_needs_the_token_and_is_forgotten_by_a_reset(sandbox, client, form):
    assert client.post(CALL, headers={"Authorization": "Bearer wrong"}).status_code == 401
    start(client, form)
    sandbox.reset()
    assert sandbox.campaigns == []
