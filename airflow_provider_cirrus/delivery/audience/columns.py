"""Which columns of an audience fill what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_cirrus.api.errors import InvalidInput


@dataclass(frozen=True)
class Columns:
    """
    Which columns of an audience fill what; they overrule what all messages share.

    :ivar to: the recipient
    :ivar body: columns in the order of the parameters, or parameter name to column
    :ivar header: a text; or, where the common header is a dict with a media type, its link or id
    :ivar buttons: the values of the common buttons, by place; without those, of url buttons
    :ivar key: the ``message_key``
    :ivar schedule: when the message is to leave
    :ivar language: such as ``pt_BR``
    :ivar template: its name
    :ivar zone: the recipient's IANA time zone; without it, and where it is blank, the number tells
    :ivar delimiter: one character, between the cells of CSV; None: a comma
    :ivar encoding: of the text in CSV and JSON Lines, such as ``cp1252``; None: UTF-8
    :ivar row_context: further columns by the argument that names them: they fill nothing, and stay with the message
    """

    to: str = "to"
    body: Sequence[str] | Mapping[str, str] = ()
    header: str | None = None
    buttons: Sequence[str] = ()
    key: str | None = None
    schedule: str | None = None
    language: str | None = None
    template: str | None = None
    zone: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    row_context: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self) -> None:
        """
        Check what is written out.

        :raises InvalidInput: a text where a list belongs
        """
        self.needed()

    def needed(self) -> dict[str, list[str]]:
        """
        Return the columns by the argument that names them.

        :raises InvalidInput: a text where a list belongs
        """
        found: dict[str, list[str]] = {}
        for argument, value in (("columns.body", self.body), ("columns.buttons", self.buttons)):
            if isinstance(value, str):
                raise InvalidInput(argument, "is a text.", hint="Give a list of columns, even of one.")
            found[argument] = list(value.values() if isinstance(value, Mapping) else value)
        for name in ("to", "header", "key", "schedule", "language", "template"):
            if (column := getattr(self, name)) is not None:
                found[f"columns.{name}"] = [column]
        return {**found, **{argument: list(names) for argument, names in self.row_context.items()}}

    def any_row(self) -> dict[str, str]:
        """Return a row with a value that suits every place, so that the rest can be checked before there is any."""
        return {name: "x" for names in self.needed().values() for name in names}

    @property
    def kept(self) -> list[str]:
        """The columns that stay with a message as its row_context."""
        return list(dict.fromkeys(name for names in self.row_context.values() for name in names))

    def of(self, field: str) -> str | None:
        """Return the column that fills a field, by the name that errors give it: ``body[1]``; None where none does."""
        name, _, rest = field.replace("[", ".").replace("]", "").partition(".")
        place = rest.partition(".")[0]
        if name == "body" and isinstance(self.body, Mapping):
            return self.body.get(rest)
        if name in ("body", "buttons"):
            columns = list(self.body if name == "body" else self.buttons)
            return columns[int(place)] if place.isdecimal() and int(place) < len(columns) else None
        found = getattr(self, "key" if name == "message_key" else name, None)
        return found if isinstance(found, str) else None
