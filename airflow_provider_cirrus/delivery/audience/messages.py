"""Who gets what: from what users write to messages that can be sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template, build
from airflow_provider_cirrus.api.phone import mask_all, to_digits
from airflow_provider_cirrus.api.schedule import check_ahead
from airflow_provider_cirrus.api.template_parts import unknown, with_lower_type
from airflow_provider_cirrus.api.text import as_text
from airflow_provider_cirrus.api.values import plain
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.rows import UTF_8, RejectedRow, open_rows, value_of
from airflow_provider_cirrus.delivery.audience.rows import count_hint as count_hint
from airflow_provider_cirrus.delivery.audience.shards import in_shard
from airflow_provider_cirrus.delivery.audience.table import BadRow

Row = TypeVar("Row")

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


# Enough to see the pattern in a list that is wrong throughout.
_SHOWN = 5
# From a range that is reserved for examples: stands in where only the rest of a message is checked.
_STAND_IN = "447700900000"
# What a column fills in a button of each kind.
_MAIN_VALUE = {"url": "text", "quick_reply": "payload", "copy_code": "coupon_code"}


def read_audience(
    source: Any,
    columns: Columns,
    common: Mapping[str, Any],
    *,
    now: Callable[[], float] = time.time,
    shard: tuple[int, int] | None = None,
) -> Iterator[tuple[int, Message | RejectedRow]]:
    """
    Return the messages of an audience as a stream, each with its index; what is wrong throughout is found at once.

    :param source: a file or an iterable of dicts; see :func:`~.audience.rows.open_rows`
    :param columns: which column fills what
    :param common: the fields that all messages share, of :data:`TEMPLATE_FIELDS` and :data:`MESSAGE_FIELDS`
    :param now: returns Unix seconds, before which no schedule may lie
    :param shard: a number from 0 and how many shards there are: only the rows of that one, under their index
    :raises InvalidInput: the common part, a column that the header lacks, or a file that cannot be read
    """
    needed = columns.needed()
    shared = {name: value for name, value in common.items() if value is not None}
    filled = _Filling(columns, shared)
    # A value that suits every place stands in for the columns, so that the rest is checked before any row.
    any_row = {name: "x" for names in needed.values() for name in names}
    filled.model = Message.build(_STAND_IN, filled.template(any_row), **_rest(shared))
    if columns.schedule is None:
        _check_ahead(filled.model, now())
    rows = open_rows(source, needed=needed, delimiter=columns.delimiter or ",", encoding=columns.encoding or UTF_8)
    found = _read_rows(rows, filled, now)
    return found if shard is None else in_shard(found, shard)


class _Filling:
    """
    Makes messages of rows; their template only once where no column has a part in it.

    :ivar model: a message of the audience to nobody; set before rows are filled in
    """

    model: Message

    def __init__(self, columns: Columns, shared: Mapping[str, Any]) -> None:
        self.columns = columns
        self.shared = shared
        self.buttons = _buttons_to_fill(columns, shared)
        own = (columns.header, columns.buttons, columns.language, columns.template)
        self._same = None if any(own) or columns.body else _template(shared)
        # Of nearly every audience: rows differ in recipient, body and key, and all else was checked with the model.
        self._by_name = columns.body if isinstance(columns.body, Mapping) else None
        self._kept = columns.kept
        self.is_plain = not any(own) and columns.schedule is None

    def plain(self, row: Mapping[str, Any]) -> Message:
        """
        Return the message of a row where :attr:`is_plain`, the quick way.

        :raises ValueError: something is wrong with it; :meth:`message` says what
        """
        columns, template = self.columns, self.model.template
        if self._by_name:
            template = template.with_body({name: value_of(row, at, name) for name, at in self._by_name.items()})
        elif columns.body:
            template = template.with_body([value_of(row, at, "body") for at in columns.body])
        rest = self.rest(row) if columns.key is not None or self._kept else {}
        return self.model.to_another(to_digits(value_of(row, columns.to, "to")), template, **rest)

    def message(self, digits: str, row: Mapping[str, Any]) -> Message:
        """Return the message of a row, checking all of it; raises InvalidInput."""
        rest = {name: getattr(self.model, name) for name in MESSAGE_FIELDS}
        return Message.build(digits, self.template(row), **{**rest, **self.rest(row)})

    def template(self, row: Mapping[str, Any]) -> Template:
        """Return the template of a row; raises InvalidInput."""
        if self._same:
            return self._same
        columns, fields = self.columns, dict(self.shared)
        if isinstance(columns.body, Mapping) and columns.body:
            fields["body"] = {name: value_of(row, at, f"body.{name}") for name, at in columns.body.items()}
        elif columns.body:
            fields["body"] = [value_of(row, at, f"body[{place}]") for place, at in enumerate(columns.body)]
        if columns.header is not None:
            fields["header"] = self._header(value_of(row, columns.header, "header"))
        if columns.buttons:
            fields["buttons"] = [dict(button) for button in self.buttons]
            for place, at in enumerate(columns.buttons):
                button = fields["buttons"][place]
                button[_MAIN_VALUE[button["type"]]] = value_of(row, at, f"buttons[{place}]")
        for name in ("language", "template"):
            if (at := getattr(columns, name)) is not None:
                fields[name] = _text(value_of(row, at, name), name)
        return _template(fields)

    def rest(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return schedule, key and row_context of a row, where columns hold them; raises InvalidInput."""
        found: dict[str, Any] = {}
        if self.columns.schedule is not None:
            found["schedule"] = value_of(row, self.columns.schedule, "schedule")
        if self.columns.key is not None:
            found["message_key"] = _text(value_of(row, self.columns.key, "message_key"), "message_key")
        if self._kept:
            found["row_context"] = {name: plain(row[name]) for name in self._kept if name in row}
        return found

    def _header(self, value: Any) -> Any:
        common = self.shared.get("header")
        if not isinstance(common, Mapping):
            return value
        if common.get("type", "text") == "text":
            return {**common, "text": value}
        kept = {name: part for name, part in common.items() if name not in ("link", "id")}
        text = _text(value, "header")
        return {**kept, "link" if text.startswith(("http://", "https://")) else "id": text}


