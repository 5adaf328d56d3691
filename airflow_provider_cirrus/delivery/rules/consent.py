"""Consent: who agreed to messages, and who wants none; asked of every recipient before anything leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask_all, other_spelling
from airflow_provider_cirrus.api.text import cut
from airflow_provider_cirrus.delivery.contact_lists.open import open_numbers
from airflow_provider_cirrus.delivery.contact_lists.spec import (
    NO_RECORD,
    ConsentRecord,
    FileNumbers,
    Numbers,
    SqlNumbers,
    parse_numbers,
    record_text,
)
from airflow_provider_cirrus.delivery.rules.answers import read_answer

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

#: Meta's categories of templates.
CATEGORIES = ("marketing", "utility", "authentication")

# Characters of a refusal that tell of an entry.
_DETAILS = 80


@dataclass(frozen=True)
class OptIn:
    """
    Where it is recorded who agreed to messages; whoever is not recorded there gets none.

    ::

        OptIn(column="agreed", source="web form", version_column="wording")
        OptIn(SqlNumbers("SELECT phone, agreed_at FROM consents", "crm", time_column="agreed_at"), source="web form")
        OptIn(by_category={"marketing": "s3://shop/newsletter.csv", "utility": OptIn(column="agreed")})

    :param numbers: who agreed, as :func:`~.contact_lists.spec.parse_numbers` takes it
    :param column: column of the audience's rows that says it instead; see :data:`YES` and :data:`NO`. A date or time
        is a yes, and the time of the opt-in
    :param by_category: category of template to where it is recorded for that one
    :param source_column: column of the rows with the source of the opt-in; only with ``column``
    :param time_column: column of the rows with its time; only with ``column``
    :param version_column: column of the rows with the version of the wording; only with ``column``
    :param source: source of all opt-ins that have none of their own
    :param version: version of the wording, likewise
    :raises InvalidInput: none or several of the first three, or one of them is not what it should be
    """

    numbers: Any = None
    column: str | None = field(default=None, kw_only=True)
    by_category: Mapping[str, Any] | None = field(default=None, kw_only=True)
    source_column: str | None = field(default=None, kw_only=True)
    time_column: str | None = field(default=None, kw_only=True)
    version_column: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    version: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _one_of(self, "opt_in", "numbers", "column", "by_category")
        others = [name for name in ("source_column", "time_column", "version_column") if getattr(self, name)]
        if others and self.column is None:
            raise InvalidInput(
                f"opt_in.{others[0]}",
                "names a column of the rows, which goes with column.",
                hint="For a file or a query, give it to FileNumbers or SqlNumbers.",
            )
        if self.numbers is not None:
            object.__setattr__(self, "numbers", parse_numbers(self.numbers, "opt_in"))
        if self.by_category is not None:
            object.__setattr__(self, "by_category", _categories(self.by_category))

    @classmethod
    def of(cls, value: Any) -> OptIn:
        """
        Return an opt-in from what an argument may hold; nothing is opened.

        :param value: an opt-in; a dict of its arguments; a dict by category; or what ``numbers`` takes
        :raises InvalidInput: anything else
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            if value and all(_category(name) in CATEGORIES for name in value):
                return cls(by_category=value)
            if (arguments := _arguments(cls, value, "opt_in")) is not None:
                return cls(**arguments)
        return cls(value)

    def for_category(self, category: str | None) -> OptIn:
        """
        Return what counts for a template.

        :param category: one of :data:`CATEGORIES`, whatever the case; None: not known
        :raises InvalidInput: it differs by category, and that of the template is not known or not among them
        """
        name = None if category is None else _category(category)
        if name is not None and name not in CATEGORIES:
            raise InvalidInput("category", f"{category!r} is unknown.", hint=f"Choose one of {', '.join(CATEGORIES)}.")
        if self.by_category is None:
            return self
        if name is None:
            raise InvalidInput(
                "category", "is missing, and opt_in differs by category.", hint="Give that of the template."
            )
        if name not in self.by_category:
            raise InvalidInput("opt_in", f"has nothing for category {name!r}.", hint="Say where it is recorded.")
        found: OptIn = self.by_category[name]
        return found


