"""WhatsApp's limit for one recipient: a burst, and then one message every six seconds."""

from __future__ import annotations

import zlib

#: Messages that one recipient may get at once, and seconds between two after that (Meta, pair rate limit).
BURST = 45
SPACING = 6.0

# Counters for a million accounts in 4 MB: two that share one are only slowed down a little sooner.
_COUNTERS = 1 << 22


class PairLimit:
    """
    Says how long a recipient has to be left alone. Pure: whoever asks says what time it is.

    Memory does not grow with the audience: accounts are counted in a table of fixed size, and only those that
    have had their burst are known by themselves.
    """

    def __init__(self) -> None:
        self._sent = bytearray(_COUNTERS)
        self._next: dict[str, float] = {}

    def wait(self, account: str, now: float) -> float:
        """
        Take a message to this account into account, if it may leave now.

        :param account: as :func:`~airflow_provider_cirrus.api.phone.account_of` returns it
        :param now: seconds on any clock that only grows
        :return: 0 where it may leave, else the seconds after which to ask again
        """
        index = zlib.crc32(account.encode()) % _COUNTERS
        if self._sent[index] < BURST:
            self._sent[index] += 1
            return 0.0
        if (pause := self._next.get(account, now) - now) > 0:
            return pause
        self._next[account] = now + SPACING
        return 0.0
