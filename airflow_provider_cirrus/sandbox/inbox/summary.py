"""What came of the messages that are found: by outcome, by template, and minute by minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cirrus.sandbox.tally import Tally

# Most bars of the chart, and the minutes that one may stand for.
_BARS = 60
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)
_DAY = 1440


@dataclass(frozen=True)
class Bar:
    """
    What came in within a span.

    :ivar start: its first minute, in UTC
    """

    start: datetime
    accepted: int
    refused: int


@dataclass(frozen=True)
class Summary:
    """
    Counts of messages.

    :ivar outcomes: how many by ``accepted`` and ``refused``
    :ivar templates: the same for each template, the most used first
    :ivar reasons: why messages were refused, and how many for each, the most frequent first
    :ivar minutes: how many minutes a bar stands for
    :ivar bars: from the first message to the last, those without a message among them
    """

    outcomes: dict[str, int]
    scheduled: int
    unread: int
    templates: dict[str, dict[str, int]]
    reasons: dict[str, int]
    minutes: int
    bars: tuple[Bar, ...]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(self.outcomes.values())

    @property
    def tallest(self) -> int:
        """How many messages the tallest bar stands for."""
        return max((bar.accepted + bar.refused for bar in self.bars), default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "total": self.total,
            "outcomes": self.outcomes,
            "scheduled": self.scheduled,
            "unread": self.unread,
            "templates": self.templates,
            "reasons": self.reasons,
            "minutes": self.minutes,
            "bars": [
                {"start": f"{bar.start:%Y-%m-%dT%H:%M}Z", "accepted": bar.accepted, "refused": bar.refused}
                for bar in self.bars
            ],
        }


def summary(tally: Tally) -> Summary:
    """Return the counts of messages as people read them."""
    outcomes = dict.fromkeys(("accepted", "refused"), 0)
    templates: dict[str, dict[str, int]] = {}
    for (template, outcome), count in tally.templates.items():
        outcomes[outcome] += count
        templates.setdefault(template, dict.fromkeys(outcomes, 0))[outcome] += count
    width, bars = _bars(tally.minutes)
    most_used = sorted(templates.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    reasons = dict(tally.reasons.most_common())
    return Summary(outcomes, tally.scheduled, tally.unread, dict(most_used), reasons, width, bars)


def _bars(minutes: Counter[tuple[str, str]]) -> tuple[int, tuple[Bar, ...]]:
    if not minutes:
        return 1, ()
    moments = {text: datetime.fromisoformat(text).replace(tzinfo=UTC) for text, _ in minutes}
    first, last = min(moments.values()), max(moments.values())
    span = int((last - first).total_seconds()) // 60 + 1
    # One more than fits: the first bar may begin before the first message.
    days = -(-span // (_DAY * (_BARS - 1)))
    width = next((one for one in _WIDTHS if span <= one * (_BARS - 1)), days * _DAY)
    start = _floor(first, width)
    found: Counter[tuple[int, str]] = Counter()
    for (text, outcome), count in minutes.items():
        found[int((moments[text] - start).total_seconds()) // 60 // width, outcome] += count
    number = int((last - start).total_seconds()) // 60 // width + 1
    return width, tuple(
        Bar(start + timedelta(minutes=width * place), found[place, "accepted"], found[place, "refused"])
        for place in range(number)
    )


def _floor(moment: datetime, width: int) -> datetime:
    """Return the last full span of minutes before a moment, counted from midnight."""
    midnight = moment.replace(hour=0, minute=0)
    into = int((moment - midnight).total_seconds()) // 60
    return midnight + timedelta(minutes=into - into % width)