@dataclass(frozen=True)
class Suppression:
    """
    Who gets nothing.

    :param numbers: as :func:`~.contact_lists.spec.parse_numbers` takes it
    :param column: column of the audience's rows that says it instead, as that of an opt-in does; what says neither
        yes nor no holds the message back, a blank does not
    :param strict: whether an entry of a file or database that is no number is an error: whoever is meant there would
        be messaged
    :raises InvalidInput: none or both of the first two, or one of them is not what it should be
    """

    numbers: Any = None
    column: str | None = field(default=None, kw_only=True)
    strict: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _one_of(self, "suppression", "numbers", "column")
        if self.numbers is not None:
            object.__setattr__(self, "numbers", parse_numbers(self.numbers, "suppression"))

    @classmethod
    def of(cls, value: Any) -> tuple[Suppression, ...]:
        """
        Return suppressions from what an argument may hold; nothing is opened.

        :param value: a suppression, a dict of its arguments, what ``numbers`` takes, or a list of these: whoever is on
            one of them gets nothing
        :raises InvalidInput: anything else
        """
        if isinstance(value, cls):
            return (value,)
        kinds = (Suppression, FileNumbers, SqlNumbers, Mapping)
        if isinstance(value, list | tuple) and any(isinstance(one, kinds) for one in value):
            # Told from a list of numbers by what is in it; in one of both, a path would pass for a number.
            for place, one in enumerate(value):
                if not isinstance(one, kinds):
                    raise InvalidInput(
                        f"suppression[{place}]",
                        f"is of type {type(one).__name__} among lists.",
                        hint='Write {"path": …} or {"numbers": …}.',
                    )
            return tuple(inner for one in value for inner in cls.of(one))
        if isinstance(value, Mapping) and (arguments := _arguments(cls, value, "suppression")) is not None:
            return (cls(**arguments),)
        return (cls(value),)


