"""A campaign: one template without parameters, to everybody in an audience file that Cirrus itself reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from airflow_provider_cirrus.api.models import Template, Whole, build
from airflow_provider_cirrus.api.schedule import check_ahead, to_unix
from airflow_provider_cirrus.api.template_parts import Identifier, Part

#: What users give beside template, language and file.
CAMPAIGN_FIELDS = (
    "campaign_name",
    "schedule",
    "expiration_date",
    "notify_mail",
    "substream_id",
    "audience_id",
    "save_as_new_audience",
    "new_audience_name",
    "automation_script_id",
    "message_key",
)
#: The column of the audience file that holds the recipient.
RECIPIENT_COLUMN = "phone1"

_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def _one_line(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty.")
    if not value.isprintable():
        raise ValueError("holds a line end or another control character.")
    return value.strip()


def _mail(value: str) -> str:
    if not _MAIL.fullmatch(value):
        raise ValueError(f"is no mail address ({len(value)} characters). Give one address, such as team@shop.example.")
    return value


_Line = Annotated[Identifier, AfterValidator(_one_line)]
_Time = Annotated[int, BeforeValidator(to_unix)]


class Campaign(Part):
    """
    What a campaign is, but for its audience file.

    :param template: a template that takes no parameters
    :param campaign_name: how the console names it
    :param schedule: when it is to begin (aware datetime, ISO text with zone, Unix seconds); None: at once
    :param expiration_date: when it ends, written as ``schedule``
    :param notify_mail: who is told about it
    :param substream_id: the sub-channel, 0 for none
    :param audience_id: an audience that Cirrus keeps
    :param save_as_new_audience: whether Cirrus is to keep the file as an audience
    :param new_audience_name: how that one is called
    :param automation_script_id: the script that takes the answers
    :param message_key: the user's own name for the campaign, under which it goes out once; never sent
    """

    template: Template
    campaign_name: _Line | None = None
    schedule: _Time | None = None
    expiration_date: _Time | None = None
    notify_mail: Annotated[_Line, AfterValidator(_mail)] | None = None
    substream_id: Annotated[Whole, Field(ge=0)] | None = None
    audience_id: _Line | None = None
    save_as_new_audience: bool | None = None
    new_audience_name: _Line | None = None
    automation_script_id: _Line | None = None
    message_key: Identifier | None = None

    @model_validator(mode="after")
    def _together(self) -> Campaign:
        if self.new_audience_name is not None and not self.save_as_new_audience:
            raise ValueError("new_audience_name goes with save_as_new_audience=True.")
        if self.expiration_date is not None and self.expiration_date <= (self.schedule or 0):
            raise ValueError("expiration_date is not after schedule.")
        return self

    @classmethod
    def build(cls, template: Any, language: Any, **rest: Any) -> Campaign:
        """
        Return a campaign from what a user wrote.

        :param template: name of the template
        :param language: its language code
        :param rest: of :data:`CAMPAIGN_FIELDS`
        :raises InvalidInput: names the first field that is wrong
        """
        return build(cls, {"template": build(Template, {"name": template, "language": language}), **rest})

    def check_ahead(self, now: float) -> None:
        """
        Refuse times that are past.

        :param now: Unix seconds
        :raises InvalidInput: names the time that is past
        """
        for name, moment in (("schedule", self.schedule), ("expiration_date", self.expiration_date)):
            if moment is not None:
                check_ahead(moment, now, name)

    def wire_fields(self, stream_id: str) -> dict[str, str]:
        """Return the form's fields as they go on the wire; what was not given is not sent."""
        found = {
            "template_name": self.template.name,
            "language_code": self.template.language,
            # The encrypted id, as everywhere; a form field is no path, so it is not percent-encoded.
            "stream_id": unquote(stream_id),
            "notify_mail": self.notify_mail,
            "campaign_name": self.campaign_name,
            "scheduled_date": _iso(self.schedule),
            # So spelled by Cirrus.
            "expiration_data": _iso(self.expiration_date),
            "substream_id": _text(self.substream_id),
            "audience_id": self.audience_id,
            "save_as_new_audience": _text(self.save_as_new_audience),
            "new_audience_name": self.new_audience_name,
            "automation_script_id": self.automation_script_id,
        }
        return {name: value for name, value in found.items() if value is not None}


def _iso(moment: int | None) -> str | None:
    # The format is not documented: ISO 8601 in UTC, as the envelope's own time is written.
    return None if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _text(value: int | bool | None) -> str | None:
    return None if value is None else str(value).lower()
