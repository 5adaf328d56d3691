"""
Quiet hours: when nobody wants a message, in the recipient's own local time. One room, as what is written down, how
it is checked and what follows from it are told by each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask
from airflow_provider_cirrus.delivery.rules.time_zones import zone_named, zones_of
from airflow_provider_cirrus.delivery.rules.values import shown

OnQuiet = Literal["defer", "schedule", "suppress"]
Window = tuple[str, str]

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ON_QUIET = ("defer", "schedule", "suppress")
_NAMES = ("start", "end", "days", "holidays", "zone", "on_quiet")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_COUNTRY = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,5})?")
_MINUTE, _DAY = 60, 86_400
# Longer than any row of holidays: what is quiet until then stays quiet.
_HORIZON = 31 * _DAY
# Sets of zones whose next moment is remembered. The numbers of all countries have a few hundred.
_REMEMBERED = 4096


class NeverAllowedError(InvalidInput):
    """Quiet hours that leave a recipient no moment at which a message may leave."""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    Whether a message may leave.

    :ivar until: Unix seconds of the earliest moment at which it may; None: now
    :ivar reason: for people, such as ``quiet hours until 2027-03-01T08:00 in Europe/London``; empty where it may leave
    :ivar holds_until: Unix seconds; where it may leave, until when that is so at least
    """

    until: int | None = None
    reason: str = ""
    holds_until: int = field(default=0, compare=False)

    @property
    def allowed(self) -> bool:
        """True where it may leave now."""
        return self.until is None


