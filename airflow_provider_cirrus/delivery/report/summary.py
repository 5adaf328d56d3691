"""Outcomes as plain JSON-able values, for XCom and for people; the report file is in ``report_file``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.codes import meaning_of
from airflow_provider_cirrus.api.phone import mask_all
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.api.text import in_numbers
from airflow_provider_cirrus.delivery.engine.result import KEPT, DeliveryResult, MessageOutcome, Reason
from airflow_provider_cirrus.delivery.report.formats import Line

if TYPE_CHECKING:
    from airflow_provider_cirrus.delivery.report.writer import ReportFile

# Enough to see the pattern, few enough to be read.
_SHOWN = 10
# Reasons in a result, which Airflow keeps for ever.
_KEPT_REASONS = 20
# What keeps a task from being a success.
_BAD = (*(outcome for outcome in Outcome if outcome.fails), Outcome.UNSENT)


def summary(delivery: DeliveryResult, show: Callable[[str], str] = str) -> dict[str, Any]:
    """
    Return the summary of a delivery.

    :param show: writes a recipient's digits, as the report does
    :return: ``{"total": int, "accepted": int, "rejected": int, …, "seconds": float, "messages_per_second": float,
        "report": str | None, "reasons": [...], "outcomes": [...]}``; there is a count for every outcome, and they
        add up to the total; the reasons are the 20 that most messages have which were not accepted, each with
        ``outcome, code, reason, count``; the outcomes stand there for up to 100 messages, each with
        ``index, recipient, outcome, message_id, object_id, code, reason``; ``previews`` of a dry run are what up to
        five recipients would see, where their templates are defined
    """
    total = delivery.total
    found: dict[str, Any] = {
        "total": total,
        **delivery.counts,
        "seconds": round(delivery.seconds, 3),
        "messages_per_second": round(total / delivery.seconds, 1) if delivery.seconds else 0.0,
        "report": delivery.report_uri,
        "reasons": [
            {"outcome": str(reason.outcome), "code": reason.code, "reason": reason.text, "count": reason.count}
            for reason in delivery.reasons
        ][:_KEPT_REASONS],
    }
    if delivery.previews:
        found["previews"] = [text if show is str else mask_all(text) for text in delivery.previews]
    if total <= KEPT:
        found["outcomes"] = [
            _outcome(index, settled.entry.result(settled.recipient).as_dict(), show)
            for index, settled in sorted(delivery.kept.items())
        ]
    return found


def _outcome(index: int, found: dict[str, Any], show: Callable[[str], str]) -> dict[str, Any]:
    if show is not str:
        found["recipient"] = show(found["recipient"])
        found["reason"] = found["reason"] and mask_all(found["reason"])
    return {"index": index, **found}


def in_words(delivery: DeliveryResult, *, with_kinds: bool = False) -> str:
    """
    Return the counts as a sentence: ``3 messages: 2 accepted, 1 rejected``.

    :param with_kinds: say, too, what they are made of: the suppressed by rule, the rejected by code
    """
    parts = []
    for outcome, count in delivery.counts.items():
        if count:
            kinds = _kinds(delivery, outcome) if with_kinds else []
            parts.append(f"{count} {outcome}" + (f" ({', '.join(kinds)})" if kinds else ""))
    total = in_numbers(delivery.total, "message")
    return f"{total}: {', '.join(parts)}" if parts else total


def _kinds(delivery: DeliveryResult, outcome: str) -> list[str]:
    counts: dict[str, int] = {}
    for reason in delivery.reasons:
        if reason.outcome == outcome and reason.outcome.told_by:
            if reason.outcome.told_by == "rule":
                kind = reason.text.partition(":")[0]
            else:
                kind = "no code" if reason.code is None else f"code {reason.code}"
            counts[kind] = counts.get(kind, 0) + reason.count
    return [f"{count} {kind}" for kind, count in counts.items()]


def explanation(delivery: DeliveryResult) -> list[str]:
    """
    Return why not all was accepted, the cause first, a line for each reason; numbers are masked.

    :return: lines without an end; none where all was accepted
    """
    lines = []
    if delivery.stopped:
        lines.append(f"Stopped: {delivery.stopped}")
    reasons = [reason for reason in delivery.reasons if reason.outcome in _BAD]
    if remedy := delivery.remedy or _hint(delivery, reasons):
        lines.append(f"What to do: {remedy}")
    lines += [_line_of(reason, delivery.stopped) for reason in reasons[:_SHOWN]]
    if more := reasons[_SHOWN:]:
        lines.append(f"and {sum(reason.count for reason in more)} more, for {in_numbers(len(more), 'other reason')}")
    return lines


def complaints(delivery: DeliveryResult) -> str:
    """Return the same in one line; empty where all was accepted."""
    return "; ".join(line.removesuffix(".") for line in explanation(delivery))


def _hint(delivery: DeliveryResult, reasons: Sequence[Reason]) -> str:
    """Return what to do about the last request that failed, where messages were lost by it."""
    error = delivery.error
    if error is None or delivery.stopped or mask_all(error.message) not in [reason.text for reason in reasons]:
        return ""
    return error.hint


def _line_of(reason: Reason, stopped: str) -> str:
    # Of many, a few are worth no more than their number.
    who = ", ".join(reason.recipients) + (", …" if reason.count > len(reason.recipients) > 0 else "")
    line = f"{reason.count} {reason.outcome}: {reason.text}"
    meaning = meaning_of(reason.code)
    if reason.code is not None and str(reason.code) not in reason.text:
        line += f" (code {reason.code})"
    if meaning is not None and meaning.says not in stopped:
        line += f" [{meaning.says}{'. ' if meaning.remedy else ''}{meaning.remedy.removesuffix('.')}]"
    return f"{line} ({who})" if who else line


def lines_to(
    report_file: ReportFile, variant_of: Callable[[str], str] | None = None
) -> Callable[[Sequence[MessageOutcome]], None]:
    """
    Return a listener for a dispatcher that writes every outcome to a report file.

    :param variant_of: says of a recipient's digits which variant of an experiment is theirs; None: there is none
    """

    def listener(settled: Sequence[MessageOutcome]) -> None:
        lines = [_line(one) for one in settled]
        if variant_of is not None:
            for line, one in zip(lines, settled, strict=True):
                # Of a row that is no message nobody knows.
                line.variant = variant_of(one.recipient) if one.key else ""
        report_file.write(lines)

    return listener


def _line(settled: MessageOutcome) -> Line:
    entry = settled.entry
    # By place: by name it takes a third more.
    return Line(
        settled.index,
        settled.recipient,
        settled.key.hex(),
        entry.outcome,
        entry.message_id,
        entry.object_id,
        entry.code,
        entry.reason,
        entry.attempt,
        entry.time,
        settled.consent,
        settled.preview,
    )
