"""
What Meta's error codes mean for a sender, and what to do about them, in our words.

The source of each is Meta's page of error codes for the WhatsApp Business Platform; which of them may be repeated
stands in :mod:`~airflow_provider_cirrus.api.errors`.
"""

from __future__ import annotations

from typing import NamedTuple


class CodeMeaning(NamedTuple):
    """What a code says, as the rest of a sentence, and the remedy; the latter may be empty."""

    says: str
    remedy: str = ""


_ACCOUNT = "See the account's page in WhatsApp Manager."

_MEANINGS = {
    190: CodeMeaning("Cirrus' own access to Meta has expired", "Ask Cirrus to renew it."),
    368: CodeMeaning("the account is blocked for breaking a policy", _ACCOUNT),
    130429: CodeMeaning("too many messages a second", "Lower messages_per_second."),
    130472: CodeMeaning("the number is part of an experiment of Meta's, which holds back marketing messages"),
    131026: CodeMeaning("the message cannot reach the number: mostly it is not on WhatsApp"),
    131031: CodeMeaning("the account is locked", _ACCOUNT),
    131042: CodeMeaning("a payment is missing", "Settle it in the account's billing settings at Meta."),
    131045: CodeMeaning("the sending number is not registered", "Register it, or ask Cirrus to."),
    131048: CodeMeaning(
        "the sending number is held back, as too many of its messages were reported or blocked",
        "Look at its quality in WhatsApp Manager, and write to those only who expect it.",
    ),
    131049: CodeMeaning(
        "Meta holds back a marketing message to somebody who gets many",
        "Try again in a day or later (retry_rejected_after).",
    ),
    131050: CodeMeaning("the person has stopped marketing messages from this business"),
    131056: CodeMeaning("too many messages to this number in a short time"),
    131057: CodeMeaning("the account is in maintenance", "Try again later."),
    131064: CodeMeaning("templates of a wrong category have limited the account", _ACCOUNT),
    132001: CodeMeaning(
        "there is no such template in this language", "Compare name and language with the console's, letter by letter."
    ),
    132015: CodeMeaning("the template is paused, as its quality is low", "Change it, or wait until it is released."),
    132016: CodeMeaning("the template is disabled for good, as its quality was low", "Make another one."),
    134101: CodeMeaning("the template is not ready yet", "Try again in some minutes."),
}


def meaning_of(code: int | None) -> CodeMeaning | None:
    """Return what a code means; None where there is none, or it is not among those that stop or puzzle people."""
    return None if code is None else _MEANINGS.get(code)