@dataclass(frozen=True, init=False, repr=False)
class QuietHours:
    """
    The hours of each day in which nobody gets a message, in the recipient's own local time.

    ::

        QuietHours("21:00", "08:00", days={"sunday": "all"}, zone="Europe/London")

    A window says which times of a calendar day are quiet, its start included, its end not. One that ends before it
    starts holds the end of the day and its beginning: with the above, a Saturday is quiet until 08:00 and from 21:00.

    The time zones of a recipient are those of a column of the row, else those of the number, else ``zone``. A number
    that may be in several is left alone until it is outside the quiet hours of all of them.

    :param start: ``HH:MM``
    :param end: ``HH:MM``
    :param days: other windows of some days: ``monday`` … ``sunday`` to a start and an end, or to ``all``
    :param holidays: dates that are quiet all day: a list of dates or ISO texts; or a country, such as ``US`` or
        ``US-TX``, for its public holidays (needs ``airflow-provider-cirrus[holidays]``)
    :param zone: the IANA zone of numbers that tell none, such as those of satellite phones. Without it these
        recipients are refused
    :param on_quiet: ``defer``: wait, and send then; ``schedule``: hand Cirrus the moment as the message's
        ``schedule``; ``suppress``: do not send
    :raises InvalidInput: a value that is none of these, or hours that leave no time of any day
    """

    start: str
    end: str
    days: tuple[tuple[str, Window | Literal["all"]], ...]
    holidays: str | tuple[str, ...]
    zone: str | None
    on_quiet: OnQuiet
    _week: tuple[tuple[tuple[int, int], ...], ...] = field(compare=False)
    _dates: frozenset[date] = field(compare=False)
    # Of minutes on its way and a set of zones: from when to when a decision holds, and the decision.
    _found: dict[tuple[int, tuple[str, ...]], tuple[int, int, Decision | None]] = field(compare=False)

    def __init__(
        self,
        start: str,
        end: str,
        *,
        days: Mapping[str, Sequence[str] | Literal["all"]] | None = None,
        holidays: Iterable[date | str] | str | None = None,
        zone: str | None = None,
        on_quiet: OnQuiet = "defer",
    ) -> None:
        if on_quiet not in _ON_QUIET:
            raise InvalidInput(
                "quiet_hours.on_quiet", f"is {shown(on_quiet)}.", hint=f"It is one of {', '.join(_ON_QUIET)}."
            )
        if zone is not None:
            zone_named(zone, "quiet_hours.zone")
        usual = _window((start, end), "quiet_hours")
        others = _other_days(days)
        week = tuple(_quiet_parts(others.get(day, usual)) for day in _DAYS)
        if all(parts == ((0, _DAY),) for parts in week):
            raise InvalidInput("quiet_hours.days", "leave no time of any day.", hint="Let one day have a window.")
        chosen = _country(holidays) if isinstance(holidays, str) else _dates(holidays)
        values: dict[str, Any] = {
            "start": start,
            "end": end,
            "days": tuple((day, others[day]) for day in _DAYS if day in others),
            "holidays": chosen,
            "zone": zone,
            "on_quiet": on_quiet,
            "_week": week,
            "_dates": frozenset() if isinstance(chosen, str) else frozenset(map(date.fromisoformat, chosen)),
            "_found": {},
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def us(cls, *, zone: str | None = None, on_quiet: OnQuiet = "defer") -> QuietHours:
        """
        Return the hours of the United States: 21:00 to 08:00.

        47 CFR 64.1200(c)(1) forbids telephone solicitations before 8 a.m. and after 9 p.m., local time of the called
        party.

        :param zone: as of the class
        :param on_quiet: as of the class
        """
        return cls("21:00", "08:00", zone=zone, on_quiet=on_quiet)

    @classmethod
    def texas(cls, *, zone: str | None = None, on_quiet: OnQuiet = "defer") -> QuietHours:
        """
        Return the hours of Texas: 21:00 to 09:00, on Sundays to 12:00.

        Texas Business & Commerce Code § 301.051 allows solicitations from 9 a.m. to 9 p.m. on weekdays and Saturdays,
        and from noon to 9 p.m. on Sundays. Never laxer than :meth:`us`, so an audience of all states may have them.

        :param zone: as of the class
        :param on_quiet: as of the class
        """
        return cls("21:00", "09:00", days={"sunday": ("21:00", "12:00")}, zone=zone, on_quiet=on_quiet)

    @classmethod
    def of(cls, value: Any) -> QuietHours:
        """
        Return quiet hours from what an argument may hold.

        :param value: quiet hours, or a dict of the class's arguments, such as :meth:`to_dict` returns
        :raises InvalidInput: anything else
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidInput(
                "quiet_hours",
                f"is of type {type(value).__name__}.",
                hint='Give QuietHours("21:00", "08:00"), or {"start": "21:00", "end": "08:00"}.',
            )
        if strange := [name for name in value if name not in _NAMES]:
            raise InvalidInput(
                "quiet_hours", f"has no {shown(strange[0])}.", hint=f"The names are {', '.join(_NAMES)}."
            )
        if missing := [name for name in ("start", "end") if name not in value]:
            raise InvalidInput("quiet_hours", f"lacks {missing[0]!r}.", hint="Write it as HH:MM.")
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON has them; those that were not given are left out."""
        days = {day: window if window == "all" else list(window) for day, window in self.days}
        holidays = self.holidays if isinstance(self.holidays, str) else list(self.holidays)
        return {
            "start": self.start,
            "end": self.end,
            **({"days": days} if days else {}),
            **({"holidays": holidays} if holidays else {}),
            **({"zone": self.zone} if self.zone else {}),
            **({"on_quiet": self.on_quiet} if self.on_quiet != "defer" else {}),
        }

    def __repr__(self) -> str:
        others = [f", {name}={value!r}" for name, value in self.to_dict().items() if name not in ("start", "end")]
        return f"QuietHours({self.start!r}, {self.end!r}{''.join(others)})"

    def check(self) -> None:
        """
        Refuse what only the library of holidays can tell; to be called once, before the first row.

        :raises InvalidInput: the library is missing, or knows no such country
        """
        if isinstance(self.holidays, str):
            _holidays_of(self.holidays, datetime.now(UTC).year)

    def decide(
        self, digits: str, now: float, zone: str | None = None, *, field: str = "zone", minutes_on_its_way: int = 0
    ) -> Decision:
        """
        Return whether a message to this number may leave.

        Both the moment at which it leaves and the one at which it arrives at the latest must be outside the quiet
        hours, so a gap between two of them that is too short is none.

        :param digits: as :func:`~airflow_provider_cirrus.api.phone.to_digits` returns them
        :param now: Unix seconds at which it would leave: those of its ``schedule`` where it has one
        :param zone: the recipient's IANA zone, where a row has it; blank: not known
        :param field: how errors name that zone
        :param minutes_on_its_way: how long it may take to arrive
        :raises NeverAllowedError: no moment within 31 days suits all zones
        :raises InvalidInput: no such zone, or no zone known at all
        """
        zone = zone.strip() if isinstance(zone, str) else zone
        if zone is None or zone == "":
            zones = zones_of(digits) or ((self.zone,) if self.zone else ())
        else:
            zones = (zone_named(zone, field).key,)
        if not zones:
            raise InvalidInput(
                field,
                f"is not known: the number {mask(digits)} tells no time zone.",
                hint="Give it in a column, or one for all such numbers: QuietHours(…, zone='Europe/London').",
            )
        return self._decide(zones, now, minutes_on_its_way)

    def next_allowed(self, zones: Sequence[str], now: float) -> float:
        """
        Return the earliest moment that is outside the quiet hours of all these zones, in Unix seconds.

        :param zones: IANA zones
        :param now: Unix seconds, which are returned where they are allowed
        :raises NeverAllowedError: there is none within 31 days
        :raises InvalidInput: no such zone
        """
        until = self._decide(tuple(zones), now).until
        return now if until is None else until

    def _decide(self, zones: tuple[str, ...], now: float, minutes: int = 0) -> Decision:
        # What is true at the beginning of a minute is true throughout: since 1972 all zones are whole minutes off UTC.
        minute = int(now // _MINUTE) * _MINUTE
        found = self._found.get((minutes, zones))
        if found is None or not found[0] <= now < found[1]:
            decision = self._work_out(zones, minute, minutes * _MINUTE)
            until = minute + _MINUTE if decision is None or decision.until is None else decision.until
            found = (minute, until, decision)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[minutes, zones] = found
        if (decision := found[2]) is None:
            where = zones[0] if len(zones) == 1 else f"all of {len(zones)} time zones"
            raise NeverAllowedError(
                "quiet_hours",
                f"leave no moment within {_HORIZON // _DAY} days that is allowed in {where}.",
                hint="Give the recipient's IANA zone in a column, or shorten the quiet hours.",
            )
        return decision

    def _work_out(self, zones: tuple[str, ...], now: int, on_its_way: int) -> Decision | None:
        """Return what holds from the beginning of a minute; None: nothing is allowed before the horizon."""
        places = [zone_named(zone, "zone") for zone in zones]
        horizon = now + _HORIZON
        moment = self._end_of_all(places, now, horizon)
        # Who would arrive in quiet hours leaves after them. Nothing that would do is passed over where the way is no
        # longer than the shortest quiet hours, which are a minute.
        arrival = moment + on_its_way
        while moment < horizon and (end := self._end_of_all(places, arrival, horizon + on_its_way)) != arrival:
            moment, arrival = end, end + on_its_way
        if moment == now:
            return Decision(holds_until=now + _MINUTE)
        if moment >= horizon:
            return None
        last = next(place for place in places if self._left(datetime.fromtimestamp(moment - 1, place)))
        others = f" (one of {len(zones)} zones of the number)" if len(zones) > 1 else ""
        local = datetime.fromtimestamp(moment, last).strftime("%Y-%m-%dT%H:%M")
        return Decision(moment, f"quiet hours until {local} in {last.key}{others}")

    def _end_of_all(self, places: Sequence[ZoneInfo], moment: int, horizon: int) -> int:
        """Return the earliest moment that is quiet in none of the zones; the horizon where there is none before it."""
        before = None
        while before != moment:
            before = moment
            for place in places:
                moment = self._end(place, moment, horizon)
        return moment

    def _end(self, place: ZoneInfo, moment: int, horizon: int) -> int:
        """Return the earliest moment that is not quiet in one zone; the horizon where there is none before it."""
        begin = moment
        while moment < horizon and (left := self._left(datetime.fromtimestamp(moment, place))):
            # It is so long by the clock on the wall; where that is changed before, look again from there.
            moment = _next_change(place, moment, moment + left)
        return max(begin, min(moment, horizon))

    def _left(self, wall: datetime) -> int:
        """Return for how many seconds of this day the clock on the wall stays within quiet hours; 0: it is not."""
        second = (wall.hour * 60 + wall.minute) * 60 + wall.second
        if self._is_holiday(wall.date()):
            return _DAY - second
        return next((end - second for start, end in self._week[wall.weekday()] if start <= second < end), 0)

    def _is_holiday(self, day: date) -> bool:
        if isinstance(self.holidays, str):
            return day in _holidays_of(self.holidays, day.year)
        return day in self._dates


def _next_change(place: ZoneInfo, begin: int, end: int) -> int:
    """Return when the clock is changed between two moments at most a day apart; the later one where it is not."""

    def offset(moment: int) -> Any:
        return datetime.fromtimestamp(moment, place).utcoffset()

    before = offset(begin)
    # Two changes that cancel each other within a day would be missed: no zone has had that.
    if offset(end) == before:
        return end
    while end - begin > 1:
        middle = (begin + end) // 2
        if offset(middle) == before:
            begin = middle
        else:
            end = middle
    return end


@cache
def _holidays_of(country: str, year: int) -> frozenset[date]:
    # Late, as it is heavy and comes with an extra.
    try:
        import holidays
    except ImportError:
        raise InvalidInput(
            "quiet_hours.holidays",
            f"are those of {country}, which needs the library holidays.",
            hint="pip install 'airflow-provider-cirrus[holidays]', or give a list of dates.",
        ) from None
    code, _, part = country.partition("-")
    try:
        return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))
    except NotImplementedError:
        raise InvalidInput(
            "quiet_hours.holidays",
            f"the library holidays does not know {country!r}.",
            hint="Give a country code of ISO 3166, such as US or US-TX, or a list of dates.",
        ) from None


