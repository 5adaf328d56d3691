"""What can go wrong between an audience and its outcomes, beside what Cirrus itself answers."""

from __future__ import annotations

from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput


class EmptyAudience(InvalidInput):
    """There is nobody to message."""


class LedgerError(CirrusError):
    """The ledger cannot be used; to send without it could message people twice."""


class LedgerUnavailable(LedgerError):
    """
    The ledger did not answer: it may be back in a moment. What it was asked to do may have been done.

    Every write may be repeated as it was: the second of two that are the same changes nothing.
    """

    retryable = True


class LedgerSuperseded(LedgerError):
    """A newer try of the task has taken the ledger over: this one may write nothing, so it may send nothing."""


class LedgerIncomplete(LedgerError):
    """Part of what earlier tries recorded is gone, so it is not known who was messaged."""


class LedgerFull(LedgerError):
    """No more messages may be recorded; outcomes of those that are recorded still can be."""


class ReportError(CirrusError):
    """The report cannot be written any further; the ledger still knows what was sent, and a retry goes on."""

    retryable = True


class ContactCheckRefused(CirrusError):
    """Cirrus was not asked whether a number is on WhatsApp, so as not to ask too often."""

    not_sent = True


class QueryFailed(CirrusError):
    """The database broke off; the next try runs the query anew."""

    retryable = True


class QueryRefused(QueryFailed):
    """The database does not take the query, or cannot work out its rows."""

    retryable = False


class LookupFailed(CirrusError):
    """A source of numbers broke off: who may be messaged is not known, so nobody is."""

    retryable = True


class SinkFailed(CirrusError):
    """Who refused messages cannot be written down; what was sent is in the ledger, and a retry goes on."""

    retryable = True
