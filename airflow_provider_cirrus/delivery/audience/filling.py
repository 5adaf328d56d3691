"""From a row to its message: the quick way where rows differ in little, and the whole way, which says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template
from airflow_provider_cirrus.api.phone import to_digits
from airflow_provider_cirrus.api.template_parts import with_lower_type
from airflow_provider_cirrus.api.values import plain
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.fields import MESSAGE_FIELDS, rest_of, template_of, text_of
from airflow_provider_cirrus.delivery.audience.rows import value_of

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.audience.experiment import Experiment
    from airflow_provider_cirrus.templates.store import Templates

#: From a range that is reserved for examples: stands in where only the rest of a message is checked.
STAND_IN = "447700900000"
# What a column fills in a button of each kind.
_MAIN_VALUE = {"url": "text", "quick_reply": "payload", "copy_code": "coupon_code"}


class Filling:
    """
    Makes messages of rows; their template only once where no column has a part in it.

    :ivar model: a message of the audience to nobody; set before rows are filled in
    """

    model: Message

    def __init__(self, columns: Columns, shared: Mapping[str, Any], templates: Templates | None) -> None:
        self.columns = columns
        self.shared = shared
        self.templates = templates
        # Characters that a row's parameters may come to, where that is all that a definition still has to say.
        self._budget: int | None = None
        self.buttons = _buttons_to_fill(columns, shared)
        own = (columns.header, columns.buttons, columns.language, columns.template)
        self._same = None if any(own) or columns.body else template_of(shared, templates)
        # Of nearly every audience: rows differ in recipient, body and key, and all else was checked with the model.
        self._by_name = columns.body if isinstance(columns.body, Mapping) else None
        self._kept = columns.kept
        self.is_plain = not any(own) and columns.schedule is None

    def take_model(self, any_row: Mapping[str, Any]) -> None:
        """
        Make the model of a row that suits every place, which checks all that rows have in common.

        :raises InvalidInput: nobody could be sent it
        """
        named_by_rows = self.columns.template is not None or self.columns.language is not None
        template = self.template(any_row, None if named_by_rows else self.templates)
        self.model = Message.build(STAND_IN, template, **rest_of(self.shared))
        if self.templates is not None and not named_by_rows:
            self._budget = self.templates.budget(template)
            # Where it cannot be said in a number, each row is checked as a whole.
            self.is_plain = self.is_plain and self._budget is not None

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
        if self._budget is not None:
            body = template.body
            if sum(map(len, body.values() if isinstance(body, dict) else body)) > self._budget:
                raise ValueError("is too long")
        rest = self.rest(row) if columns.key is not None or self._kept else {}
        return self.model.to_another(to_digits(value_of(row, columns.to, "to")), template, **rest)

    def message(self, digits: str, row: Mapping[str, Any]) -> Message:
        """Return the message of a row, checking all of it; raises InvalidInput."""
        rest = {name: getattr(self.model, name) for name in MESSAGE_FIELDS}
        return Message.build(digits, self.template(row, self.templates), **{**rest, **self.rest(row)})

    def template(self, row: Mapping[str, Any], templates: Templates | None) -> Template:
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
                fields[name] = text_of(value_of(row, at, name), name)
        return template_of(fields, templates)

    def rest(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return schedule, key and row_context of a row, where columns hold them; raises InvalidInput."""
        found: dict[str, Any] = {}
        if self.columns.schedule is not None:
            found["schedule"] = value_of(row, self.columns.schedule, "schedule")
        if self.columns.key is not None:
            found["message_key"] = text_of(value_of(row, self.columns.key, "message_key"), "message_key")
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
        text = text_of(value, "header")
        return {**kept, "link" if text.startswith(("http://", "https://")) else "id": text}


class Variants(Filling):
    """
    The same where recipients get variants: each has a filling of its own.

    :param base: of what all messages share
    :param experiment: says who gets which
    :raises InvalidInput: a variant that nobody could be sent
    """

    def __init__(self, base: Filling, experiment: Experiment) -> None:
        super().__init__(base.columns, base.shared, base.templates)
        self.model = base.model
        # The quick way knows no recipient before it has the message.
        self.is_plain = False
        self._base = base
        self._experiment = experiment
        self._by_name_of_variant: dict[str, Filling] = {}
        for name, changes in experiment.variants.items():
            made = Filling(base.columns, {**base.shared, **changes}, base.templates)
            made.take_model(base.columns.any_row())
            self._by_name_of_variant[name] = made

    def message(self, digits: str, row: Mapping[str, Any]) -> Message:
        """Return the message of a row, checking all of it; raises InvalidInput."""
        # Whoever is held out is told so by the rules.
        filled = self._by_name_of_variant.get(self._experiment.variant_of(digits), self._base)
        return filled.message(digits, row)


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
