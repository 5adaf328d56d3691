"""A plan as a page that can be opened anywhere, and sent to whoever decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from airflow_provider_cirrus.api.text import in_numbers

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: .4rem;
padding: .6rem .8rem; font: inherit; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""


def page_of(plan: Mapping[str, Any], title: str) -> str:
    """
    Return a plan as a page of HTML, all in one file.

    :param plan: as a task returns it
    :param title: what would be sent
    """
    style = files("airflow_provider_cirrus.plugins").joinpath("static", "delivery.css").read_text(encoding="utf-8")
    head = _HEAD.format(title=escape(title), style=style)
    return head + "\n".join(_parts(plan)) + "\n</main>\n</body>\n</html>\n"


def _parts(plan: Mapping[str, Any]) -> Iterator[str]:
    outcomes = plan["outcomes"]
    facts = [
        ("To be sent", f"{plan['to_send']:,} of {plan['total']:,}"),
        ("Rate", f"{plan['messages_per_second']:g} a second"),
    ]
    facts += [(name.capitalize(), f"{count:,}") for name, count in outcomes.items() if count and name != "now"]
    facts.append(("Ends at", plan["ends_at"]))
    if asleep := plan["asleep"]:
        facts.append(("Awake from", f"{asleep['first_wakes_at']} to {asleep['last_wakes_at']}"))
    if budget := plan.get("budget"):
        facts.append(("Left of the day's budget", f"{budget['left']:,} of {budget['people']:,} people"))
    if cost := plan["cost"]:
        facts.append(("At most", f"{cost['at_most']} {cost['currency']}"))
    yield "<dl>" + "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(str(v))}</dd></div>" for n, v in facts) + "</dl>"
    if cost:
        rows = [(one["messages"], one["market"], one["at_most"]) for one in cost["markets"]]
        yield _table("What it costs at most", ("Messages", "Market", cost["currency"]), rows)
        if cost["without_price"]:
            yield f"<p>Of {in_numbers(cost['without_price'], 'message')} the price is not known.</p>"
        yield "<p>What is not delivered is not charged.</p>"
    yield _table("Countries", ("Messages", "Country"), [(n, name) for name, n in plan["countries"].items()])
    templates = [(one["messages"], one["template"], one["language"]) for one in plan["templates"]]
    yield _table("Templates", ("Messages", "Template", "Language"), templates)
    yield _table("Categories", ("Messages", "Category"), [(n, name) for name, n in plan["categories"].items()])
    yield _table("Held back by", ("Messages", "Rule"), [(n, name) for name, n in plan["rules"].items()])
    reasons = [(one["count"], one["outcome"], one["reason"]) for one in plan["reasons"]]
    yield _table("Why not", ("Messages", "Outcome", "Reason"), reasons)
    yield from (f"<p>{escape(note)}</p>" for note in plan["notes"])
    if plan["examples"]:
        yield "<h2>Examples</h2>"
    for example in plan["examples"]:
        what = f"{example['template']} ({example['language']}), a {example['kind']} one"
        yield f'<p>{escape(what)}</p>\n<pre dir="auto">{escape(example["text"])}</pre>'


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    found = list(rows)
    if not found:
        return ""
    numbers = ' class="number"'
    cells = "".join(f'<th scope="col"{"" if at else numbers}>{escape(head)}</th>' for at, head in enumerate(heads))
    lines = [
        "<tr>"
        + "".join(
            f"<td>{escape(str(cell))}</td>" if at else f"<td{numbers}>{cell:,}</td>" for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in found
    ]
    return f"<h2>{escape(title)}</h2>\n<table>\n<tr>{cells}</tr>\n" + "\n".join(lines) + "\n</table>"