class Consent:
    """
    Says of recipients whether they may be messaged: opt-in and suppression of one send, opened.

    Its files are read and its databases asked for their columns when it is made, before anything is sent. One thread
    uses it. Where a list is also what refusals are written to (:class:`~.contact_lists.rejects.RejectSink`), open that
    first: it makes what is missing.

    :param opt_in: as :meth:`OptIn.of` takes it; None: everybody agreed, as far as is known here
    :param suppression: as :meth:`Suppression.of` takes it; None: nobody
    :param category: of the template; see :meth:`OptIn.for_category`
    :param connect: returns the engine of a connection, such as ``lambda conn_id: engine_for(url_of(conn_id))``
    :raises InvalidInput: a value that is none of these, a file that is missing or cannot be read
    :raises CirrusError: a database does not answer, or does not take the query
    """

    def __init__(
        self,
        opt_in: Any = None,
        suppression: Any = None,
        *,
        category: str | None = None,
        connect: Callable[[str], Engine] | None = None,
    ) -> None:
        self._opt_in = None if opt_in is None else OptIn.of(opt_in).for_category(category)
        self._suppressions = () if suppression is None else Suppression.of(suppression)
        self._agreed: Numbers | None = None
        self._lists: list[Numbers] = []
        try:
            if self._opt_in is not None and self._opt_in.numbers is not None:
                self._agreed = open_numbers(self._opt_in.numbers, "opt_in", connect=connect)
            for one in self._suppressions:
                if one.numbers is not None:
                    self._lists.append(open_numbers(one.numbers, "suppression", connect=connect, strict=one.strict))
        except BaseException:
            self.close()
            raise

    def needed(self) -> dict[str, list[str]]:
        """Return the columns of the audience that :meth:`check` reads, by the argument that names them."""
        return _columns(self._opt_in, self._suppressions)

    def check(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[ConsentRecord | str]:
        """
        Return for each row the proof that the message may be sent, or why not, beginning with the rule's name.

        Suppression goes before opt-in. Sources are asked for all rows at once: give a thousand or more.

        :param rows: digits, and at least the columns that :meth:`needed` names
        :raises CirrusError: it cannot be known; nobody may be messaged
        """
        refused: dict[str, str] = {}
        numbers = list(dict.fromkeys(digits for digits, _ in rows))
        for one in self._lists:
            found = one.find([*numbers, *filter(None, map(_twin, numbers))])
            held = {n: proof for n in numbers if (proof := found.get(n) or found.get(_twin(n) or "")) is not None}
            refused |= {digits: _on_the_list(proof) for digits, proof in held.items()}
            if held:
                numbers = [digits for digits in numbers if digits not in held]
        agreed = self._agreed.find(numbers) if self._agreed is not None else {}
        return [refused.get(digits) or self._by_row(row) or self._proof(digits, row, agreed) for digits, row in rows]

    def close(self) -> None:
        """Close files and connections."""
        for one in (*self._lists, *([self._agreed] if self._agreed is not None else [])):
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _by_row(self, row: Mapping[str, Any]) -> str | None:
        """Return why a row itself holds its message back; None where it does not."""
        for one in self._suppressions:
            if one.column is not None:
                try:
                    answer, since = read_answer(row, one.column)
                except ValueError as error:
                    return f"suppression: {error}"
                if answer:
                    return _on_the_list(ConsentRecord(f"column {one.column!r}", since))
        return None

    def _proof(self, digits: str, row: Mapping[str, Any], agreed: Mapping[str, ConsentRecord]) -> ConsentRecord | str:
        opt_in = self._opt_in
        if opt_in is None:
            return NO_RECORD
        if opt_in.column is None:
            if (proof := agreed.get(digits)) is None:
                return "opt_in: no opt-in on record"
        else:
            try:
                answer, time = read_answer(row, opt_in.column)
                if not answer:
                    return f"opt_in: no opt-in on record (column {opt_in.column!r})"
                proof = _proof_of(row, opt_in, time)
            except ValueError as error:
                return f"opt_in: {error}"
        if opt_in.source is None and opt_in.version is None:
            return proof
        return replace(proof, source=proof.source or opt_in.source, version=proof.version or opt_in.version)


def columns_of(opt_in: Any, suppression: Any, category: str | None = None) -> dict[str, list[str]]:
    """
    Return what :meth:`Consent.needed` would, without opening anything.

    :raises InvalidInput: as :class:`Consent` does of its arguments
    """
    return _columns(
        None if opt_in is None else OptIn.of(opt_in).for_category(category),
        () if suppression is None else Suppression.of(suppression),
    )


def _columns(opt_in: OptIn | None, suppressions: Sequence[Suppression]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if opt_in is not None:
        names = {name: getattr(opt_in, name) for name in ("column", "source_column", "time_column", "version_column")}
        found = {f"opt_in.{argument}": [name] for argument, name in names.items() if name is not None}
    if columns := [one.column for one in suppressions if one.column is not None]:
        found["suppression.column"] = columns
    return found


def _one_of(given: Any, name: str, *arguments: str) -> None:
    if sum(getattr(given, argument) is not None for argument in arguments) != 1:
        raise InvalidInput(name, f"needs exactly one of {', '.join(arguments)}.")
    if (column := given.column) is not None and not (isinstance(column, str) and column):
        raise InvalidInput(f"{name}.column", f"is of type {type(column).__name__} or empty.", hint="Give a name.")


def _arguments(kind: Any, value: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return a dict as arguments; None where it is one of a file or of SQL alone."""
    known = [one.name for one in fields(kind)]
    if {"path", "sql", "table"} & set(value):
        own = {key: inner for key, inner in value.items() if key in ("source", "version", "strict") and key in known}
        rest = {key: inner for key, inner in value.items() if key not in own}
        return {"numbers": rest, **own} if own else None
    if strange := [key for key in value if key not in known]:
        raise InvalidInput(name, f"has no {strange[0]!r}.", hint=f"The names are {', '.join(known)}.")
    return dict(value)


def _category(name: Any) -> str:
    return name.strip().lower() if isinstance(name, str) else ""


def _categories(value: Any) -> dict[str, OptIn]:
    if not isinstance(value, Mapping) or not value or not all(_category(name) in CATEGORIES for name in value):
        raise InvalidInput("opt_in.by_category", "is no dict by category.", hint=f"They are {', '.join(CATEGORIES)}.")
    found = {_category(name): OptIn.of(one) for name, one in value.items()}
    if any(one.by_category is not None for one in found.values()):
        raise InvalidInput("opt_in.by_category", "holds another dict by category.")
    return found


def _twin(digits: str) -> str | None:
    # Both of Argentina's are valid, so elsewhere two people's. WhatsApp may have one account for them: who asked not to
    # be messaged is not, however that was written down.
    return other_spelling(digits) if digits.startswith("54") else None


def _on_the_list(proof: ConsentRecord) -> str:
    # Free text of somebody's list: it may hold a number.
    parts = (proof.source, proof.time and f"since {proof.time}")
    details = cut(mask_all(", ".join(part for part in parts if part)), _DETAILS)
    return f"suppression: on the list ({details})" if details else "suppression: on the list"


def _proof_of(row: Mapping[str, Any], opt_in: OptIn, time: str | None) -> ConsentRecord:
    """Return what the row says of its proof; raises ValueError."""

    def part(column: str | None) -> str | None:
        if column is None:
            return None
        try:
            return record_text(row.get(column), column)
        except InvalidInput as error:
            raise ValueError(f"column {column!r} {error.problem}") from None

    return ConsentRecord(part(opt_in.source_column), part(opt_in.time_column) or time, part(opt_in.version_column))
