from __future__ import annotations

import hashlib

import httpx
import pytest

CALL = "whatsapp/uploadmedia"
MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("prefix", ["", "/v2"])
@pytest.mark.parametrize(
    ("filename", "content_type", "kind"),
    [
        pytest.param("a.png", "image/png", "image", id="png"),
        pytest.param("a.JPG", "image/jpeg", "image", id="upper-case"),
        pytest.param("a.mp4", "video/mp4", "video", id="mp4"),
        pytest.param("a b.pdf", "application/pdf", "document", id="pdf-with-space"),
        pytest.param("א.txt", "text/plain", "document", id="hebrew"),
        pytest.param("a.docx", "application/octet-stream", "document", id="octet-stream"),
    ],
)
def test_upload_is_recorded(sandbox, client, path, prefix, filename, content_type, kind):
    content = b"0123456789" * 200
    answer = client.post(prefix + path(sandbox, CALL), files={"pic": (filename, content, content_type)})
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["data"]
    assert entry["filename"] == filename
    assert entry["id"].isdigit()
    (recorded,) = sandbox.uploads
    assert recorded["id"] == entry["id"]
    assert recorded["kind"] == kind
    assert recorded["content_type"] == content_type
    assert recorded["size"] == len(content)
    assert recorded["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param({"file": ("a.png", b"x")}, "'pic'", id="other-field"),
        pytest.param([("pic", ("a.png", b"x")), ("pic", ("b.png", b"x"))], "exactly one", id="two-files"),
        pytest.param({"pic": ("a.png", b"")}, "empty", id="empty"),
        pytest.param({"pic": ("a.exe", b"x")}, "no file for a template", id="unknown-extension"),
        pytest.param({"pic": ("png", b"x")}, "no file for a template", id="no-extension"),
        pytest.param({"pic": ("a.png", b"x", "video/mp4")}, "Content-Type says video/mp4", id="other-type"),
        pytest.param({"pic": ("a.mp3", b"x", "audio/mpeg")}, "no file for a template", id="audio"),
        pytest.param({"pic": ("a.png", b"x" * (5 * MEGABYTE + 1))}, "at most 5 MB", id="large-image"),
        pytest.param({"pic": ("a.mp4", b"x" * (16 * MEGABYTE + 1))}, "at most 16 MB", id="large-video"),
    ],
)
def test_broken_upload_is_refused(sandbox, client, path, files, problem):
    answer = client.post(path(sandbox, CALL), files=files)
    assert answer.status_code == 400
    assert problem in answer.json()["description"]
    assert "data" not in answer.json()
    assert sandbox.uploads == []


def test_extra_field_is_refused(sandbox, client, path):
    answer = client.post(path(sandbox, CALL), data={"kind": "image"}, files={"pic": ("a.png", b"x")})
    assert answer.status_code == 400
    assert sandbox.uploads == []


@pytest.mark.parametrize(
    ("content", "content_type", "problem"),
    [
        pytest.param(b"x", "application/pdf", "multipart/form-data", id="not-multipart"),
        pytest.param(b"x", "multipart/form-data", "boundary", id="no-boundary"),
        pytest.param(b"nonsense", "multipart/form-data; boundary=b", "cannot be read", id="nonsense"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="pic"; filename="a.png"\r\n\r\nabc',
            "multipart/form-data; boundary=b",
            "ends early",
            id="cut-off",
        ),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="pic"\r\n\r\nabc\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "no filename",
            id="no-filename",
        ),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="pic"; filename=""\r\n\r\nabc\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "no filename",
            id="empty-filename",
        ),
    ],
)
def test_broken_multipart_is_refused(sandbox, client, path, content, content_type, problem):
    answer = client.post(path(sandbox, CALL), content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert problem in answer.json()["description"]
    assert sandbox.uploads == []


def test_ids_are_not_given_twice(sandbox, client, path):
    ids = {client.post(path(sandbox, CALL), files={"pic": ("a.png", b"x")}).json()["data"][0]["id"] for _ in "abc"}
    assert len(ids) == 3


def test_unauthorized_client_that_is_still_sending_gets_its_answer(sandbox, path):
    answer = httpx.post(sandbox.base_url + path(sandbox, CALL), files={"pic": ("a.pdf", b"x" * 8 * MEGABYTE)})
    assert answer.status_code == 401
