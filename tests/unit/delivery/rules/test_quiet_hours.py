from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pendulum
import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
from airflow_provider_cirrus.delivery.rules.time_zones import zones_of

LONDON, NEW_YORK, TOLL_FREE = "447700900123", "12125550123", "18005550123"
# Of a satellite network: it is nowhere.
NOWHERE = "883000000000"
NIGHT = QuietHours("21:00", "08:00")
FIRST = int(datetime.fromisoformat("2026-01-01T00:00Z").timestamp())
LAST = int(datetime.fromisoformat("2028-12-31T00:00Z").timestamp())
ZONES = sorted(available_timezones() - {"Factory", "localtime"})
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# The same examples in every run, and no file kept of them.
repeatable = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def unix(text: str) -> int:
    """Unix seconds of a time that is written with its offset."""
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("quiet", "zone", "now", "until"),
    [
        pytest.param(NIGHT, "Europe/London", "2027-01-11T20:59:59+00:00", None, id="the-last-second-before"),
        pytest.param(NIGHT, "Europe/London", "2027-01-11T21:00+00:00", "2027-01-12T08:00+00:00", id="start-is-quiet"),
        pytest.param(NIGHT, "Europe/London", "2027-01-12T07:59:59+00:00", "2027-01-12T08:00+00:00", id="morning"),
        pytest.param(NIGHT, "Europe/London", "2027-01-12T08:00+00:00", None, id="end-is-not-quiet"),
        pytest.param(NIGHT, "Asia/Kolkata", "2027-01-11T15:30+00:00", "2027-01-12T02:30+00:00", id="half-hour-zone"),
        pytest.param(
            QuietHours("12:00", "14:30"),
            "Europe/Madrid",
            "2027-01-11T13:00+01:00",
            "2027-01-11T14:30+01:00",
            id="midday",
        ),
        pytest.param(
            QuietHours("22:00", "00:00"),
            "Europe/Madrid",
            "2027-01-11T23:59+01:00",
            "2027-01-12T00:00+01:00",
            id="to-24",
        ),
        pytest.param(
            QuietHours.texas(), "America/Chicago", "2027-01-09T21:00-06:00", "2027-01-10T12:00-06:00", id="texas-sunday"
        ),
        pytest.param(
            QuietHours.texas(), "America/Chicago", "2027-01-10T22:00-06:00", "2027-01-11T09:00-06:00", id="texas-monday"
        ),
        pytest.param(
            QuietHours("21:00", "08:00", days={"sunday": "all"}),
            "Europe/Berlin",
            "2027-01-09T21:00+01:00",
            "2027-01-11T08:00+01:00",
            id="a-day-that-is-quiet-throughout",
        ),
        pytest.param(
            QuietHours("21:00", "08:00", holidays=["2027-12-25", date(2027, 12, 26)]),
            "Europe/London",
            "2027-12-24T21:00+00:00",
            "2027-12-27T08:00+00:00",
            id="holidays-as-dates",
        ),
        pytest.param(
            QuietHours("21:00", "08:00", holidays="US-TX"),
            "America/Chicago",
            "2027-03-02T12:00-06:00",
            "2027-03-03T08:00-06:00",
            id="holidays-of-a-country-and-its-part",
        ),
        pytest.param(
            QuietHours("22:00", "02:30"),
            "America/New_York",
            "2027-03-14T01:59-05:00",
            "2027-03-14T03:00-04:00",
            id="gap",
        ),
        pytest.param(
            QuietHours("01:00", "01:30"),
            "America/New_York",
            "2027-11-07T01:15-04:00",
            "2027-11-07T01:30-04:00",
            id="fold-the-first-time",
        ),
        pytest.param(
            QuietHours("01:00", "01:30"),
            "America/New_York",
            "2027-11-07T01:15-05:00",
            "2027-11-07T01:30-05:00",
            id="fold-the-second-time",
        ),
        pytest.param(
            QuietHours("21:00", "02:00"),
            "America/New_York",
            "2027-11-07T01:30-04:00",
            "2027-11-07T02:00-05:00",
            id="fold-both-times",
        ),
        pytest.param(
            QuietHours("01:45", "08:00"),
            "Australia/Lord_Howe",
            "2027-04-04T01:50+11:00",
            "2027-04-04T01:30+10:30",
            id="fold-of-half-an-hour-out-of-quiet-hours",
        ),
    ],
)
def test_a_message_waits_until_the_quiet_hours_of_a_zone_end(
    quiet: QuietHours, zone: str, now: str, until: str | None
) -> None:
    decision = quiet.decide(LONDON, unix(now), zone)
    assert decision.until == (until and unix(until))
    assert decision.allowed is (until is None)
    assert quiet.next_allowed([zone], unix(now)) == unix(until or now)


