"""What the libraries below log of a request: its address, in which a number that is checked stands."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_cirrus.api.phone import mask_all

_LOGGERS = ("urllib3.connectionpool", "httpx", "httpcore.connection", "httpcore.http11")
_HAS_NUMBER = "validatecontact"


def hide_numbers() -> None:
    """Mask the number in the address of a contact check, in what urllib3 and httpx log; once is enough."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _mask not in logger.filters:
            logger.addFilter(_mask)


def _mask(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple) and any(_HAS_NUMBER in str(one) for one in record.args):
        record.args = tuple(_masked(one) for one in record.args)
    if _HAS_NUMBER in str(record.msg):
        record.msg = mask_all(str(record.msg))
    return True


def _masked(value: Any) -> Any:
    return mask_all(str(value)) if _HAS_NUMBER in str(value) else value
