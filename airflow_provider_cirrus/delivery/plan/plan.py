"""One pass over an audience, through every rule: what a send would come to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.country import country_of
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine.reader import Reader
from airflow_provider_cirrus.delivery.engine.result import Reasons
from airflow_provider_cirrus.delivery.ledger.base import Entry
from airflow_provider_cirrus.delivery.ledger.temp_index import TempIndex
from airflow_provider_cirrus.delivery.plan.digest import Digest

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
    from airflow_provider_cirrus.delivery.engine.parts import Item
    from airflow_provider_cirrus.delivery.plan.rate_card import Prices
    from airflow_provider_cirrus.delivery.rules.policy import Policy
    from airflow_provider_cirrus.templates.store import Templates

#: Examples in a plan: of each language a long one and a short one, up to so many.
EXAMPLES = 10
# Rows that are looked at together.
_TOGETHER = 200
# Templates and languages that are told apart; what is beyond is counted as one.
_KINDS = 200
_OTHERS = "others"
# What messages would come to that are sent, by when.
NOW, LATER = "now", "later"


@dataclass
class Plan:
    """
    What a send would come to.

    :ivar outcomes: how many messages would be sent ``now``, which ``later`` as their recipients' hours are quiet or as
        they have a schedule, and how many would be ``rejected``, ``suppressed`` or ``duplicate``: they add up
    :ivar kinds: of those that would be sent, by template, language and country (ISO 3166)
    :ivar by_kind: the category of a template in a language; ``unknown`` where it has no definition
    :ivar rules: of those that are held back, by rule
    :ivar reasons: why messages are rejected or held back, counted
    :ivar first_wake: Unix seconds at which the first of those who are asleep may be messaged; None: nobody is
    :ivar last_wake: the same of the last
    :ivar examples: what recipients would see: language, kind (``long`` or ``short``) and text
    :ivar messages: digest of the messages of the audience, before any rule; when they are sent is not part of it
    :ivar recipients: digest of whom they would go to
    :ivar read: the templates and languages of the audience, before any rule: an account has a few thousand at most
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_kind: dict[tuple[str, str], str] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    reasons: Reasons = field(default_factory=Reasons)
    first_wake: float | None = None
    last_wake: float | None = None
    examples: dict[tuple[str, str], tuple[int, Message]] = field(default_factory=dict)
    messages: Digest = field(default_factory=Digest)
    recipients: Digest = field(default_factory=Digest)
    read: set[tuple[str, str]] = field(default_factory=set)

    @property
    def total(self) -> int:
        """The number of messages of the audience."""
        return sum(self.outcomes.values())

    @property
    def countries(self) -> Counter[str]:
        """How many would be sent, by country."""
        return self._counted(lambda name, language, country: country)

    @property
    def templates(self) -> Counter[tuple[str, str]]:
        """The same by template and language."""
        return self._counted(lambda name, language, country: (name, language))

    @property
    def categories(self) -> Counter[str]:
        """The same by category."""
        return self._counted(lambda name, language, country: self.by_kind[name, language])

    @property
    def markets(self) -> Counter[tuple[str, str]]:
        """The same by country and category."""
        return self._counted(lambda name, language, country: (country, self.by_kind[name, language]))

    def _counted(self, by: Callable[[str, str, str], Any]) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for kind, count in self.kinds.items():
            found[by(*kind)] += count
        return found

    @property
    def to_send(self) -> int:
        """How many would be sent, sooner or later."""
        return self.outcomes[NOW] + self.outcomes[LATER]


@dataclass(frozen=True)
class Planner:
    """
    Reads audiences.

    :ivar stream_id: part of a message's key
    :ivar policy: the rules
    :ivar templates: the definitions of templates; None: none are known
    :ivar category: of messages whose template is not defined
    :ivar now: Unix seconds at which the send would begin; None: when it is read
    """

    stream_id: str
    policy: Policy
    templates: Templates | None = None
    category: str | None = None
    now: float | None = None

    def plan(self, audience: Iterable[tuple[int, Message | RejectedRow]]) -> Plan:
        """
        Return what sending an audience would come to; memory does not grow with it.

        :param audience: places and messages, read as a stream
        :raises CirrusError: it cannot be known whether somebody may be messaged
        """
        made = Plan()
        now = time.time() if self.now is None else self.now
        with closing(TempIndex()) as index:
            reader = Reader(index, self.stream_id, None, self.policy)
            for rows in _together(audience):
                for item in reader.items(rows, now):
                    if item.message is not None:
                        # Before any rule: who opts out after a plan takes nothing from what was approved.
                        _add(made, item, item.message)
                    self._count(made, item, now)
        return made

    def _count(self, made: Plan, item: Item, now: float) -> None:
        if item.ruled is not None:
            return _held_back(made, item, *item.ruled)
        message = item.to_send
        if message.schedule is not None and message.schedule <= now:
            return _held_back(made, item, Outcome.REJECTED, "its schedule is past")
        is_later = message.schedule is not None
        if self.policy.has_quiet_hours:
            timing = self.policy.timing(message, now)
            if timing.outcome in (Outcome.SUPPRESSED, Outcome.REJECTED):
                return _held_back(made, item, timing.outcome, timing.reason)
            until = timing.until or (timing.message.schedule if timing.message is not message else None)
            if until is not None:
                is_later = True
                made.first_wake = until if made.first_wake is None else min(made.first_wake, until)
                made.last_wake = until if made.last_wake is None else max(made.last_wake, until)
        self._count_sent(made, message, is_later)
        return None

    def _count_sent(self, made: Plan, message: Message, is_later: bool) -> None:
        made.outcomes[LATER if is_later else NOW] += 1
        template = message.template
        kind = (template.name, template.language)
        if kind not in made.by_kind:
            if len(made.by_kind) >= _KINDS:
                kind = (_OTHERS, _OTHERS)
            made.by_kind[kind] = self._category(*kind)
        made.kinds[(*kind, country_of(message.to))] += 1
        # By what is written into the template, all in all.
        length = len(template.wire_text)
        for which, is_more in (("long", 1), ("short", -1)):
            known = made.examples.get((kind[1], which))
            if (known is None and len(made.examples) < EXAMPLES) or (known and (length - known[0]) * is_more > 0):
                made.examples[kind[1], which] = length, message

    def _category(self, name: str, language: str) -> str:
        definition = None if self.templates is None else self.templates.find(name, language)
        return self.category or (definition.category.value.lower() if definition else "unknown")


