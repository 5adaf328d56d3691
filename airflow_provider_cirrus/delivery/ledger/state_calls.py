"""Calls of Airflow's task state store, with their errors in the ledger's terms."""

from __future__ import annotations

from collections.abc import Callable
from errno import EBADF, ENOTCONN
from typing import Any, TypeVar

from airflow_provider_cirrus.api.errors import CirrusError
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerSuperseded, LedgerUnavailable

_T = TypeVar("_T")

# What the API server answers for a task instance that is not the current one, or to a token of such a one.
_GONE = (401, 403, 404, 409)
# A time-out of a proxy and "too many requests": these do pass, of what a server says is the caller's fault.
_PASSING = (408, 425, 429)
_CUT_OFF = (EOFError, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
# Slips in our own code.
_OURS = (TypeError, ValueError, KeyError, AttributeError, AssertionError, NotImplementedError)


def asked(call: Callable[[], _T]) -> _T:
    """
    Return what a call of the store returns.

    :raises LedgerUnavailable: the API server, its database or a backend did not answer
    :raises LedgerSuperseded: this is not the task's current try any more, or its supervisor is gone
    :raises LedgerError: the API server does not take what it was given
    """
    try:
        return call()
    except (CirrusError, *_OURS):
        raise
    except Exception as error:
        raise _in_our_terms(error) from error


def _in_our_terms(error: Exception) -> LedgerError:
    # Between a task and its supervisor is one socket, which nobody mends.
    if isinstance(error, _CUT_OFF) or getattr(error, "errno", None) in (EBADF, ENOTCONN):
        return _superseded("the process that supervises it is gone")
    status = _status_of(error)
    if status in _GONE:
        return _superseded(f"Airflow answers {status}")
    if status is not None and 400 <= status < 500 and status not in _PASSING:
        return LedgerError(
            f"Airflow's task state store does not take what is to be recorded: it answers {status}.",
            hint="The log of the API server says why. A ledger_conn_id on the Cirrus connection does without it.",
        )
    return LedgerUnavailable(
        f"Airflow's task state store does not answer ({type(error).__name__}"
        f"{'' if status is None else f', {status}'}); nothing is sent that cannot be recorded.",
        hint="See that the API server and its database can be reached, then let the task retry.",
    )


def _superseded(how: str) -> LedgerSuperseded:
    return LedgerSuperseded(
        f"This try of the task is not the current one any more ({how}), so it sends nothing more.",
        hint="Nothing to do where a newer try runs: it sends what is left.",
    )


def _status_of(error: Exception) -> int | None:
    """Return the HTTP status behind one of Airflow's errors, without importing Airflow."""
    # AirflowRuntimeError, as the supervisor passes it on: .error is its ErrorResponse.
    told: Any = getattr(error, "error", None)
    if getattr(getattr(told, "error", None), "value", None) == "PERMISSION_DENIED":
        return 403
    detail = getattr(told, "detail", None)
    status = detail.get("status_code") if isinstance(detail, dict) else None
    # httpx's own, where a task runs without a supervisor.
    status = status or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