def test_the_reason_says_until_when_and_where() -> None:
    decision = NIGHT.decide(NEW_YORK, unix("2027-02-28T23:00-05:00"))
    assert decision.reason == "quiet hours until 2027-03-01T08:00 in America/New_York"
    assert NIGHT.decide(NEW_YORK, unix("2027-02-28T12:00-05:00")).reason == ""


def test_a_number_of_many_zones_waits_for_all_of_them() -> None:
    decision = QuietHours.us().decide(TOLL_FREE, unix("2027-01-15T12:00-05:00"))
    # Honolulu, Guam and Saint John's: only after 8 on the one side, and before 21 on the other.
    assert decision.until == unix("2027-01-16T08:00+10:00")
    assert decision.reason == "quiet hours until 2027-01-16T08:00 in Pacific/Guam (one of 42 zones of the number)"


def test_the_zone_of_the_row_wins_over_the_number_and_that_over_the_fallback() -> None:
    quiet, now = QuietHours("21:00", "08:00", zone="Asia/Tokyo"), unix("2027-01-11T12:00+00:00")
    assert quiet.decide(LONDON, now).allowed
    assert quiet.decide(LONDON, now, "Asia/Tokyo").until == unix("2027-01-12T08:00+09:00")
    assert quiet.decide(LONDON, now, " ").allowed, "a blank cell is no zone"
    assert quiet.decide(NOWHERE, now).reason == "quiet hours until 2027-01-12T08:00 in Asia/Tokyo"


@pytest.mark.parametrize(
    ("digits", "zones"),
    [
        pytest.param(NEW_YORK, ["America/New_York"], id="area-code"),
        pytest.param(LONDON, TIMEZONE_DATA["44"], id="not-known-to-the-library"),
        pytest.param(TOLL_FREE, TIMEZONE_DATA["1"], id="toll-free"),
        pytest.param("79161234567", TIMEZONE_DATA["7"], id="mobile-of-a-wide-country"),
        pytest.param("4915112345678", ["Europe/Berlin"], id="country-of-one-zone"),
        pytest.param("525512345678", ["America/Mexico_City"], id="mexico"),
        pytest.param("5215512345678", ["America/Mexico_City"], id="mexico-with-1"),
        pytest.param("5491123456789", ["America/Buenos_Aires"], id="argentina-with-9"),
        pytest.param("541123456789", ["America/Buenos_Aires"], id="argentina"),
        pytest.param("5592912345678", ["America/Manaus"], id="brazil-with-9"),
        pytest.param("559212345678", ["America/Manaus"], id="brazil"),
        pytest.param(NOWHERE, [], id="satellite"),
    ],
)
def test_a_number_tells_the_zones_in_which_its_owner_may_be(digits: str, zones: list[str]) -> None:
    assert set(zones_of(digits)) == set(zones)


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        pytest.param("Europe/Lodnon", "Did you mean Europe/London?", id="slip"),
        pytest.param("europe/paris ", "Did you mean Europe/Paris?", id="case"),
        pytest.param("CET+1", "there is no time zone 'CET+1'", id="not-iana"),
        pytest.param("+02:00", "such as Europe/London", id="offset"),
        pytest.param("Europe", "there is no time zone", id="folder"),
        pytest.param("../../etc/passwd", "there is no time zone", id="path"),
        pytest.param("localtime", "there is no time zone", id="of-the-machine"),
        pytest.param("447700900123", "'+44******0123'", id="number-in-the-wrong-column"),
        pytest.param(2, "is of type int", id="number"),
    ],
)
def test_a_zone_that_does_not_exist_refuses_the_row(zone: Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        NIGHT.decide(LONDON, FIRST, zone, field="row 7, zone_column")
    assert caught.value.field == "row 7, zone_column"
    assert problem in str(caught.value)
    assert "7700900" not in str(caught.value)


def test_a_number_without_a_zone_needs_a_fallback() -> None:
    with pytest.raises(InvalidInput, match=r"QuietHours\(…, zone=") as caught:
        NIGHT.decide(NOWHERE, FIRST)
    assert NOWHERE not in str(caught.value)


def test_hours_that_no_moment_suits_refuse_the_recipient_and_no_other() -> None:
    quiet = QuietHours("12:00", "11:00")
    for _ in range(2):
        with pytest.raises(InvalidInput, match="no moment within 31 days that is allowed in all of 42 time zones"):
            quiet.decide(TOLL_FREE, FIRST)
    assert quiet.decide(NEW_YORK, FIRST).until == unix("2026-01-01T11:00-05:00")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param({"start": "9:00"}, "quiet_hours.start: is '9:00', not a time of day. Write HH:MM", id="one-digit"),
        pytest.param({"end": "24:00"}, "quiet_hours.end: is '24:00'", id="24"),
        pytest.param({"start": 1260}, "In YAML, put it in quotes", id="yaml-1.1"),
        pytest.param({"end": "21:00"}, "starts and ends at 21:00", id="all-day-or-never"),
        pytest.param({"days": {"sun": "all"}}, "quiet_hours.days: has no 'sun'. The days are monday", id="day"),
        pytest.param({"days": {"sunday": "21:00-12:00"}}, "Give a start and an end, or 'all'", id="window-as-text"),
        pytest.param({"days": {"sunday": ("21:00", "noon")}}, "quiet_hours.days['sunday'].end", id="window-of-a-day"),
        pytest.param({"days": ["sunday"]}, "quiet_hours.days: is ['sunday']", id="days-as-list"),
        pytest.param({"days": dict.fromkeys(DAYS, "all")}, "leave no time of any day", id="always"),
        pytest.param({"holidays": "2027-12-25"}, "a list of dates", id="one-date"),
        pytest.param({"holidays": ["25/12/2027"]}, "quiet_hours.holidays[0]: is '25/12/2027', not a date", id="date"),
        pytest.param({"holidays": [datetime(2027, 12, 25)]}, "not a date", id="datetime"),
        pytest.param({"holidays": 5}, "Give a country, or a list of dates", id="holidays"),
        pytest.param({"zone": "Mars/Olympus"}, "quiet_hours.zone: there is no time zone", id="fallback-zone"),
        pytest.param({"on_quiet": "wait"}, "one of defer, schedule, suppress", id="on-quiet"),
        pytest.param({"until": "08:00"}, "has no 'until'. The names are start, end", id="name"),
    ],
)
def test_what_are_no_quiet_hours_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        QuietHours.of({"start": "21:00", "end": "08:00", **arguments})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"), [("21:00-08:00", "is of type str"), (None, "NoneType"), ({"start": "21:00"}, "lacks 'end'")]
)
def test_what_is_no_dict_of_quiet_hours_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        QuietHours.of(value)


