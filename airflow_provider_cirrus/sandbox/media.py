"""The content of uploaded files, for the inbox: as much as there is room for."""

from __future__ import annotations

from collections import OrderedDict


class Media:
    """
    Files by id; the oldest go first. Not safe for threads: the store locks.

    :param keep_bytes: most bytes of all of them
    """

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._contents: OrderedDict[str, bytes] = OrderedDict()

    def add(self, media_id: str, content: bytes) -> list[str]:
        """Keep a file; return the ids of those that had to go for it: itself, where it is larger than all the room."""
        self._contents[media_id] = content
        self._bytes += len(content)
        gone = []
        while self._bytes > self._keep_bytes:
            oldest = media_id if len(content) > self._keep_bytes else next(iter(self._contents))
            self.remove(oldest)
            gone.append(oldest)
        return gone

    def remove(self, media_id: str) -> bool:
        """Forget a file; return whether it was kept."""
        content = self._contents.pop(media_id, None)
        self._bytes -= len(content or b"")
        return content is not None

    def get(self, media_id: str) -> bytes | None:
        """Return the content of a file; None where it is not kept."""
        return self._contents.get(media_id)

    def all(self) -> dict[str, bytes]:
        """Return the contents by id, oldest first."""
        return dict(self._contents)
