from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.endpoint import Endpoint
from airflow_provider_cirrus.api.errors import InvalidInput

GOOD = {"token": "s3cret-token", "stream_id": "hNyRN_fLUy7rrOrN9jLpipA%3d%3d"}


@pytest.mark.parametrize(
    ("setting", "field", "problem"),
    [
        pytest.param({"token": ""}, "token", "is missing", id="no-token"),
        pytest.param({"token": "Bearer s3cret"}, "token", "begins with 'Bearer'", id="token-with-bearer"),
        pytest.param({"token": "s3cret\n"}, "token", "a line end", id="token-with-line-end"),
        pytest.param({"token": "s3crét"}, "token", "beyond ASCII", id="token-not-ascii"),
        pytest.param({"stream_id": " "}, "stream_id", "is missing", id="no-stream"),
        pytest.param({"stream_id": ".."}, "stream_id", "no stream id", id="stream-that-climbs"),
        pytest.param({"api_version": "v3"}, "api_version", "'v3' is unknown", id="unknown-version"),
        pytest.param({"timeout": 0}, "timeout", "no number of seconds", id="no-timeout"),
        pytest.param({"base_url": "http://example.com"}, "host", "in the clear", id="plain-http"),
        pytest.param({"base_url": "http://127.0.0.1.example.com"}, "host", "in the clear", id="looks-like-loopback"),
        pytest.param({"base_url": "ftp://example.com"}, "host", "no https:// address", id="ftp"),
        pytest.param({"base_url": "example.com"}, "host", "no https:// address", id="no-scheme"),
        pytest.param({"base_url": "https://user:s3cret@example.com"}, "host", "more than host", id="userinfo"),
        pytest.param({"base_url": "https://example.com?token=s3cret"}, "host", "more than host", id="query"),
        pytest.param({"base_url": "https://example.com:port"}, "host", "no address that can be read", id="port"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named_without_the_secret(
    setting: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        Endpoint(**{**GOOD, **setting})
    assert caught.value.field == field
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "127.8.9.1", "localhost", "[::1]:8787"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert Endpoint(**GOOD, base_url=f"http://{host}/").base_url == f"http://{host}"


def test_the_token_is_not_shown() -> None:
    assert "s3cret" not in repr(Endpoint(**GOOD))


BAGGAGE = {"airflow.dag_id": "shop news", "airflow.run_id": "manual__2026-11-20T08:00:00+00:00, ü=;"}


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost", "[::1]:1"])
def test_a_server_on_this_machine_is_told_what_a_request_is_part_of(host: str) -> None:
    headers = Endpoint(**GOOD, base_url=f"http://{host}", baggage=BAGGAGE).headers
    run = "manual__2026-11-20T08%3A00%3A00%2B00%3A00%2C%20%C3%BC%3D%3B"
    assert headers["Baggage"] == f"airflow.dag_id=shop%20news,airflow.run_id={run}"
    assert "Baggage" not in Endpoint(**GOOD, base_url=f"http://{host}").headers


@pytest.mark.parametrize("host", ["api.cirrus.example", "127.0.0.1.cirrus.example", "10.0.0.1"])
def test_no_other_is_told_the_names_of_dags(host: str) -> None:
    assert "Baggage" not in Endpoint(**GOOD, base_url=f"https://{host}", baggage=BAGGAGE).headers