def test_a_country_that_is_not_known_is_refused_before_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    QuietHours("21:00", "08:00", holidays="US").check()
    with pytest.raises(InvalidInput, match="does not know 'XX'"):
        QuietHours("21:00", "08:00", holidays="XX").check()
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(InvalidInput, match=r"pip install 'airflow-provider-cirrus\[holidays\]'"):
        QuietHours("21:00", "08:00", holidays="GB").check()


def test_quiet_hours_are_values() -> None:
    quiet = QuietHours.texas(zone="America/Chicago", on_quiet="schedule")
    quiet.decide(NEW_YORK, FIRST)
    assert repr(quiet) == (
        "QuietHours('21:00', '09:00', days={'sunday': ['21:00', '12:00']}, zone='America/Chicago', on_quiet='schedule')"
    )
    assert quiet == QuietHours.of(quiet) == copy.deepcopy(quiet) == pickle.loads(pickle.dumps(quiet))
    assert len({quiet, QuietHours.texas(zone="America/Chicago", on_quiet="schedule"), QuietHours.us()}) == 2
    with pytest.raises(FrozenInstanceError):
        quiet.zone = "UTC"  # type: ignore[misc]


def test_a_dag_file_pays_for_no_library() -> None:
    program = (
        "import sys; from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours;"
        "QuietHours.us(zone='Europe/London'); QuietHours('21:00', '08:00', holidays='US');"
        "print({'phonenumbers', 'pendulum', 'holidays', 'airflow', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def is_quiet(arguments: dict[str, Any], wall: datetime) -> bool:
    """What the arguments say of a time on the wall, read as a person would."""
    if wall.strftime("%Y-%m-%d") in arguments.get("holidays", ()):
        return True
    default = (arguments["start"], arguments["end"])
    window = arguments.get("days", {}).get(wall.strftime("%A").lower(), default)
    if window == "all":
        return True
    (start, end), time = window, wall.strftime("%H:%M")
    return start <= time < end if start < end else time >= start or time < end


@cache
def changes(zone: str) -> list[int]:
    """When the clock is changed in a zone."""
    place, found = ZoneInfo(zone), []
    for day in range(FIRST, LAST, 86_400):
        begin, end = day, day + 86_400
        before = datetime.fromtimestamp(begin, place).utcoffset()
        if datetime.fromtimestamp(end, place).utcoffset() != before:
            while end - begin > 1:
                middle = (begin + end) // 2
                same = datetime.fromtimestamp(middle, place).utcoffset() == before
                begin, end = (middle, end) if same else (begin, middle)
            found.append(end)
    return found


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 0, 1, 15, 30, 45, 59]))
windows = st.tuples(times, times).filter(lambda window: window[0] != window[1])
dates = st.dates(date(2026, 1, 1), date(2028, 12, 30)).map(date.isoformat)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    start, end = draw(windows)
    days = draw(st.dictionaries(st.sampled_from(DAYS), windows | st.just("all"), max_size=3))
    return {"start": start, "end": end, "days": days, "holidays": draw(st.lists(dates, max_size=2))}


