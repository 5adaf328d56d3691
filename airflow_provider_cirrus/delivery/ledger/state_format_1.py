"""The task state store's first format, read and no longer written: segments of which the last was rewritten."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, KEY_BYTES, Entry
from airflow_provider_cirrus.delivery.ledger.marks import unknown_format
from airflow_provider_cirrus.delivery.ledger.state_log import OUTCOME

#: Of the keys' names; a number follows.
PREFIX = "cirrus_sent_"

_FORMAT = 1


def read(segments: Iterable[Any]) -> Iterator[tuple[bytes, Entry]]:
    """
    Yield what an earlier version left, as it was written: intents are keys, outcomes name the place of theirs.

    :param segments: the values in their order
    :raises LedgerError: another format
    """
    keys = bytearray()
    for value in segments:
        if not isinstance(value, Mapping) or value.get("v") != _FORMAT:
            raise unknown_format()
        for item in value["log"]:
            if "i" in item:
                found = base64.b64decode(item["i"])
                keys += found
                for start in range(0, len(found), KEY_BYTES):
                    yield found[start : start + KEY_BYTES], INTERRUPTED
            else:
                for place, letter, *rest in item["o"]:
                    message_id, object_id, code, reason = [*rest, None, None, None, None][:4]
                    yield (
                        bytes(keys[place * KEY_BYTES : (place + 1) * KEY_BYTES]),
                        Entry(OUTCOME[letter], message_id, object_id, code, reason, item["n"], item["t"]),
                    )
