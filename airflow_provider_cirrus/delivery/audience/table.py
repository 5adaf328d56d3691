"""What an audience is read as: rows, of which some cannot be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BadRow:
    """
    A row that could not be read.

    :ivar number: its number as people count, from 1, the header left out
    :ivar reason: what is wrong with it, nothing of what stands in it
    """

    number: int
    reason: str


Row = Mapping[str, Any] | BadRow


class Table(ABC):
    """
    Rows whose columns are known before the first row is taken.

    :ivar columns: their names, in order
    """

    columns: Sequence[str]

    @abstractmethod
    def __iter__(self) -> Iterator[Row]:
        """Return the rows as a stream."""
