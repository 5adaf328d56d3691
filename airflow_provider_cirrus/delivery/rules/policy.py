"""The rules that hold a message back before anything leaves; each refusal is the outcome ``suppressed``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import account_of, mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.contact_lists.spec import NO_RECORD, ConsentRecord
from airflow_provider_cirrus.delivery.rules.claims import CountedClaims, Counting
from airflow_provider_cirrus.delivery.rules.quiet_hours import NeverAllowedError

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.audience.experiment import Experiment
    from airflow_provider_cirrus.delivery.rules.consent import Consent
    from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
    from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
    from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
    from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
    from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours

#: Says of a recipient's digits why they get nothing, or None where no rule is against it.
Allowlist: TypeAlias = Callable[[str], "str | None"]

_NOT_ALLOWED = "allowed_recipients: the connection does not allow this recipient"
_SEPARATORS = re.compile(r"[\s.()\-]+")
# What leaves now may be on its way for so long, and must not arrive in a quiet hour.
_MINUTES_ON_ITS_WAY = 1


def everybody_is_allowed(digits: str) -> None:
    """Be the screen of a connection without a rule."""


def allowlist_of(allowed: Any) -> Allowlist:
    """
    Return the screen for a connection's ``allowed_recipients``.

    :param allowed: numbers or their beginnings, as a list or as text (JSON, or with commas between them); None or
        an empty text: everybody is allowed, an empty list: nobody
    :raises InvalidInput: something that is no number
    """
    if allowed is None or (isinstance(allowed, str) and not allowed.strip()):
        return everybody_is_allowed
    beginnings = tuple(_beginnings(allowed))
    accounts = frozenset(map(account_of, beginnings))

    def screen(digits: str) -> str | None:
        return None if digits.startswith(beginnings) or account_of(digits) in accounts else _NOT_ALLOWED

    return screen


class Timing(NamedTuple):
    """
    When a message may leave.

    :ivar message: what may leave now; with another ``schedule`` where its own, or now, is quiet
    :ivar outcome: of a message that may not; None: it may
    :ivar reason: why not, beginning with the rule's name
    :ivar until: Unix seconds at which it may, where it is to be sent then
    :ivar holds_until: Unix seconds; of a message that may leave, until when that need not be asked again
    """

    message: Message
    outcome: Outcome | None = None
    reason: str = ""
    until: float | None = None
    holds_until: float = 0.0


class Policy:
    """
    The rules of one delivery: who may be messaged at all, when, and how often.

    :param screen: of the connection's ``allowed_recipients``
    :param consent: opt-in and suppression, opened; closed by its owner
    :param quiet_hours: when nobody is messaged
    :param zone_column: the fact of a message that holds its recipient's IANA zone
    :param cap: how often somebody is messaged
    :param slots: where that is counted
    :param category: of the template, for the cap
    :param budget: how many people are messaged in a day, and whose budget it is
    :param people: where these are counted
    :param experiment: says who is held out of it
    :param clock: Unix seconds
    """

    def __init__(
        self,
        screen: Allowlist = everybody_is_allowed,
        *,
        consent: Consent | None = None,
        quiet_hours: QuietHours | None = None,
        zone_column: str | None = None,
        cap: FrequencyCap | None = None,
        slots: FrequencyCapStore | None = None,
        category: str | None = None,
        budget: tuple[DailyBudget, str] | None = None,
        people: DailyBudgetStore | None = None,
        experiment: Experiment | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        #: Whether a message's time has a say; asked first, as it is asked of every message twice.
        self.has_quiet_hours = quiet_hours is not None
        self._screen = screen
        self._consent = consent
        self._quiet_hours = quiet_hours
        self._zone_column = zone_column
        self._counting = Counting(cap, slots, category, budget, people)
        self._experiment = experiment if experiment is not None and experiment.holdout else None
        self._clock = clock

    def evaluate(self, messages: Sequence[Message]) -> list[ConsentRecord | str]:
        """
        Return for each message the proof of its opt-in, or the rule that holds it back and why.

        :param messages: a few hundred at a time: databases are asked for all of them at once
        :raises CirrusError: it cannot be known; nobody may be messaged
        """
        if self._consent is None and self._screen is everybody_is_allowed and self._experiment is None:
            return [NO_RECORD] * len(messages)
        return self.evaluate_rows([(message.to, message.row_context) for message in messages])

    def evaluate_rows(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[ConsentRecord | str]:
        """
        Return the same for recipients who have no message of their own.

        :param rows: digits, and at least the columns that the rules go by
        :raises CirrusError: as :meth:`evaluate`
        """
        if self._consent is None:
            found: list[ConsentRecord | str] = [NO_RECORD] * len(rows)
        else:
            found = self._consent.check(rows)
        if self._screen is not everybody_is_allowed:
            found = [self._screen(digits) or proof for (digits, _), proof in zip(rows, found, strict=True)]
        if (experiment := self._experiment) is not None:
            # Last: who gets nothing anyway is in no part of it.
            found = [
                proof if isinstance(proof, str) else experiment.held_out(digits) or proof
                for (digits, _), proof in zip(rows, found, strict=True)
            ]
        return found

    def timing(self, message: Message, now: float | None = None) -> Timing:
        """
        Return when a message may leave, by the quiet hours of its recipient.

        A schedule is when it arrives. One that is past says nothing: what has it would arrive now.

        :param now: Unix seconds; None: those of the policy's own clock
        """
        quiet = self._quiet_hours
        if quiet is None:
            return Timing(message)
        zone = message.row_context.get(self._zone_column) if self._zone_column else None
        now = self._clock() if now is None else now
        is_ahead = message.schedule is not None and message.schedule > now
        try:
            decision = quiet.decide(
                message.to,
                float(message.schedule) if is_ahead and message.schedule is not None else now,
                zone,
                field=f"column {self._zone_column!r}",
                minutes_on_its_way=0 if is_ahead else _MINUTES_ON_ITS_WAY,
            )
        except NeverAllowedError as error:
            return Timing(message, Outcome.SUPPRESSED, f"quiet_hours: {mask_all(error.problem)}")
        except InvalidInput as error:
            return Timing(message, Outcome.REJECTED, f"quiet_hours: {mask_all(_without(error))}")
        if decision.until is None:
            return Timing(message, holds_until=0.0 if is_ahead else decision.holds_until)
        if quiet.on_quiet == "suppress":
            return Timing(message, Outcome.SUPPRESSED, f"quiet_hours: {decision.reason}")
        if quiet.on_quiet == "schedule" or is_ahead:
            return Timing(message.at(decision.until))
        return Timing(message, Outcome.UNSENT, f"quiet_hours: {decision.reason}", decision.until)

    @property
    def counts(self) -> bool:
        """Whether a rule counts how often, or to how many people, something is sent."""
        return bool(self._counting)

    def claims(self, intents: Sequence[bytes], persons: Mapping[bytes, bytes]) -> CountedClaims | None:
        """
        Return what messages that are about to be sent take under a frequency cap and from a day's budget.

        :param intents: their keys
        :param persons: as of :class:`~.claims.CountedClaims`
        :return: None: nothing is counted
        """
        return CountedClaims(self._counting, intents, persons) if self._counting else None

    def tidy(self) -> None:
        """
        Delete a little of what is no longer counted.

        :raises CirrusError: it stays
        """
        self._counting.tidy()


def _without(error: InvalidInput) -> str:
    """Return an error's text without the rule's name, which stands before it already."""
    return str(error).removeprefix("quiet_hours: ").removeprefix("quiet_hours.")


#: The policy of a delivery without rules.
NO_RULES = Policy()


def _beginnings(allowed: Any) -> Sequence[str]:
    # A connection's URI with one number makes a whole number of it.
    entries = str(allowed) if isinstance(allowed, int) and not isinstance(allowed, bool) else allowed
    if isinstance(entries, str):
        try:
            entries = json.loads(entries) if entries.lstrip().startswith("[") else entries.split(",")
        except ValueError:
            entries = None
    if not isinstance(entries, list | tuple):
        raise InvalidInput("allowed_recipients", "is no list of numbers.", hint='Write ["+44 7700 900", "+1 212"].')
    found = []
    for place, entry in enumerate(entries):
        digits = _SEPARATORS.sub("", str(entry)).removeprefix("+")
        # Neither 0 nor 00 begins a number with country code: such an entry would allow nobody, without a word.
        if not (digits.isascii() and digits.isdecimal()) or digits.startswith("0"):
            raise InvalidInput(
                f"allowed_recipients[{place}]",
                f"is no number or beginning of one ({len(str(entry))} characters).",
                hint="Write it with its country code, such as +44 7700 900.",
            )
        found.append(digits)
    return found