def _country(value: str) -> str:
    if _COUNTRY.fullmatch(value):
        return value
    raise InvalidInput(
        "quiet_hours.holidays",
        f"is {shown(value)}, which is no country code.",
        hint="Write a country such as US or US-TX, or a list of dates.",
    )


def _dates(values: Any) -> tuple[str, ...]:
    if values is not None and not isinstance(values, Iterable):
        raise InvalidInput("quiet_hours.holidays", f"is {shown(values)}.", hint="Give a country, or a list of dates.")
    found = set()
    for place, value in enumerate(values or ()):
        try:
            if isinstance(value, datetime) or not isinstance(value, date | str):
                raise TypeError
            found.add(date.fromisoformat(str(value)).isoformat())
        except (TypeError, ValueError):
            raise InvalidInput(
                f"quiet_hours.holidays[{place}]",
                f"is {shown(value)}, not a date.",
                hint="Write it as 2027-12-25.",
            ) from None
    return tuple(sorted(found))


def _other_days(days: Any) -> dict[str, Window | Literal["all"]]:
    if days is not None and not isinstance(days, Mapping):
        raise InvalidInput("quiet_hours.days", f"is {shown(days)}.", hint="Write {'sunday': ('21:00', '12:00')}.")
    found: dict[str, Window | Literal["all"]] = {}
    for day, value in (days or {}).items():
        if day not in _DAYS:
            raise InvalidInput("quiet_hours.days", f"has no {shown(day)}.", hint=f"The days are {', '.join(_DAYS)}.")
        found[day] = "all" if value == "all" else _window(value, f"quiet_hours.days[{day!r}]")
    return found