@st.composite
def moments(draw: st.DrawFn) -> tuple[list[str], int]:
    """Zones, and a moment: mostly one about which the clock is changed in one of them."""
    zones = draw(st.lists(st.sampled_from(ZONES), min_size=1, max_size=4, unique=True))
    changed = [moment for zone in zones for moment in changes(zone)]
    near = draw(st.sampled_from(changed)) if changed and draw(st.integers(0, 3)) else draw(st.integers(FIRST, LAST))
    return zones, near + draw(st.integers(-36, 3)) * 3600 + draw(st.integers(-1800, 1800))


@repeatable
@given(rules(), moments())
@example({"start": "21:00", "end": "02:00"}, (["America/New_York"], unix("2027-11-07T01:30-04:00")))
@example({"start": "23:00", "end": "02:30"}, (["Africa/Casablanca", "Europe/Dublin"], unix("2027-02-07T01:00+00:00")))
def test_nothing_is_released_in_a_quiet_hour_of_any_zone_nor_kept_longer(
    arguments: dict[str, Any], moment: tuple[list[str], int]
) -> None:
    zones, now = moment
    try:
        released = int(QuietHours.of(arguments).next_allowed(zones, now))
    except InvalidInput:
        released = now + 31 * 86_400
    else:
        # Another library than the one that decides.
        walls = [pendulum.from_timestamp(released, tz=zone) for zone in zones]
        assert not any(is_quiet(arguments, wall) for wall in walls)
    assert released >= now
    places = [ZoneInfo(zone) for zone in zones]
    for minute in range(now, min(released, now + 2 * 86_400), 60):
        assert any(is_quiet(arguments, datetime.fromtimestamp(minute, place)) for place in places), minute


@st.composite
def tight_rules(draw: st.DrawFn) -> dict[str, Any]:
    """Hours that leave gaps of few minutes, mostly in one zone already."""
    hour, minute, gap = draw(st.integers(0, 23)), draw(st.integers(0, 59)), draw(st.integers(1, 3))
    # It ends so many minutes before it starts.
    start = hour * 60 + minute
    end = (start - gap) % 1440
    return {"start": f"{start // 60:02}:{start % 60:02}", "end": f"{end // 60:02}:{end % 60:02}"}


@repeatable
@given(tight_rules() | rules(), moments(), st.integers(0, 3))
@example({"start": "12:01", "end": "12:00"}, (["Europe/London"], unix("2027-03-01T00:00+00:00")), 1)
@example({"start": "12:02", "end": "12:00"}, (["Europe/London"], unix("2027-03-01T12:01+00:00")), 1)
# No two minutes are ever free, and the last moment that is looked at must not count as one.
@example({"start": "02:00", "end": "01:58"}, (["America/Dominica"], 1_778_651_940), 2)
def test_a_message_leaves_at_the_first_minute_from_which_it_arrives_outside_of_quiet_hours(
    arguments: dict[str, Any], moment: tuple[list[str], int], minutes: int
) -> None:
    zones, now = moment
    places = [ZoneInfo(zone) for zone in zones]

    def is_free(at: int) -> bool:
        return not any(is_quiet(arguments, datetime.fromtimestamp(at, place)) for place in places)

    # Minute by minute, for two days: the plainest reading there is.
    first = now // 60 * 60
    expected = next(
        (at for at in range(first, first + 2 * 86_400, 60) if is_free(at) and is_free(at + minutes * 60)), None
    )
    # Where stretches are shorter than the way, the answer may be later than need be, and never wrong.
    try:
        decision = QuietHours.of(arguments)._decide(tuple(zones), now, minutes)
    except InvalidInput:
        assert expected is None or minutes > 1
        return
    until = first if decision.until is None else decision.until
    assert is_free(until)
    assert is_free(until + minutes * 60)
    if minutes <= 1:
        assert until == expected if expected is not None else until >= first + 2 * 86_400


