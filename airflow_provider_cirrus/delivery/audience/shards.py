"""Parts of an audience: a recipient is in the same one on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow


def in_shard(
    messages: Iterable[tuple[int, Message | RejectedRow]], shard: tuple[int, int]
) -> Iterator[tuple[int, Message | RejectedRow]]:
    """
    Return the messages of one shard, each with the index that it came with.

    :param messages: of :func:`read_audience`, or ``enumerate(read_messages(...))``
    :param shard: a number from 0, and how many shards there are; a refused row is in ``index % shards``
    :raises InvalidInput: there is no such shard
    """
    mine, shards = shard
    if not 0 <= mine < shards:
        raise InvalidInput("shard", f"is {mine}, of {shards} shards.", hint="Shards count from 0.")

    def of(index: int, message: Message | RejectedRow) -> int:
        return index % shards if isinstance(message, RejectedRow) else shard_of(message.to, shards)

    return ((index, found) for index, found in messages if of(index, found) == mine)


def shard_of(digits: str, shards: int) -> int:
    """
    Return the shard of a recipient: the same on every machine, and for both spellings of an account.

    :param digits: as :func:`~.phone.to_digits` returns them
    :param shards: how many there are
    """
    hashed = hashlib.blake2b(account_of(digits).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % shards