def _window(value: Any, field: str) -> Window:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise InvalidInput(field, f"is {shown(value)}.", hint="Give a start and an end, or 'all' for the whole day.")
    for name, time in zip(("start", "end"), value, strict=True):
        if not (isinstance(time, str) and _TIME.fullmatch(time)):
            # YAML reads an unquoted 21:00 as the number 1260.
            quotes = " In YAML, put it in quotes." if isinstance(time, int) else ""
            raise InvalidInput(
                f"{field}.{name}",
                f"is {shown(time)}, not a time of day.",
                hint=f"Write HH:MM from 00:00 to 23:59, such as 08:00.{quotes}",
            )
    start, end = value
    if start == end:
        raise InvalidInput(
            field,
            f"starts and ends at {start}: that may be all day or never.",
            hint="For a day that is quiet throughout write days={'sunday': 'all'}.",
        )
    return start, end


def _quiet_parts(window: Window | Literal["all"]) -> tuple[tuple[int, int], ...]:
    """Return which seconds of a day are quiet, as starts and ends."""
    if window == "all":
        return ((0, _DAY),)
    start, end = ((int(time[:2]) * 60 + int(time[3:])) * 60 for time in window)
    if start < end:
        return ((start, end),)
    return ((0, end), (start, _DAY)) if end else ((start, _DAY),)