@repeatable
@given(rules(), st.lists(moments(), min_size=2, max_size=6))
def test_what_was_asked_before_changes_no_answer_and_later_is_never_sooner(
    arguments: dict[str, Any], asked: list[tuple[list[str], int]]
) -> None:
    used, zones = QuietHours.of(arguments), asked[0][0]
    answers = []
    for now in [now for _, now in asked] + [asked[0][1] + 59, asked[0][1]]:
        answer = []
        for quiet in (used, QuietHours.of(arguments)):
            try:
                answer.append(quiet.next_allowed(zones, now))
            except InvalidInput:
                answer.append(now + 31 * 86_400)
        assert answer[0] == answer[1]
        answers.append((now, answer[0]))
    released = [until for _, until in sorted(answers)]
    assert released == sorted(released)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number that may be called, of any country and kind, its last digits left to chance."""
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kind = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 7]))
    like = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    digits = phonenumbers.format_number(like, phonenumbers.PhoneNumberFormat.E164)[1:]
    left = draw(st.integers(2, 7))
    return digits[:-left] + draw(st.text("0123456789", min_size=left, max_size=left))


@repeatable
@given(numbers(), moments())
def test_nobody_gets_a_message_in_a_quiet_hour_wherever_the_number_may_be(
    digits: str, moment: tuple[list[str], int]
) -> None:
    decision = NIGHT.decide(digits, moment[1], None)
    released = decision.until or moment[1]
    parsed = phonenumbers.parse(f"+{digits}")
    possible = set(time_zones_for_number(parsed)) - {"Etc/Unknown"}
    if not possible and not digits.startswith(("52", "54", "55")):
        possible = set(TIMEZONE_DATA[str(parsed.country_code)])
    for zone in possible:
        assert "08:00" <= datetime.fromtimestamp(released, ZoneInfo(zone)).strftime("%H:%M") < "21:00", zone


def test_no_number_of_north_america_has_fewer_zones_than_the_library_says() -> None:
    for area in range(200, 990):
        for digits in (f"1{area}{exchange}{last}" for exchange in ("2", "5550", "9") for last in ("000123", "123")):
            known = time_zones_for_number(phonenumbers.parse(f"+{digits}"))
            assert set(known) - {"Etc/Unknown"} <= set(zones_of(digits)), digits[:5]


@repeatable
@given(st.sampled_from([("52", "521"), ("54", "549"), ("55{}", "55{}9")]), st.data(), moments())
def test_the_spellings_of_a_number_are_one(
    prefixes: tuple[str, str], data: st.DataObject, moment: tuple[list[str], int]
) -> None:
    brazil = "{}" in prefixes[0]
    area = data.draw(st.integers(11, 99))
    rest = data.draw(st.text("0123456789", min_size=8 if brazil else 10, max_size=8 if brazil else 10))
    one, other = (prefix.format(area) + rest for prefix in prefixes)
    assert zones_of(one) == zones_of(other) != ()
    assert NIGHT.decide(one, moment[1]) == NIGHT.decide(other, moment[1])


@repeatable
@given(rules(), st.none() | st.sampled_from(ZONES), st.sampled_from(["defer", "schedule", "suppress"]))
def test_quiet_hours_pass_through_json(arguments: dict[str, Any], zone: str | None, on_quiet: str) -> None:
    quiet = QuietHours.of({**arguments, "zone": zone, "on_quiet": on_quiet})
    assert QuietHours.of(json.loads(json.dumps(quiet.to_dict()))) == quiet
    assert eval(repr(quiet)) == quiet


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_texas_is_never_laxer_than_the_united_states(hour: int) -> None:
    begin = datetime.fromisoformat("2027-03-08T00:00-06:00") + timedelta(hours=hour)
    for day in range(14):
        now = (begin + timedelta(days=day)).timestamp()
        zones = ["America/Chicago"]
        assert QuietHours.texas().next_allowed(zones, now) >= QuietHours.us().next_allowed(zones, now)
