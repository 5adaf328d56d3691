"""The fields of a message as users write them: their names, and the template that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Template, build
from airflow_provider_cirrus.api.text import as_text

if TYPE_CHECKING:
    from airflow_provider_cirrus.templates.store import Templates

#: What a message takes for its template, and for itself; the names users write.
TEMPLATE_FIELDS = ("template", "language", "header", "body", "buttons", "components", "authentication_code")
MESSAGE_FIELDS = ("schedule", "object_data", "message_key")


class MessageFields(TypedDict, total=False):
    """What all messages of a send share; the same names as the operators' arguments."""

    template: str | None
    language: str | None
    header: Any
    body: Sequence[Any] | Mapping[str, Any] | None
    buttons: Sequence[Mapping[str, Any]] | None
    components: Sequence[Mapping[str, Any]] | None
    authentication_code: str | None
    object_data: Mapping[str, Any] | None
    schedule: Any
    message_key: str | None


def template_of(fields: Mapping[str, Any], templates: Templates | None) -> Template:
    """
    Return the template that fields make.

    :param fields: of which those of :data:`TEMPLATE_FIELDS` count
    :param templates: the definitions that it is checked against, and that its language is chosen from
    :raises InvalidInput: names what is wrong
    """
    given = {name: fields[name] for name in TEMPLATE_FIELDS if name in fields and name != "template"}
    name = fields.get("template")
    if templates is not None and templates.languages and isinstance(name, str):
        given["language"] = templates.choose(name.strip(), given.get("language"))
    template = build(Template, {"language": None, **given, "name": name})
    if templates is not None:
        templates.check(template)
    return template


def rest_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fields say of a message beside its template."""
    return {name: fields[name] for name in MESSAGE_FIELDS if name in fields}


def text_of(value: Any, field: str) -> str:
    """
    Return a value as text.

    :param field: how errors name it
    :raises InvalidInput: it is nothing that has a text
    """
    try:
        return as_text(value)
    except ValueError as error:
        raise InvalidInput(field, str(error)) from None
