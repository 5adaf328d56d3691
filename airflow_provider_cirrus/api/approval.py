"""
What an approver's answer means: which of the options a text stands for, and who gave one first. No I/O.

An answer counts where its author is the one who was asked, in the conversation that the question opened, after the
question. Who wrote what, and when, is what Cirrus says (``user.isManager``, ``createdTime``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_cirrus.api.conversations import replies_in, time_of, unix_time
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import ChildMessage, Conversation

# Digits at the end of a number by which two are told apart, whichever country code either is written with.
_TAIL = 8


@dataclass(frozen=True)
class Question:
    """
    What one approver was asked.

    :ivar name: of the approver, for people: a name, or a masked number
    :ivar object_id: of the conversation that the question opened
    :ivar message_id: of the question; None: Cirrus did not say
    :ivar check: tells the approver's number from others, and is none
    """

    name: str
    object_id: str
    message_id: str | None
    check: str

    @classmethod
    def of(cls, name: str, number: str, object_id: str, message_id: str | None) -> Question:
        """Return the question to a number, in digits."""
        return cls(name, object_id, message_id, _check(number))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """
    What one approver said.

    :ivar name: who
    :ivar option: what it means; None: none of the options
    :ivar time: when, in Unix seconds
    :ivar message_id: of the answer
    """

    name: str
    option: str | None
    time: float
    message_id: str


class Meanings:
    """
    Which texts mean which option: the option itself always does, in any case and with any full stop.

    :param options: such as ``("Approve", "Reject")``
    :param answers: more texts by option, such as ``{"Approve": ["Yes, send it"]}``
    :raises InvalidInput: an option that there is not, or a text that would mean two
    """

    def __init__(self, options: Sequence[str], answers: Mapping[str, Any] | None = None) -> None:
        self._option_of = {_bare(option): option for option in options}
        if answers is not None and not isinstance(answers, Mapping):
            raise InvalidInput(
                "answers",
                f"is of type {type(answers).__name__}.",
                hint="Give texts by option, such as {'Approve': ['Yes, send it'], 'Reject': ['No']}.",
            )
        for option, texts in (answers or {}).items():
            if option not in options:
                raise InvalidInput("answers", f"{option!r} is no option.", hint=f"These are {', '.join(options)}.")
            for text in [texts] if isinstance(texts, str) else _list(texts, option):
                known = self._option_of.setdefault(_bare(text), option)
                if known != option:
                    raise InvalidInput(f"answers[{option!r}]", f"{text!r} means {known!r}, too.")

    def option_of(self, text: str | None) -> str | None:
        """Return the option that a text means, or None."""
        return self._option_of.get(_bare(text or ""))


def answers_in(
    conversation: Conversation, question: Question, meanings: Meanings, not_before: float
) -> Iterator[Answer]:
    """
    Yield what the approver wrote after the question, in the order in which Cirrus gives it.

    :param not_before: Unix seconds from which messages count, where the question itself is not to be seen
    :raises UnreadableAnswer: a message of theirs has no time that can be read
    """
    own = next((child for child in conversation.childs if child.id == question.message_id), None)
    asked = None if own is None else unix_time(own.created_time)
    for place, child in enumerate(replies_in(conversation)):
        if child.id == question.message_id or _is_foreign(child, question):
            continue
        moment = time_of(child)
        if moment >= (not_before if asked is None else asked):
            yield Answer(question.name, meanings.option_of(child.message), moment, child.id or str(place))


def first_of(answers: Sequence[Answer]) -> Answer | None:
    """Return the first answer that means an option, or None."""
    return min((one for one in answers if one.option is not None), key=lambda one: one.time, default=None)


def _is_foreign(child: ChildMessage, question: Question) -> bool:
    """Return whether a message names another number than that which was asked."""
    named = [value for name, value in (child.user or {}).items() if name.lower() in ("phone", "phone1") and value]
    return any(_check(str(value)) != question.check for value in named)


def _check(number: str) -> str:
    digits = "".join(c for c in number if c.isdecimal())[-_TAIL:]
    return hashlib.sha256(f"approver {digits}".encode()).hexdigest()[:16]


def _bare(text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidInput("answers", f"holds a {type(text).__name__}.", hint="Give texts.")
    return " ".join(text.casefold().split()).strip(" .!")


def _list(texts: Any, option: str) -> Sequence[Any]:
    if not isinstance(texts, list | tuple):
        raise InvalidInput(f"answers[{option!r}]", f"is of type {type(texts).__name__}.", hint="Give a list of texts.")
    return texts
