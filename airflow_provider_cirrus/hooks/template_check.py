"""What is written out in a DAG file, against the definition of its template: a slip fails the parse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import is_literal
from airflow_provider_cirrus.delivery.audience.fields import TEMPLATE_FIELDS
from airflow_provider_cirrus.delivery.audience.filling import Filling
from airflow_provider_cirrus.templates.check import Mismatch, check
from airflow_provider_cirrus.templates.definitions import Definition

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.audience.columns import Columns
    from airflow_provider_cirrus.templates.store import Templates

# What suits every place, where a value is not known yet.
_ANY = "x"
# Of many messages that are written out, so many are looked at; all of them are when the task runs.
_MOST = 100


def check_literals(
    templates: Templates, message: Mapping[str, Any], columns: Columns | None, messages: Any = None
) -> None:
    """
    Check what is known when a DAG is parsed: how many parameters there are, of which kinds and names.

    :param message: what all messages share; templated in parts
    :param columns: of an audience; None: not known yet
    :param messages: dicts that differ from the common part, where they are written out
    :raises InvalidInput: the first parameter that does not fit, with the template's text
    """
    rows = [{}] if messages is None else messages
    if columns is None or not isinstance(rows, list | tuple):
        return
    for row in rows[:_MOST]:
        if not isinstance(row, Mapping):
            continue
        fields = {**message, **{name: value for name, value in row.items() if value is not None}}
        for definition in _definitions(templates, fields, columns):
            if found := _problems(definition, fields, columns):
                raise InvalidInput(found[0].field, found[0].problem, hint=found[0].hint)


def _definitions(templates: Templates, fields: Mapping[str, Any], columns: Columns) -> Iterator[Definition]:
    """Yield the definitions that a message may go by: one, or where its language is not known yet, each that is."""
    name, language = fields.get("template"), fields.get("language")
    if columns.template is not None or not isinstance(name, str) or not is_literal(name):
        return
    is_open = columns.language is not None or (isinstance(language, str) and not is_literal(language))
    if is_open:
        wanted = templates.languages_of(name)
    elif templates.languages:
        wanted = [templates.choose(name, language if isinstance(language, str) else None)]
    else:
        wanted = [language] if isinstance(language, str) else []
    for one in wanted:
        if (definition := templates.find(name, one)) is not None:
            yield definition


def _problems(definition: Definition, fields: Mapping[str, Any], columns: Columns) -> list[Mismatch]:
    given = {name: value for name in TEMPLATE_FIELDS if (value := fields.get(name)) is not None}
    unknown = {name for name, value in given.items() if not _has_shape(value)}
    if "components" in unknown:
        # They may hold any part.
        return []
    shaped = {name: _stand_in(value) for name, value in given.items() if name not in unknown}
    shaped |= {"template": definition.name, "language": definition.language}
    template = Filling(columns, shaped, None).template(columns.any_row(), None)
    return [one for one in check(definition, template) if one.field.partition("[")[0] not in unknown]


def _has_shape(value: Any) -> bool:
    """Return whether it is known how many parts a value has, and which."""
    return is_literal(value) or isinstance(value, list | tuple | Mapping)


def _stand_in(value: Any) -> Any:
    """Return a value with something in each place that is not known yet."""
    if is_literal(value):
        return value
    if isinstance(value, Mapping):
        return {key: _stand_in(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_stand_in(inner) for inner in value]
    return _ANY
