"""Who gets what: from what users write to messages that can be sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template, build
from airflow_provider_cirrus.api.phone import mask_all, to_digits
from airflow_provider_cirrus.api.schedule import check_ahead
from airflow_provider_cirrus.api.template_parts import unknown
from airflow_provider_cirrus.api.values import plain
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.experiment import Experiment
from airflow_provider_cirrus.delivery.audience.fields import MESSAGE_FIELDS, TEMPLATE_FIELDS, rest_of, template_of
from airflow_provider_cirrus.delivery.audience.filling import STAND_IN, Filling, Variants
from airflow_provider_cirrus.delivery.audience.rows import UTF_8, RejectedRow, open_rows, value_of
from airflow_provider_cirrus.delivery.audience.rows import count_hint as count_hint
from airflow_provider_cirrus.delivery.audience.shards import in_shard
from airflow_provider_cirrus.delivery.audience.table import BadRow

if TYPE_CHECKING:
    from airflow_provider_cirrus.templates.store import Templates

Row = TypeVar("Row")

# Enough to see the pattern in a list that is wrong throughout.
_SHOWN = 5


def read_audience(
    source: Any,
    columns: Columns,
    common: Mapping[str, Any],
    *,
    now: Callable[[], float] = time.time,
    shard: tuple[int, int] | None = None,
    templates: Templates | None = None,
    experiment: Experiment | None = None,
) -> Iterator[tuple[int, Message | RejectedRow]]:
    """
    Return the messages of an audience as a stream, each with its index; what is wrong throughout is found at once.

    :param source: a file or an iterable of dicts; see :func:`~.audience.rows.open_rows`
    :param columns: which column fills what
    :param common: the fields that all messages share, of :data:`TEMPLATE_FIELDS` and :data:`MESSAGE_FIELDS`
    :param now: returns Unix seconds, before which no schedule may lie
    :param shard: a number from 0 and how many shards there are: only the rows of that one, under their index
    :param templates: the definitions that messages are checked against
    :param experiment: says who gets which variant
    :raises InvalidInput: the common part, a variant, a column that the header lacks, or a file that cannot be read
    """
    needed = columns.needed()
    shared = {name: value for name, value in common.items() if value is not None}
    filled = Filling(columns, shared, templates)
    filled.take_model(columns.any_row())
    if columns.schedule is None:
        _check_ahead(filled.model, now())
    if experiment is not None:
        filled = Variants(filled, experiment)
    rows = open_rows(source, needed=needed, delimiter=columns.delimiter or ",", encoding=columns.encoding or UTF_8)
    found = _read_rows(rows, filled, now)
    return found if shard is None else in_shard(found, shard)


def _read_rows(
    rows: Iterable[Any], filled: Filling, now: Callable[[], float]
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


def _quickly(filled: Filling, row: Mapping[str, Any]) -> Message | None:
    if not filled.is_plain:
        return None
    try:
        return filled.plain(row)
    except ValueError:
        # It takes the whole check to say what is wrong, and where.
        return None


def check_rows(
    source: Any,
    columns: Columns,
    common: Mapping[str, Any],
    *,
    now: Callable[[], float] = time.time,
    templates: Templates | None = None,
    experiment: Experiment | None = None,
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
    for _, one in read_audience(source, columns, common, now=now, templates=templates, experiment=experiment):
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
    templates: Templates | None = None,
    experiment: Experiment | None = None,
) -> list[Message]:
    """
    Return the messages for a list of recipients, or of a list of per-recipient dicts.

    :param to: one number, or a list of them
    :param messages: dicts with ``to`` and whatever differs from ``common``
    :param common: the fields that all messages share, of :data:`TEMPLATE_FIELDS` and :data:`MESSAGE_FIELDS`
    :param now: Unix seconds, before which no schedule may lie
    :param row_context: further keys that the dicts may have, which stay with the message
    :param templates: the definitions that messages are checked against
    :param experiment: says who gets which variant
    :raises InvalidInput: names up to five of the messages that cannot be sent; then none is
    """
    moment = time.time() if now is None else now
    shared = {name: value for name, value in (common or {}).items() if value is not None}
    if (to is None) == (messages is None):
        raise InvalidInput("to", "and messages: give exactly one of them.")
    if to is not None:
        return _to_many(to, _Shared(shared, templates, experiment), moment)
    return _each_its_own(messages, _Shared(shared, templates, experiment), moment, row_context)


def check_common(common: Mapping[str, Any], columns: Columns | None = None) -> None:
    """
    Check all of a message but its recipient; a schedule may be past, as a DAG outlives its dates.

    :param columns: of an audience, which fill in what is left open
    :raises InvalidInput: no recipient could be sent it
    """
    shared = {name: value for name, value in common.items() if value is not None}
    if columns is not None:
        shared["template"] = shared.get("template", "any")
        template = Filling(columns, shared, None).template(columns.any_row(), None)
        Message.build(STAND_IN, template, **rest_of(shared))
    else:
        _without_recipient(shared, None)


def check_recipients(to: Any) -> None:
    """
    Check recipients alone.

    :raises InvalidInput: names those that are no numbers
    """
    template = build(Template, {"name": "any", "language": "en"})
    _all_or_nothing(_recipients(to), lambda number: Message.build(number, template))


class _Shared:
    """What messages share, by the variants of their recipients; each template is made once."""

    def __init__(self, fields: Mapping[str, Any], templates: Templates | None, experiment: Experiment | None) -> None:
        self.templates = templates
        self._experiment = experiment
        variants = {} if experiment is None else experiment.variants
        self._fields = {"": fields, **{name: {**fields, **changes} for name, changes in variants.items()}}
        self._made: dict[str, Template] = {}

    def check(self) -> Message:
        """Return a message to nobody, of what all share; raises InvalidInput for what is wrong, in a variant, too."""
        for name in self._fields:
            self.template(name)
        return Message.build(STAND_IN, self.template(""), **rest_of(self._fields[""]))

    def of(self, to: Any) -> tuple[str, Mapping[str, Any]]:
        """Return the variant of a recipient, and the fields; raises InvalidInput where it is no number."""
        if self._experiment is None:
            return "", self._fields[""]
        name = self._experiment.variant_of(to_digits(to))
        # Whoever is held out is told so by the rules.
        return (name, self._fields[name]) if name in self._fields else ("", self._fields[""])

    def template(self, name: str) -> Template:
        """Return the template of a variant; raises InvalidInput."""
        if name not in self._made:
            self._made[name] = template_of(self._fields[name], self.templates)
        return self._made[name]


def _to_many(to: Any, shared: _Shared, now: float) -> list[Message]:
    # The common part first: what is wrong with it is not the fault of one recipient.
    model = shared.check()
    _check_ahead(model, now)
    rest = {name: getattr(model, name) for name in MESSAGE_FIELDS}

    def read(number: Any) -> Message:
        return Message.build(number, shared.template(shared.of(number)[0]), **rest)

    return _all_or_nothing(_recipients(to), read)


def _each_its_own(messages: Any, shared: _Shared, now: float, row_context: Sequence[str]) -> list[Message]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise InvalidInput("messages", f"is of type {type(messages).__name__}.", hint="Give a list of dicts.")

    def read(row: Any) -> Message:
        if not isinstance(row, Mapping):
            raise InvalidInput("", f"is of type {type(row).__name__}, not a dict.")
        known = ("to", *TEMPLATE_FIELDS, *MESSAGE_FIELDS)
        for name in row:
            if name not in known and name not in row_context:
                raise InvalidInput("", unknown("key", str(name), known))
        variant, common = shared.of(row.get("to", ""))
        fields = {**common, **{name: value for name, value in row.items() if value is not None}}
        if any(row.get(name) is not None for name in TEMPLATE_FIELDS):
            template = template_of(fields, shared.templates)
        else:
            template = shared.template(variant)
        kept = {name: plain(row[name]) for name in row_context if name in row}
        message = Message.build(fields.get("to", ""), template, **rest_of(fields), row_context=kept)
        _check_ahead(message, now)
        return message

    return _all_or_nothing([(f"messages[{place}]", row) for place, row in enumerate(messages)], read)


def _recipients(to: Any) -> list[tuple[str, Any]]:
    if isinstance(to, str | int | float):
        return [("to", to)]
    if not isinstance(to, Iterable) or isinstance(to, Mapping):
        raise InvalidInput("to", f"is of type {type(to).__name__}.", hint="Give a number, or a list of numbers.")
    return [(f"to[{place}]", number) for place, number in enumerate(to)]


def _without_recipient(shared: Mapping[str, Any], templates: Templates | None) -> Message:
    return Message.build(STAND_IN, template_of(shared, templates), **rest_of(shared))


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
