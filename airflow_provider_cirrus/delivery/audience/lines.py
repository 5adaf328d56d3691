"""Lines of a text that may be packed: none longer than may be, and one clear error where it cannot be unpacked."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

from airflow_provider_cirrus.api.errors import InvalidInput

# Characters of one line, and those of a longer one that are kept to tell of it.
_LONGEST_LINE, _KEPT = 1024 * 1024, 1024


class Lines:
    """
    The lines of a text, none longer than may be: a file of a megabyte may unpack to one line of gigabytes.

    :ivar is_cut: whether one was cut since this was last set to False
    :ivar first: the first of them
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.is_cut = False
        self.first = ""

    def __iter__(self) -> Iterator[str]:
        while line := self._line():
            if len(line) == _LONGEST_LINE and not line.endswith("\n"):
                self.is_cut = True
                while (rest := self._line()) and not rest.endswith("\n"):
                    continue
                line = f"{line[:_KEPT]}\n"
            self.first = self.first or line
            yield line

    def _line(self) -> str:
        try:
            return self._text.readline(_LONGEST_LINE)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InvalidInput(
                "audience",
                f"cannot be unpacked any further: {error}.",
                hint="Its name ends in .gz: it may be packed otherwise, or be cut off. Write it anew.",
            ) from None
