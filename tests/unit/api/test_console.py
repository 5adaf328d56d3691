from __future__ import annotations

import pytest

from airflow_provider_cirrus.api.console import conversation_url
from airflow_provider_cirrus.api.errors import InvalidInput


@pytest.mark.parametrize(
    ("console_url", "page"),
    [
        pytest.param(None, "https://manage.commbox.io/widget/object/70001", id="default"),
        pytest.param(" ", "https://manage.commbox.io/widget/object/70001", id="blank"),
        pytest.param("https://c.example.com/", "https://c.example.com/widget/object/70001", id="slash"),
        pytest.param(
            "https://c.example.com:8443/crm//", "https://c.example.com:8443/crm/widget/object/70001", id="path"
        ),
        pytest.param("http://c.example.com", "http://c.example.com/widget/object/70001", id="plain"),
    ],
)
def test_a_conversation_has_a_page(console_url: str | None, page: str) -> None:
    assert conversation_url(70001, console_url) == page


@pytest.mark.parametrize(
    ("object_id", "ending"),
    [
        pytest.param("a/b?c#d", "/widget/object/a%2Fb%3Fc%23d", id="plain"),
        pytest.param("hN%3d%3d", "/widget/object/hN%3D%3D", id="encoded-already"),
    ],
)
def test_an_id_is_encoded_once(object_id: str, ending: str) -> None:
    assert conversation_url(object_id).endswith(ending)


@pytest.mark.parametrize(
    ("console_url", "problem"),
    [
        pytest.param("javascript:alert(1)", "'javascript' is no https:// address", id="script"),
        pytest.param("ftp://c.example.com", "'ftp' is no https:// address", id="ftp"),
        pytest.param("c.example.com", "'no scheme' is no https:// address", id="no-scheme"),
        pytest.param("https://", "is no https:// address", id="no-host"),
        pytest.param("https://ann:s3cret@c.example.com", "more than host, port and path", id="userinfo"),
        pytest.param("https://c.example.com?next=1", "more than host, port and path", id="query"),
        pytest.param("https://c.example.com/a b", "more than host, port and path", id="space"),
        pytest.param("https://c.example.com:port", "no address that can be read", id="port"),
    ],
)
def test_what_is_no_address_of_a_console_is_refused(console_url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match="console_url") as caught:
        conversation_url(70001, console_url)
    assert problem in str(caught.value)
    assert "https://manage.commbox.io" in str(caught.value)
    assert "s3cret" not in str(caught.value)