def _buttons_to_fill(columns: Columns, shared: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    common = shared.get("buttons") or [{"type": "url"} for _ in columns.buttons]
    if not columns.buttons:
        return []
    if isinstance(common, str | Mapping) or not all(isinstance(button, Mapping) for button in common):
        raise InvalidInput("buttons", "is not a list of dicts.")
    if len(columns.buttons) > len(common):
        raise InvalidInput("columns.buttons", f"names {len(columns.buttons)} columns for {len(common)} buttons.")
    common = [with_lower_type(button) for button in common]
    for place, button in enumerate(common[: len(columns.buttons)]):
        if button.get("type") not in _MAIN_VALUE:
            raise InvalidInput(f"columns.buttons[{place}]", f"fills only buttons of type {', '.join(_MAIN_VALUE)}.")
    return common


def _read_rows(
    rows: Iterable[Any], filled: _Filling, now: Callable[[], float]
) -> Iterator[tuple[int, Message | RejectedRow]]:
    for index, row in enumerate(rows):
        if isinstance(row, BadRow):
            yield index, RejectedRow(index, "", f"row {index + 1} {row.reason}")
            continue
        digits = ""
        try:
            message = _quickly(filled, row)
            if message is None:
                digits = to_digits(value_of(row, filled.columns.to, "to"))
                message = filled.message(digits, row)
            _check_ahead(message, now())
            yield index, message
        except InvalidInput as error:
            yield index, RejectedRow(index, digits, _reason(index, row, filled.columns, error))


def _quickly(filled: _Filling, row: Mapping[str, Any]) -> Message | None:
    if not filled.is_plain:
        return None
    try:
        return filled.plain(row)
    except ValueError:
        # It takes the whole check to say what is wrong, and where.
        return None


def check_rows(
    source: Any, columns: Columns, common: Mapping[str, Any], *, now: Callable[[], float] = time.time
) -> None:
    """
    Look at all rows of an audience.

    :param source: as of :func:`read_audience`; it must be there to be read again
    :raises InvalidInput: a row that cannot become a message, or an audience that can be read only once
    """
    if isinstance(source, Iterator):
        raise InvalidInput(
            "delivery.on_bad_rows",
            "is fail, and the audience can be read only once.",
            hint="Give a list, a table or a file.",
        )
    first: list[str] = []
    bad = total = 0
    for _, one in read_audience(source, columns, common, now=now):
        total += 1
        if isinstance(one, RejectedRow):
            bad += 1
            first += [one.reason] if len(first) < _SHOWN else []
    if bad:
        more = f" And {bad - _SHOWN} more." if bad > _SHOWN else ""
        raise InvalidInput(
            "audience",
            f"{' '.join(first)}{more} ({bad} of {total} rows cannot be messaged.)",
            hint='Mend them, or leave on_bad_rows="reject": the others are served then.',
        )


def _text(value: Any, field: str) -> str:
    try:
        return as_text(value)
    except ValueError as error:
        raise InvalidInput(field, str(error)) from None


def _reason(index: int, row: Mapping[str, Any], columns: Columns, error: InvalidInput) -> str:
    column = columns.of(error.field)
    place = f"{error.field}:" if column is None else f"column {column!r}"
    problem = error.problem
    if column is not None and isinstance(value := row.get(column), str):
        # Columns get swapped: what is no time may be a phone number, in a spelling that no mask knows.
        problem = problem.replace(repr(value.strip()), f"a text of {len(value)} characters")
    return mask_all(f"row {index + 1}, {place} {problem} {error.hint}".rstrip())


def read_messages(
    to: Any = None,
    messages: Any = None,
    common: Mapping[str, Any] | None = None,
    now: float | None = None,
    row_context: Sequence[str] = (),
) -> list[Message]:
    """
    Return the messages for a list of recipients, or of a list of per-recipient dicts.

    :param to: one number, or a list of them
    :param messages: dicts with ``to`` and whatever differs from ``common``
    :param common: the fields that all messages share, of :data:`TEMPLATE_FIELDS` and :data:`MESSAGE_FIELDS`
    :param now: Unix seconds, before which no schedule may lie
    :param row_context: further keys that the dicts may have, which stay with the message
    :raises InvalidInput: names up to five of the messages that cannot be sent; then none is
    """
    moment = time.time() if now is None else now
    shared = {name: value for name, value in (common or {}).items() if value is not None}
    if (to is None) == (messages is None):
        raise InvalidInput("to", "and messages: give exactly one of them.")
    if to is not None:
        return _to_many(to, shared, moment)
    return _each_its_own(messages, shared, moment, row_context)


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


def _each_its_own(messages: Any, shared: Mapping[str, Any], now: float, row_context: Sequence[str]) -> list[Message]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise InvalidInput("messages", f"is of type {type(messages).__name__}.", hint="Give a list of dicts.")
    common_template: list[Template] = []

    def read(row: Any) -> Message:
        if not isinstance(row, Mapping):
            raise InvalidInput("", f"is of type {type(row).__name__}, not a dict.")
        known = ("to", *TEMPLATE_FIELDS, *MESSAGE_FIELDS)
        for name in row:
            if name not in known and name not in row_context:
                raise InvalidInput("", unknown("key", str(name), known))
        fields = {**shared, **{name: value for name, value in row.items() if value is not None}}
        if any(row.get(name) is not None for name in TEMPLATE_FIELDS):
            template = _template(fields)
        else:
            if not common_template:
                common_template.append(_template(fields))
            template = common_template[0]
        kept = {name: plain(row[name]) for name in row_context if name in row}
        message = Message.build(fields.get("to", ""), template, **_rest(fields), row_context=kept)
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
