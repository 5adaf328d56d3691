"""
An audience in two kilobytes: whether another is the same, whatever its order, and about by how much it differs.

Each element falls by its hash into one of 32 cells of one of 16 levels: half of all into the first, a quarter into the
second, and so on. A cell holds the sum of the hashes in it. Two audiences are the same where all cells are; where few
elements differ, each of them is seen in a cell of its own, and where many do, the higher levels, into which few fall,
tell how many there must be.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Self

from airflow_provider_cirrus.api.errors import InvalidInput

_LEVELS, _CELLS = 16, 32
_BITS = 0xFFFF_FFFF
_FORMAT = struct.Struct(f"<Q{_LEVELS * _CELLS}I")
# Of the cells of a level: with more that differ, two elements in one cell are too likely.
_READABLE = 20


class Digest:
    """A digest that elements are added to, in any order; the same element twice counts twice."""

    __slots__ = ("_cells", "count")

    def __init__(self) -> None:
        self.count = 0
        self._cells = [0] * (_LEVELS * _CELLS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.count, self._cells) == (other.count, other._cells)

    __hash__ = None  # type: ignore[assignment]

    def add(self, element: bytes) -> None:
        """Add an element."""
        self.add_hash(hashlib.blake2b(element, digest_size=8).digest())

    def add_hash(self, element: bytes) -> None:
        """
        Add an element that is a hash.

        :param element: at least 8 bytes, as good as drawn by lot
        """
        found = int.from_bytes(element[:8], "little")
        # The place of the lowest bit that is set: 0 for half of all, 1 for a quarter …
        level = min((found & -found).bit_length() - 1 if found else _LEVELS, _LEVELS - 1)
        cell = level * _CELLS + (found >> 20) % _CELLS
        self._cells[cell] = (self._cells[cell] + (found >> 32) + 1) & _BITS
        self.count += 1

    def differs_by(self, other: Digest) -> int:
        """
        Return how many elements only one of two digests has, about: 0 where they are the same.

        One or two are told exactly, but for rare collisions; more within about a third.
        """
        if self == other:
            return 0
        differing = [
            sum(self._cells[place] != other._cells[place] for place in range(level * _CELLS, (level + 1) * _CELLS))
            for level in range(_LEVELS)
        ]
        # From the highest level down, as far as cells can be told apart; below it there are as many again and again.
        found, lowest = 0.0, _LEVELS
        for level in reversed(range(_LEVELS)):
            if differing[level] > _READABLE:
                break
            found += -_CELLS * math.log(1 - differing[level] / _CELLS)
            lowest = level
        # What is above a level is half of all that is on it and above.
        estimate = found * 2**lowest
        return max(int(estimate + 0.5), abs(self.count - other.count), 1)

    def as_text(self) -> str:
        """Return it as ASCII text."""
        return base64.b64encode(_FORMAT.pack(self.count, *self._cells)).decode()

    @classmethod
    def of_text(cls, text: object) -> Self:
        """
        Return the digest that a text stands for.

        :raises InvalidInput: none does
        """
        made = cls()
        try:
            made.count, *made._cells = _FORMAT.unpack(base64.b64decode(str(text), validate=True))
        except (ValueError, struct.error):
            raise InvalidInput("approved", "is no plan: its digest cannot be read.", hint="Give plan.output.") from None
        return made
