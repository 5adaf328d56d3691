"""What a connection asks of every request that reaches a person, on every way that leads to the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult

_HINT = "Send with CirrusHook.deliver or an operator, which look at the rules of the connection."


@dataclass(frozen=True)
class Guard:
    """
    The rules of a connection that hold without a ledger.

    :ivar refuse: says of a recipient's digits why they get nothing; None: they may
    :ivar is_restricted: whether it refuses anybody at all
    :ivar needs_opt_in: whether a source of opt-ins has to be asked, which a client has not
    """

    refuse: Callable[[str], str | None]
    is_restricted: bool = False
    needs_opt_in: bool = False

    def send(self, messages: Sequence[Message], send: Callable[[Sequence[Message]], SendResult]) -> SendResult:
        """
        Send to those who may get something; the others' messages are suppressed.

        :raises InvalidInput: an opt-in is required
        """
        allowed, refused = self.split(messages)
        return self.merged(messages, refused, send(allowed) if allowed or not messages else SendResult(()))

    def split(self, messages: Sequence[Message]) -> tuple[list[Message], dict[int, str]]:
        """
        Return the messages that may leave, and why the others may not, by index.

        :raises InvalidInput: an opt-in is required
        """
        self.check_opt_in()
        refused = {index: why for index, one in enumerate(messages) if (why := self.refuse(one.to)) is not None}
        return [one for index, one in enumerate(messages) if index not in refused], refused

    def merged(self, messages: Sequence[Message], refused: dict[int, str], sent: SendResult) -> SendResult:
        """Return the results of all messages in their order."""
        results = iter(sent.results)
        found = [
            Result(one.to, Outcome.SUPPRESSED, reason=refused[index]) if index in refused else next(results)
            for index, one in enumerate(messages)
        ]
        return SendResult(tuple(found), sent.error, stop=sent.stop, split=sent.split, blocked=sent.blocked)

    def check_number(self, digits: str) -> None:
        """
        Refuse to ask for a number.

        :raises InvalidInput: it may not be, or an opt-in is required
        """
        self.check_opt_in()
        if (why := self.refuse(digits)) is not None:
            raise InvalidInput("number", f"may not be checked: {why}.")

    def check_campaign(self) -> None:
        """
        Refuse a file of recipients, in which nobody has looked.

        :raises InvalidInput: a rule would have to be looked at for each of them
        """
        self.check_opt_in()
        if self.is_restricted:
            raise InvalidInput(
                "allowed_recipients",
                "of the connection cannot be looked at in a file.",
                hint="Start it with CampaignOperator, which does for each recipient.",
            )

    def check_opt_in(self) -> None:
        """
        Refuse where an opt-in is required.

        :raises InvalidInput: it is
        """
        if self.needs_opt_in:
            raise InvalidInput("opt_in", "is missing, and the connection requires it (require_opt_in).", hint=_HINT)
