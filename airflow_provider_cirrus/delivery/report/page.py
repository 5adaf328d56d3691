"""A report as a page that can be opened anywhere: the page of Airflow's UI, with all it shows in the file itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from airflow_provider_cirrus.api.country import country_of
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.audience.rows import open_rows
from airflow_provider_cirrus.delivery.audience.table import BadRow
from airflow_provider_cirrus.delivery.engine.result import Reasons
from airflow_provider_cirrus.delivery.ledger.base import Entry

# Points of the chart, reasons and countries: enough to see what happened.
_POINTS, _REASONS, _COUNTRIES = 240, 30, 30
_NEEDED = {"report": ["recipient", "outcome", "code", "reason", "time"]}


def page_of(report: Any) -> str:
    """
    Return a report as a page of HTML, without a whole number in it.

    :param report: a path or URI of a report, in any of its formats
    :raises InvalidInput: there is none, or it is no report
    """
    found = progress_of(report)
    title = f"Report {str(report).rsplit('/', 1)[-1]}"
    return in_one_file({**found, "title": title, "report": str(report)})


def progress_of(report: Any) -> dict[str, Any]:
    """
    Return what a report says, counted, as the page takes it.

    :raises InvalidInput: there is none, or it is no report
    """
    counts: Counter[Outcome] = Counter()
    countries: Counter[str] = Counter()
    reasons = Reasons()
    # By second: a day has 86,400 of them, however many messages.
    seconds: dict[int, Counter[Outcome]] = {}
    for outcome, code, moment, row in _lines(report):
        counts[outcome] += 1
        recipient = str(row.get("recipient") or "")
        if outcome is Outcome.ACCEPTED and recipient.isdecimal():
            countries[country_of(recipient)] += 1
        elif outcome is not Outcome.ACCEPTED:
            reasons.add(recipient, Entry(outcome, code=code, reason=row.get("reason") or None))
        if moment is not None:
            seconds.setdefault(moment, Counter())[outcome] += 1
    history = _history(seconds)
    return {
        "v": 1,
        "state": "ended",
        "total": counts.total(),
        "counts": {outcome.value: counts[outcome] for outcome in Outcome},
        "seconds": history[-1][0] if history else None,
        "reasons": [
            {"outcome": str(one.outcome), "code": one.code, "reason": one.text, "count": one.count} for one in reasons
        ][:_REASONS],
        "countries": dict(countries.most_common(_COUNTRIES)),
        "history": history,
    }


def in_one_file(found: Mapping[str, Any]) -> str:
    """
    Return the page with style, script and what it shows in one file.

    :param found: as the page takes it, with ``title``
    """
    page, style, script = (_static(f"delivery.{ending}") for ending in ("html", "css", "js"))
    # Nothing in a text may end the script that holds it.
    data = json.dumps(found).replace("<", "\\u003c")
    page = page.replace('<link rel="stylesheet" href="delivery.css">', f"<style>\n{style}</style>")
    held = f'<script type="application/json" id="data">{data}</script>\n<script>\n{script}</script>\n</body>'
    return page.replace('<script src="delivery.js" defer></script>\n', "").replace("</body>", held)


def _static(name: str) -> str:
    return files("airflow_provider_cirrus.plugins").joinpath("static", name).read_text(encoding="utf-8")


def _lines(report: Any) -> Iterator[tuple[Outcome, int | None, int | None, Mapping[str, Any]]]:
    known = {outcome.value: outcome for outcome in Outcome}
    for place, row in enumerate(open_rows(report, needed=_NEEDED), 1):
        if isinstance(row, BadRow):
            raise InvalidInput("REPORT", f"line {place} cannot be read: {row.reason}")
        if (outcome := known.get(str(row.get("outcome")))) is None:
            raise InvalidInput("REPORT", f"line {place} has no outcome of a send.", hint="Give the report of a send.")
        try:
            code, moment = _code(row.get("code")), _moment(row.get("time"))
        except ValueError:
            raise InvalidInput("REPORT", f"line {place} has a code or a time that is none.") from None
        yield outcome, code, moment, row


def _code(value: Any) -> int | None:
    return int(value) if value not in (None, "") else None


def _moment(value: Any) -> int | None:
    """Return Unix seconds of a report's time: text, or what Parquet makes of it."""
    if value in (None, ""):
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _history(seconds: Mapping[int, Counter[Outcome]]) -> list[list[float]]:
    """Return how many of each outcome there were by when, in seconds since the first."""
    if not seconds:
        return []
    moments = sorted(seconds)
    begin, step = moments[0], max(1, (moments[-1] - moments[0]) // _POINTS + 1)
    points: list[list[float]] = [[0.0, *(0 for _ in Outcome)]]
    so_far: Counter[Outcome] = Counter()
    for moment in moments:
        so_far.update(seconds[moment])
        point: list[float] = [float(moment - begin + 1), *(so_far[outcome] for outcome in Outcome)]
        if len(points) > 1 and (moment - begin) // step == (points[-1][0] - 1) // step:
            points[-1] = point
        else:
            points.append(point)
    return points
