"""Who gets what: from what users write to messages that can be sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template, build
from airflow_provider_cirrus.api.parts import unknown
from airflow_provider_cirrus.api.schedule import check_ahead

Row = TypeVar("Row")

#: What a message takes for its template, and for itself; the names users write.
TEMPLATE_FIELDS = ("template", "language", "header", "body", "buttons", "components", "authentication_code")
MESSAGE_FIELDS = ("schedule", "object_data", "message_key")

# Enough to see the pattern in a list that is wrong throughout.
_SHOWN = 5
# From a range that is reserved for examples: stands in where only the rest of a message is checked.
_STAND_IN = "447700900000"


def read_messages(
    to: Any = None,
    messages: Any = None,
    common: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> list[Message]:
    """
    Return the messages for a list of recipients, or of a list of per-recipient dicts.

    :param to: one number, or a list of them
    :param messages: dicts with ``to`` and whatever differs from ``common``
    :param common: the fields that all messages share, of :data:`TEMPLATE_FIELDS` and :data:`MESSAGE_FIELDS`
    :param now: Unix seconds, before which no schedule may lie
    :raises InvalidInput: names up to five of the messages that cannot be sent; then none is
    """
    moment = time.time() if now is None else now
    shared = {name: value for name, value in (common or {}).items() if value is not None}
    if (to is None) == (messages is None):
        raise InvalidInput("to", "and messages: give exactly one of them.")
    if to is not None:
        return _to_many(to, shared, moment)
    return _each_its_own(messages, shared, moment)


def check_common(common: Mapping[str, Any]) -> None:
    """
    Check all of a message but its recipient; a schedule may be past, as a DAG outlives its dates.

    :raises InvalidInput: no recipient could be sent it
    """
    _without_recipient({name: value for name, value in common.items() if value is not None})


def check_recipients(to: Any) -> None:
    """
    Check recipients alone.

    :raises InvalidInput: names those that are no numbers
    """
    template = build(Template, {"name": "any", "language": "en"})
    _all_or_nothing(_recipients(to), lambda number: Message.build(number, template))


def _to_many(to: Any, shared: Mapping[str, Any], now: float) -> list[Message]:
    # The common part first: what is wrong with it is not the fault of one recipient.
    model = _without_recipient(shared)
    _check_ahead(model, now)
    rest = {name: getattr(model, name) for name in MESSAGE_FIELDS}
    return _all_or_nothing(_recipients(to), lambda number: Message.build(number, model.template, **rest))


def _each_its_own(messages: Any, shared: Mapping[str, Any], now: float) -> list[Message]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise InvalidInput("messages", f"is of type {type(messages).__name__}.", hint="Give a list of dicts.")
    common_template: list[Template] = []

    def read(row: Any) -> Message:
        if not isinstance(row, Mapping):
            raise InvalidInput("", f"is of type {type(row).__name__}, not a dict.")
        known = ("to", *TEMPLATE_FIELDS, *MESSAGE_FIELDS)
        for name in row:
            if name not in known:
                raise InvalidInput("", unknown("key", str(name), known))
        fields = {**shared, **{name: value for name, value in row.items() if value is not None}}
        if any(row.get(name) is not None for name in TEMPLATE_FIELDS):
            template = _template(fields)
        else:
            if not common_template:
                common_template.append(_template(fields))
            template = common_template[0]
        message = Message.build(fields.get("to", ""), template, **_rest(fields))
        _check_ahead(message, now)
        return message

    return _all_or_nothing([(f"messages[{place}]", row) for place, row in enumerate(messages)], read)


def _recipients(to: Any) -> list[tuple[str, Any]]:
    if isinstance(to, str | int | float):
        return [("to", to)]
    if not isinstance(to, Iterable) or isinstance(to, Mapping):
        raise InvalidInput("to", f"is of type {type(to).__name__}.", hint="Give a number, or a list of numbers.")
    return [(f"to[{place}]", number) for place, number in enumerate(to)]


def _without_recipient(shared: Mapping[str, Any]) -> Message:
    return Message.build(_STAND_IN, _template(shared), **_rest(shared))


def _template(fields: Mapping[str, Any]) -> Template:
    given = {name: fields[name] for name in TEMPLATE_FIELDS if name in fields and name != "template"}
    return build(Template, {"language": None, **given, "name": fields.get("template")})


def _rest(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in MESSAGE_FIELDS if name in fields}


def _check_ahead(message: Message, now: float) -> None:
    if message.schedule is not None:
        check_ahead(message.schedule, now)


def _all_or_nothing(rows: Sequence[tuple[str, Row]], read: Callable[[Row], Message]) -> list[Message]:
    """Read every row, so that one error names all that are wrong."""
    found: list[Message] = []
    wrong: list[InvalidInput] = []
    for place, row in rows:
        try:
            found.append(read(row))
        except InvalidInput as error:
            inner = "" if error.field in ("", "to") and place.startswith("to") else f".{error.field}"
            wrong.append(InvalidInput(place + inner.rstrip("."), error.problem, hint=error.hint))
    if not rows:
        raise InvalidInput("to or messages", "holds no recipient.", hint="Give at least one, or skip the task.")
    if wrong:
        raise _all_of(wrong, len(rows))
    return found


def _all_of(wrong: Sequence[InvalidInput], total: int) -> InvalidInput:
    if total == 1:
        return wrong[0]
    others = "".join(f" {error.message}" for error in wrong[1:_SHOWN])
    unsaid = f" And {len(wrong) - _SHOWN} more." if len(wrong) > _SHOWN else ""
    count = f"({len(wrong)} of {total} messages cannot be sent; nothing was.)"
    return InvalidInput(wrong[0].field, f"{wrong[0].problem}{others}{unsaid} {count}", hint=wrong[0].hint)
