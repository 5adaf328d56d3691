from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.errors import InvalidInput


def campaign(**rest: Any) -> Campaign:
    return Campaign.build("opening_hours", "en", **rest)


def test_every_field_goes_out_under_cirruss_own_name() -> None:
    made = campaign(
        campaign_name="Spring",
        schedule="2090-01-01T02:00:00+02:00",
        expiration_date=datetime(2090, 2, 1, tzinfo=UTC),
        notify_mail="team@shop.example",
        substream_id=0,
        audience_id=7,
        save_as_new_audience="true",
        new_audience_name="Regulars",
        automation_script_id="12",
        message_key="spring-2090",
    )
    assert made.wire_fields("hAbc%3d%3d") == {
        "template_name": "opening_hours",
        "language_code": "en",
        "stream_id": "hAbc==",
        "notify_mail": "team@shop.example",
        "campaign_name": "Spring",
        "scheduled_date": "2090-01-01T00:00:00Z",
        "expiration_data": "2090-02-01T00:00:00Z",
        "substream_id": "0",
        "audience_id": "7",
        "save_as_new_audience": "true",
        "new_audience_name": "Regulars",
        "automation_script_id": "12",
    }


def test_what_is_not_given_is_not_sent() -> None:
    assert set(campaign().wire_fields("h==")) == {"template_name", "language_code", "stream_id"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"notify_mail": "team"}, "notify_mail: is no mail address", id="mail"),
        pytest.param({"campaign_name": "a\r\nb"}, "campaign_name: holds a line end", id="line-end"),
        pytest.param({"campaign_name": " "}, "campaign_name: is empty", id="blank"),
        pytest.param({"substream_id": -1}, "substream_id", id="sub-stream"),
        pytest.param({"schedule": "2090-01-01T00:00:00"}, "schedule: .* has no time zone", id="naive"),
        pytest.param({"new_audience_name": "x"}, "save_as_new_audience=True", id="name-without-save"),
        pytest.param(
            {"schedule": 4_000_000_000, "expiration_date": 4_000_000_000}, "not after schedule", id="expires-at-once"
        ),
        pytest.param({"expiration_data": 4_000_000_000}, "did you mean 'expiration_date'", id="as-on-the-wire"),
    ],
)
def test_a_slip_is_named(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        campaign(**given)


@pytest.mark.parametrize("name", ["schedule", "expiration_date"])
def test_a_past_time_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name}: .* is past"):
        campaign(**{name: 1_900_000_000}).check_ahead(now=1_900_000_001)
