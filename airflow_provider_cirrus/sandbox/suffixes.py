"""
Numbers that the sandbox treats in a way of their own: the last two digits decide.

Two digits, because the ranges reserved for fiction leave no more of them free: ``+1 … 555 01xx`` ends in
two digits of one's own choice, ``+44 7700 900xxx`` in three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Suffix:
    """
    What happens to a number with a certain ending.

    :param failed: the ``failed`` value of the refusal, text or object; ``None`` if the number is accepted.
    :param meaning: one line for the table.
    :param first_only: refuse the first attempt only.
    :param hidden: leave the entry out of the answer.
    :param accepted: whether the message is recorded as sent.
    :param valid: what contact validation says.
    :param answer: what the customer answers at once, where the message opens a conversation.
    """

    meaning: str
    failed: str | dict[str, Any] | None = None
    first_only: bool = False
    hidden: bool = False
    accepted: bool = False
    valid: bool = True
    answer: str | None = None


ACCEPTED = Suffix("accepted", accepted=True)

SUFFIXES: dict[str, Suffix] = {
    "89": Suffix(
        "accepted; if that opens a conversation, the customer answers at once: Yes, please",
        accepted=True,
        answer="Yes, please",
    ),
    "90": Suffix(
        "refused, no code: not a WhatsApp user (validation says invalid, too)",
        failed="invalid — Not a valid WhatsApp user",
        valid=False,
    ),
    "91": Suffix(
        "refused as an object, code 131026: undeliverable",
        failed={
            "code": 131026,
            "title": "Message undeliverable",
            "details": "Message undeliverable to this number",
        },
    ),
    "92": Suffix(
        "refused, code 131050: opted out",
        failed="131050: User has stopped marketing messages from this business",
    ),
    "93": Suffix(
        "first attempt refused, code 130429 (throttled); accepted from the second on",
        failed="(#130429) Rate limit hit: message throughput has been reached",
        first_only=True,
        accepted=True,
    ),
    "94": Suffix(
        "refused, code 131049: not now, for the health of the ecosystem",
        failed="131049 - Message was not delivered to maintain healthy ecosystem engagement",
    ),
    "95": Suffix(
        "refused, code 132000: wrong number of parameters",
        failed="(#132000) Number of parameters does not match the expected number of params",
    ),
    "96": Suffix(
        "refused, code 131031: account locked",
        failed="Business account has been locked (131031)",
    ),
    "97": Suffix(
        "ACCEPTED, but its entry is missing from the answer",
        hidden=True,
        accepted=True,
    ),
    "98": Suffix(
        "not accepted, and its entry is missing from the answer",
        hidden=True,
    ),
    "99": Suffix(
        "validation says invalid; a send is accepted",
        accepted=True,
        valid=False,
    ),
}


def suffix_of(number: str) -> Suffix:
    """Return what happens to ``number``, by its last two digits."""
    return SUFFIXES.get(number[-2:], ACCEPTED)


def table() -> str:
    """Return the suffixes as plain text, one per line."""
    return "\n".join(f"  …{ending}  {suffix.meaning}" for ending, suffix in SUFFIXES.items())