def _add(made: Plan, item: Item, message: Message) -> None:
    # A key is a hash already: of all that the message says, unless the user has named it.
    if message.message_key is None:
        made.messages.add_hash(item.key)
    else:
        made.messages.add(item.key + message.template.wire_text.encode())
    made.recipients.add(item.account.encode())
    made.read.add((message.template.name, message.template.language))


def _held_back(made: Plan, item: Item, outcome: Outcome, reason: str) -> None:
    made.outcomes[outcome.value] += 1
    if outcome is Outcome.SUPPRESSED:
        made.rules[reason.partition(":")[0]] += 1
    if outcome is not Outcome.DUPLICATE:
        made.reasons.add(item.recipient, Entry(outcome, reason=reason))


def _together(
    audience: Iterable[tuple[int, Message | RejectedRow]],
) -> Iterator[Sequence[tuple[int, Message | RejectedRow]]]:
    rows = iter(audience)
    while chunk := list(islice(rows, _TOGETHER)):
        yield chunk


def cost(made: Plan, prices: Prices) -> tuple[dict[str, tuple[int, Decimal]], int]:
    """
    Return what a plan costs at most, by market, and for how many messages nobody can tell.

    An upper bound: Meta charges for what is delivered, and less where many are bought.

    :return: by market the messages and their price
    """
    found: dict[str, tuple[int, Decimal]] = {}
    untold = 0
    for (country, category), count in made.markets.items():
        price = prices.price(country, category)
        if price is None:
            untold += count
            continue
        market = prices.markets[country]
        messages, money = found.get(market, (0, Decimal(0)))
        found[market] = messages + count, money + price * count
    return dict(sorted(found.items(), key=lambda item: (-item[1][1], item[0]))), untold


def as_dict(
    made: Plan, *, rate: float, prices: Prices | None, templates: Templates | None, begins: float | None = None
) -> dict[str, Any]:
    """
    Return a plan as plain JSON-able data.

    :param rate: messages a second
    :param prices: of Meta's list; None: nobody asks what it costs
    :param begins: Unix seconds; None: now
    """
    start = time.time() if begins is None else begins
    seconds = made.to_send / rate
    found: dict[str, Any] = {
        "total": made.total,
        "to_send": made.to_send,
        "outcomes": {name: made.outcomes[name] for name in (NOW, LATER, "rejected", "suppressed", "duplicate")},
        "countries": dict(made.countries.most_common()),
        "templates": [
            {"template": name, "language": language, "messages": count}
            for (name, language), count in made.templates.most_common()
        ],
        "categories": dict(made.categories.most_common()),
        "rules": dict(made.rules.most_common()),
        "reasons": [
            {"outcome": str(one.outcome), "reason": one.text, "count": one.count} for one in islice(made.reasons, 20)
        ],
        "messages_per_second": rate,
        "seconds": round(seconds, 1),
        "ends_at": _iso(max(start + seconds, made.last_wake or 0)),
        "asleep": None,
        "cost": None,
        "examples": _examples(made, templates),
    }
    if made.first_wake is not None and made.last_wake is not None:
        found["asleep"] = {"first_wakes_at": _iso(made.first_wake), "last_wakes_at": _iso(made.last_wake)}
    if prices is not None:
        found["cost"] = _cost(made, prices)
    return found


def _cost(made: Plan, prices: Prices) -> dict[str, Any]:
    by_market, untold = cost(made, prices)
    total = sum((money for _, money in by_market.values()), Decimal(0))
    return {
        "currency": prices.currency,
        "at_most": f"{total:.4f}",
        "markets": [
            {"market": market, "messages": messages, "at_most": f"{money:.4f}"}
            for market, (messages, money) in by_market.items()
        ],
        "without_price": untold,
    }


def _examples(made: Plan, templates: Templates | None) -> list[dict[str, str]]:
    found = []
    seen: set[tuple[str, str]] = set()
    for (language, which), (_, message) in sorted(made.examples.items(), key=lambda item: item[0]):
        shown = templates.preview(message) if templates is not None else ""
        text = mask_all(shown or message.template.wire_text)
        # The long one of a language may be its short one.
        if (language, text) not in seen:
            seen.add((language, text))
            found.append({"template": message.template.name, "language": language, "kind": which, "text": text})
    return found


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
