"""Whether a send is still what somebody approved: audience, message, rules, definitions and rate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.arguments import allowance, to_plain
from airflow_provider_cirrus.delivery.options import Rules
from airflow_provider_cirrus.delivery.plan.digest import Digest

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.plan.plan import Plan
    from airflow_provider_cirrus.templates.store import Templates

_FORMAT = 1
_REMEDY = "Plan it anew, and have that approved. Nobody was messaged now."


class NotApproved(InvalidInput):
    """What would be sent is not what was approved; nobody was messaged."""


def terms(
    made: Plan,
    *,
    rules: Rules,
    templates: Templates | None,
    rate: float,
    spread_over: float | None,
    experiment: Any,
    shard: tuple[int, int] | None,
) -> dict[str, Any]:
    """
    Return what an approval of a plan is of, as plain JSON-able data: no number and no text can be read from it.

    :param rate: messages a second, at most
    :param spread_over: seconds over which they are spread; None: over none
    :param experiment: of which it is a part; None: of none
    :param shard: of the audience
    """
    return {
        "format": _FORMAT,
        "to_send": made.to_send,
        "messages": made.messages.as_text(),
        "recipients": made.recipients.as_text(),
        "rules": _hash(to_plain(rules)),
        "templates": _hash_of_definitions(made.read, templates),
        "messages_per_second": rate,
        "spread_over": spread_over,
        "experiment": None if experiment is None else _hash(to_plain(experiment)),
        "shard": list(shard) if shard else None,
    }


def check_approved(approved: Any, now: Mapping[str, Any], tolerance: Any) -> None:
    """
    Check that a send is what was approved.

    :param approved: the result of a plan, or its ``approval``
    :param now: the :func:`terms` of what would be sent
    :param tolerance: by how many messages it may differ: a count, or a ratio of those that were approved
    :raises NotApproved: it differs, and how
    :raises InvalidInput: what was approved is no plan
    """
    then = _terms_of(approved)
    messages = Digest.of_text(then["messages"])
    allowed = allowance(tolerance, messages.count, "tolerance")
    problems = []
    for name, what in (
        ("rules", "the rules are others"),
        ("templates", "a definition of a template is another"),
        ("messages_per_second", "the rate is another"),
        ("spread_over", "the time that it is spread over is another"),
        ("experiment", "the experiment is another"),
        ("shard", "it is another part of the audience"),
    ):
        if then.get(name) != now[name]:
            said = f": {then[name]} were approved, now {now[name]}" if name == "messages_per_second" else ""
            problems.append(what + said)
    problems += _differences(then, now, messages, allowed)
    if problems:
        raise NotApproved("approved", f"this is not what was approved: {'; '.join(problems)}.", hint=_REMEDY)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any], messages: Digest, allowed: float) -> list[str]:
    current = Digest.of_text(now["messages"])
    differing = messages.differs_by(current)
    if differing > allowed:
        counts = f"{in_numbers(messages.count, 'message')} were approved, {current.count} are there now"
        if Digest.of_text(then["recipients"]) == Digest.of_text(now["recipients"]):
            # Each that was changed is one that is gone, and one that is new.
            changed = max(1, round(differing / 2))
            return [f"the same people would get another message: about {changed} of {messages.count} differ"]
        # An estimate: no more can be new than are there, and no more gone than were.
        gained = min(max(0, (differing + current.count - messages.count) // 2), current.count)
        lost = min(max(0, differing - gained), messages.count)
        return [f"{counts}: about {gained} are new or changed, about {lost} are gone"]
    if (more := now["to_send"] - then["to_send"]) > allowed:
        return [
            f"{then['to_send']} were to be sent, and {now['to_send']} would be now: rules that held {more} back have "
            "changed what they say"
        ]
    return []


def _terms_of(approved: Any) -> Mapping[str, Any]:
    found = approved.get("approval", approved) if isinstance(approved, Mapping) else None
    names = ("to_send", "messages", "recipients", "rules", "templates", "messages_per_second", "shard")
    if not isinstance(found, Mapping) or any(name not in found for name in names):
        raise InvalidInput("approved", "is no result of a plan.", hint="Give the output of a PlanSendOperator.")
    if found.get("format") != _FORMAT:
        raise InvalidInput("approved", f"is of format {found.get('format')!r}, not {_FORMAT}.", hint=_REMEDY)
    return found


def _hash_of_definitions(kinds: Iterable[tuple[str, str]], templates: Templates | None) -> str:
    if templates is None:
        return _hash(None)
    found = {}
    for name, language in sorted(kinds):
        definition = templates.find(name, language)
        found[f"{name} {language}"] = None if definition is None else definition.model_dump(mode="json")
    return _hash(found)


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
