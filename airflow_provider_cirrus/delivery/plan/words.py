"""A plan for people, in Markdown: as the body of an approval, or on a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_cirrus.api.text import cut, in_numbers

# Rows of a table: enough to decide by.
_ROWS = 15


def markdown(plan: Mapping[str, Any]) -> str:
    """
    Return a plan in Markdown.

    :param plan: as a task returns it
    """
    return "\n\n".join(part for part in _parts(plan) if part) + "\n"


def _parts(plan: Mapping[str, Any]) -> Iterable[str]:
    outcomes = plan["outcomes"]
    yield f"**{in_numbers(plan['to_send'], 'message')}** of {plan['total']} would be sent" + _when(plan)
    held = {name: outcomes[name] for name in ("rejected", "suppressed", "duplicate") if outcomes[name]}
    if held:
        yield "Not sent: " + ", ".join(f"{count} {name}" for name, count in held.items()) + "."
    if cost := plan["cost"]:
        yield _cost(cost)
    if budget := plan.get("budget"):
        words = f"Of the day's budget of {budget['people']} people, {budget['left']} are left"
        yield words + (", so some wait for another day." if budget["left"] < plan["to_send"] else ".")
    yield _table(("country", "messages"), plan["countries"].items())
    templates = [(f"{one['template']} ({one['language']})", one["messages"]) for one in plan["templates"]]
    yield _table(("template", "messages"), templates)
    if set(plan["categories"]) - {"unknown"}:
        yield _table(("category", "messages"), plan["categories"].items())
    yield _table(("held back by", "messages"), plan["rules"].items())
    reasons = [(f"{one['outcome']}: {one['reason']}", one["count"]) for one in plan["reasons"]]
    yield _table(("why not", "messages"), reasons)
    for note in plan["notes"]:
        yield f"*{_escaped(note)}*"
    for example in plan["examples"]:
        what = f"{_escaped(example['template'])} ({example['language']}), a {example['kind']} one:"
        yield f"{what}\n\n{_quoted(example['text'])}"


def _when(plan: Mapping[str, Any]) -> str:
    later = plan["outcomes"]["later"]
    words = f": at {plan['messages_per_second']:g} a second that takes {_span(plan['seconds'])}"
    words += f", and ends at {plan['ends_at']}."
    if later:
        words += f" {later} of them later, as they have a schedule, or their recipients are asleep"
        asleep = plan["asleep"]
        words += f" (awake from {asleep['first_wakes_at']} to {asleep['last_wakes_at']})." if asleep else "."
    return words


def _cost(cost: Mapping[str, Any]) -> str:
    words = f"It costs **{cost['at_most']} {cost['currency']}** at most: what is not delivered is not charged."
    if cost["without_price"]:
        words += f" Of {in_numbers(cost['without_price'], 'message')} the price is not known."
    rows = [(one["market"], one["messages"], one["at_most"]) for one in cost["markets"]]
    return words + "\n\n" + _table(("market", "messages", f"at most, {cost['currency']}"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    found = list(rows)
    if not found:
        return ""
    lines = [_row(heads), "|" + "---|" * len(heads), *map(_row, found[:_ROWS])]
    if len(found) > _ROWS:
        lines.append(_row([f"and {len(found) - _ROWS} more", *[""] * (len(heads) - 1)]))
    return "\n".join(lines)


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(value: Any) -> str:
    """Return a text that is no Markdown and no HTML, in one line."""
    text = cut(" ".join(str(value).split()), 300)
    for mark in "\\`*_[]<>#|~":
        text = text.replace(mark, f"\\{mark}")
    return text


def _quoted(text: str) -> str:
    # Indented, so that nothing in it is Markdown.
    return "\n".join(f"    {line}" for line in cut(text, 2_000).splitlines())


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
