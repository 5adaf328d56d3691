"""Opening lists of numbers, whatever they are kept in, and what refused numbers are written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask, mask_all, spellings_of
from airflow_provider_cirrus.delivery.contact_lists.file import load_file
from airflow_provider_cirrus.delivery.contact_lists.reject_file import RejectFile
from airflow_provider_cirrus.delivery.contact_lists.rejects import OpenSink, RejectSink
from airflow_provider_cirrus.delivery.contact_lists.spec import (
    NO_RECORD,
    ConsentRecord,
    FileNumbers,
    ListedNumbers,
    Numbers,
    SqlNumbers,
    parse_numbers,
    record_text,
)
from airflow_provider_cirrus.delivery.errors import LookupFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def open_numbers(
    value: Any, field: str, *, connect: Callable[[str], Engine] | None = None, strict: bool = False
) -> Numbers:
    """
    Open a source of numbers; what is wrong with it is found at once.

    :param value: as :func:`parse_numbers` takes it
    :param field: how errors name it
    :param connect: returns the engine of a connection, which is closed with the source; needed for SQL
    :param strict: whether an entry that is no number is an error, rather than left out and logged
    :raises InvalidInput: the source cannot be used as it is
    :raises CirrusError: its database does not answer, or does not take the query
    """
    given = parse_numbers(value, field)
    if isinstance(given, ListedNumbers):
        return given
    if isinstance(given, FileNumbers):
        return load_file(given, field, strict)
    if isinstance(given, SqlNumbers):
        if connect is None:
            raise InvalidInput(field, "is SQL, which cannot be had here.", hint="Give a list, a file or a function.")
        # Late, as a list in a file needs no SQLAlchemy.
        from airflow_provider_cirrus.delivery.contact_lists.sql import SqlLookup

        return SqlLookup(given, field, connect(given.conn_id), strict=strict)
    return _NumbersOfFunction(given, field)


class _NumbersOfFunction:
    """Numbers of which a function tells."""

    def __init__(self, ask: Callable[[str], Any], field: str) -> None:
        self._ask = ask
        self._field = field

    def find(self, numbers: Sequence[str]) -> Mapping[str, ConsentRecord]:
        found: dict[str, ConsentRecord] = {}
        for number in numbers:
            # As it is spelt first; a function that looks it up may know only the other spelling.
            for spelling in dict.fromkeys((number, *spellings_of(number))):
                if (proof := self._one(spelling)) is not None:
                    found[number] = proof
                    break
        return found

    def close(self) -> None:
        pass

    def _one(self, digits: str) -> ConsentRecord | None:
        try:
            answer = self._ask(digits)
        except Exception as error:  # noqa: BLE001  (the user's own, whatever it is; it is raised again)
            said = mask_all(str(error))
            # From None: the traceback would show its words, and who it is about. Its frames stay.
            raise LookupFailed(
                f"{self._field}: the function failed for {mask(digits)} ({type(error).__name__}: {said}).",
                hint="Nobody is messaged as long as it fails.",
            ).with_traceback(error.__traceback__) from None
        if answer is None or isinstance(answer, bool):
            return NO_RECORD if answer else None
        if isinstance(answer, ConsentRecord):
            return answer
        names = [one.name for one in fields(ConsentRecord)]
        if isinstance(answer, Mapping) and answer and set(answer) <= set(names):
            return ConsentRecord(
                **{name: record_text(value, f"{self._field}.{name}") for name, value in answer.items()}
            )
        raise InvalidInput(
            self._field,
            f"the function returns a value of type {type(answer).__name__} for {mask(digits)}.",
            hint=f"It must return a bool, None, or a dict with {', '.join(names)}.",
        )


def open_rejects(
    sink: RejectSink, connect: Callable[[str], Engine] | None = None, *, clock: Callable[[], float] = time.time
) -> OpenSink:
    """
    Open a sink, and make it where it is missing.

    :param connect: returns the engine of a connection, which is closed with the sink; needed for a table
    :param clock: Unix seconds
    :raises InvalidInput: it cannot be used as it is
    :raises CirrusError: the database does not answer
    """
    if sink.table is None or sink.conn_id is None:
        return RejectFile(str(sink.path), clock)
    if connect is None:
        raise InvalidInput("on_reject", "is a table, which cannot be had here.", hint="Give a local path.")
    # Late, as a list in a file needs no SQLAlchemy.
    from airflow_provider_cirrus.delivery.contact_lists.reject_table import RejectTable

    return RejectTable(connect(sink.conn_id), sink.table, clock)
