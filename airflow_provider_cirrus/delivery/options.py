"""
What users say of a send beside its message, in small objects that many tasks may share. One room, so that whoever asks
what a send takes finds all of it here.

All of them are frozen, take a dict of the same names instead, and leave out what is not said: a connection's own
``rules`` and ``delivery`` fill that in. Nothing is checked here that has to be opened or looked up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import (
    allowance,
    from_names,
    is_literal,
    is_true,
    plain_without_functions,
    time_span,
    to_plain,
    whole_number,
)
from airflow_provider_cirrus.delivery.audience.columns import Columns

Options = TypeVar("Options", "Rules", "Delivery", "Report", Columns)

_MODES = ("at_most_once", "at_least_once")
_RECIPIENTS = ("full", "masked", "hash")
_IF_EXISTS = ("resume", "replace", "fail")
_DAY = 86_400.0
_PAUSE_PATIENCE = 300.0


@dataclass(frozen=True)
class Rules:
    """
    Whom to message, when and how often.

    ::

        Rules(opt_in={"column": "agreed"}, suppression="s3://shop/out.csv", quiet_hours=QuietHours("21:00", "08:00"))

    :ivar opt_in: where it is recorded who agreed to messages; nobody else gets one. See docs/consent.md
    :ivar suppression: who gets nothing; see docs/consent.md
    :ivar quiet_hours: when nobody is messaged, as :class:`~.rules.quiet_hours.QuietHours` or a dict of its arguments;
        a task gives its worker's slot back until those who were asleep may be messaged. See docs/quiet_hours.md
    :ivar frequency_cap: how often somebody is messaged, as :class:`~.rules.frequency_cap.FrequencyCap` or a dict of its
        arguments; needs a ``ledger_conn_id``. See docs/frequency_caps.md
    :ivar daily_budget: how many different people are messaged in 24 hours, as
        :class:`~.rules.daily_budget.DailyBudget`, a dict of its arguments, or a number; needs a ``ledger_conn_id``. See
        docs/daily_budgets.md
    :ivar category: of the template: ``marketing``, ``utility`` or ``authentication``, where opt-in or cap differ by it
    :ivar on_reject: a local file or a table to which numbers are added that Meta refuses for good
    :ivar max_suppressed: how many messages the rules may hold back before the task fails, as ``max_failed`` of
        :class:`Delivery`; None: all
    """

    opt_in: Any = None
    suppression: Any = None
    quiet_hours: Any = None
    frequency_cap: Any = None
    daily_budget: Any = None
    category: str | None = None
    on_reject: Any = None
    max_suppressed: int | float | str | None = None

    def check(self) -> None:
        """
        Check what is written out, without opening anything; what is templated is checked once it is rendered.

        :raises InvalidInput: names what is wrong
        """
        from airflow_provider_cirrus.delivery.contact_lists.rejects import RejectSink
        from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
        from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours

        if all(is_literal(value) for value in (self.category, self.opt_in, self.suppression)):
            self.row_context()
        if self.quiet_hours is not None and is_literal(self.quiet_hours):
            QuietHours.of(self.quiet_hours)
        if self.frequency_cap is not None and is_literal(self.frequency_cap):
            FrequencyCap.of(self.frequency_cap)
        if self.daily_budget is not None and is_literal(self.daily_budget):
            # Late, as few sends have one.
            from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget

            DailyBudget.of(self.daily_budget)
        if self.on_reject is not None and is_literal(self.on_reject):
            RejectSink.of(self.on_reject)
        if self.max_suppressed is not None and is_literal(self.max_suppressed):
            allowance(self.max_suppressed, 1, "max_suppressed")

    def checked_category(self) -> str | None:
        """
        Return the template's category.

        :raises InvalidInput: there is no such category
        """
        from airflow_provider_cirrus.delivery.rules.frequency_cap import check_category

        return check_category(self.category) if self.category else None

    def row_context(self) -> dict[str, list[str]]:
        """
        Return the columns of the rows that the rules go by, by the argument that names them.

        :raises InvalidInput: opt-in, suppression or category are not what they should be
        """
        from airflow_provider_cirrus.delivery.rules.consent import columns_of

        return columns_of(self.opt_in, self.suppression, self.checked_category())


@dataclass(frozen=True)
class Delivery:
    """
    How to send, and when a task has failed.

    :ivar mode: ``at_most_once``, or ``at_least_once``: a retry sends again what may have been sent
    :ivar max_failed: how many messages may be rejected or unknown before the task fails: a count (int) or a
        ratio of all (float, up to 1.0); everybody else was served by then
    :ivar on_bad_rows: ``reject`` rows that cannot become a message, and serve the others; or ``fail``: look at all rows
        first, which are read twice, and send nothing where one is bad. None: ``reject``
    :ivar messages_per_second: most messages that this task sends in a second; None: the connection's
    :ivar spread_over: send evenly over so long, a timedelta or seconds, and never faster than the rate; None: at the
        rate. The audience is counted first
    :ivar shard: which part of the audience this task sends, from 0; each takes its part of the rate
    :ivar shards: how many parts there are; :meth:`sharded` makes all of them
    :ivar ledger_conn_id: connection of a database that remembers what was sent, across runs and DAGs where messages
        have a ``message_key``; None: the Cirrus connection's own, or Airflow's task state store (3.3 and later)
    :ivar retry_rejected_after: of messages with a ``message_key`` that an earlier run was refused with a code that
        passes (131049, 132015, 134101, 131057), send again those that are so old: a timedelta, or seconds, of at least
        a day; None: never. Each run tries them once. Needs a ``ledger_conn_id``
    :ivar circuit_breaker: how much may come back rejected or unknown before it stops by itself, as
        :class:`~.circuit_breaker.CircuitBreaker` or a dict of its arguments; False: it never does. None: at one
        in ten rejected, one in a hundred unknown, twenty in a row rejected for one reason. See docs/circuit_breaker.md
    :ivar canary: so many messages go first, and the rest once their outcomes are in; None: all go
    :ivar canary_then: what follows a canary that fared well: ``send`` the rest, or ``pause`` until somebody resumes
    :ivar pause_defer_after: how long a paused task keeps its worker's slot, as a timedelta or seconds; None: 5 minutes.
        See docs/steering.md
    :ivar experiment: variants of the message and who gets which, as :class:`~.audience.experiment.Experiment` or a dict
        of its arguments. See docs/experiments.md
    :ivar resend: send again what an earlier run of this task sent, on purpose
    :ivar dry_run: do everything but the requests: what would be sent is ``unsent`` in result and report, the task
        succeeds, and nothing is remembered of it
    """

    mode: Literal["at_most_once", "at_least_once"] | str | None = None
    max_failed: int | float | str | None = None
    on_bad_rows: Literal["reject", "fail"] | str | None = None
    messages_per_second: int | str | None = None
    spread_over: timedelta | float | str | None = None
    shard: int | str | None = None
    shards: int | str | None = None
    ledger_conn_id: str | None = None
    retry_rejected_after: timedelta | float | str | None = None
    circuit_breaker: Any = None
    canary: int | str | None = None
    canary_then: Literal["send", "pause"] | str | None = None
    pause_defer_after: timedelta | float | str | None = None
    experiment: Any = None
    resend: bool | str | None = None
    dry_run: bool | str | None = None

    def sharded(self, shards: int) -> list[dict[str, Any]]:
        """
        Return one delivery for each part of an audience, for mapped tasks.

        ``SendTemplateOperator.partial(…).expand(delivery=Delivery().sharded(4))``

        :param shards: how many parts
        """
        return [to_plain(replace(self, shard=shard, shards=shards)) for shard in range(shards)]

    def check(self) -> None:
        """
        Check what is written out; what is templated is checked once it is rendered.

        :raises InvalidInput: names what is wrong
        """
        if self.mode is not None and is_literal(self.mode):
            _one_of("delivery", "mode", self.mode, _MODES)
        if self.max_failed is not None and is_literal(self.max_failed):
            allowance(self.max_failed, 1)
        if self.on_bad_rows is not None and is_literal(self.on_bad_rows):
            _one_of("delivery", "on_bad_rows", self.on_bad_rows, ("reject", "fail"))
        if self.messages_per_second is not None and is_literal(self.messages_per_second):
            whole_number(self.messages_per_second, "messages_per_second", 1)
        if is_literal(self.shard) and is_literal(self.shards):
            self.part()
        if is_literal(self.retry_rejected_after):
            self.rejected_wait()
        if is_literal(self.spread_over):
            self.spread()
        if self.circuit_breaker is not None and is_literal(self.circuit_breaker):
            # Late, as most sends have the usual one.
            from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker

            CircuitBreaker.of(self.circuit_breaker)
        if self.canary is not None and is_literal(self.canary):
            whole_number(self.canary, "canary", 1)
        if self.experiment is not None and is_literal(self.experiment):
            # Late, as few sends are one.
            from airflow_provider_cirrus.delivery.audience.experiment import Experiment

            Experiment.of(self.experiment)
        if self.canary_then is not None and is_literal(self.canary_then):
            _one_of("delivery", "canary_then", self.canary_then, ("send", "pause"))
        if is_literal(self.pause_defer_after):
            self.pause_patience()
        for name in ("resend", "dry_run"):
            if (value := getattr(self, name)) is not None and is_literal(value):
                is_true(value, name)

    @property
    def asks_after_canary(self) -> bool:
        """Whether the rest waits until somebody resumes."""
        return self.canary_then == "pause"

    def pause_patience(self) -> float:
        """
        Return the seconds after which a paused task gives its worker's slot back.

        :raises InvalidInput: no time span
        """
        return (
            _PAUSE_PATIENCE
            if self.pause_defer_after is None
            else time_span(self.pause_defer_after, "pause_defer_after")
        )

    def spread(self) -> float | None:
        """
        Return the seconds over which messages are spread; None: over none.

        :raises InvalidInput: ``spread_over`` is no time span
        """
        return None if self.spread_over is None else time_span(self.spread_over, "spread_over")

    def share(self) -> float:
        """Return this task's part of what holds for all: 1 where the audience is not sharded."""
        return 1 / part[1] if (part := self.part()) else 1.0

    def first_messages(self) -> int:
        """
        Return how many messages of this task go first, and are looked at before the others follow; 0: none.

        :raises InvalidInput: the canary, or the shard, is none
        """
        canary = 0 if self.canary is None else whole_number(self.canary, "canary", 1)
        return math.ceil(canary * self.share())

    @property
    def repeats_unknown(self) -> bool:
        """Whether a retry sends again what may have been sent."""
        return self.mode == "at_least_once"

    @property
    def is_dry(self) -> bool:
        """Whether nothing is sent; raises InvalidInput where that cannot be told."""
        return self.dry_run is not None and is_true(self.dry_run, "dry_run")

    @property
    def is_resend(self) -> bool:
        """Whether what was sent is sent again; raises InvalidInput where that cannot be told."""
        return self.resend is not None and is_true(self.resend, "resend")

    def rejected_wait(self) -> float | None:
        """
        Return the seconds of ``retry_rejected_after``.

        :raises InvalidInput: no time span, or less than a day: 131049 asks for one (Meta)
        """
        if self.retry_rejected_after is None:
            return None
        seconds = time_span(self.retry_rejected_after, "retry_rejected_after")
        if seconds < _DAY:
            raise InvalidInput(
                "retry_rejected_after",
                f"{seconds:g} s is less than a day.",
                hint="Meta asks for a day at least before somebody is tried again: timedelta(days=1).",
            )
        return seconds

    def part(self) -> tuple[int, int] | None:
        """
        Return the shard and the number of shards, or None for the whole audience.

        :raises InvalidInput: one without the other, or a shard that does not exist
        """
        if self.shard is None and self.shards is None:
            return None
        if self.shard is None or self.shards is None:
            raise InvalidInput("shard", "and shards go together.", hint="Give both, or neither.")
        shards = whole_number(self.shards, "shards", 1)
        shard = whole_number(self.shard, "shard", 0)
        if shard >= shards:
            raise InvalidInput("shard", f"{shard} of {shards} does not exist.", hint=f"Give 0 to {shards - 1}.")
        return shard, shards


@dataclass(frozen=True)
class Report:
    """
    A report with a line per message.

    :ivar path: local path or URI, ending in .jsonl, .csv or .parquet
    :ivar recipients: numbers in it: ``full``, ``masked`` or ``hash``
    :ivar if_exists: what becomes of a report that is there before the first try of a run: with ``resume``, the usual
        one, it is replaced once the new one is complete, or has more to say; with ``replace`` it is removed at the
        beginning; with ``fail`` nothing is sent. Later tries always resume
    :ivar spreadsheet_safe: whether a text of a CSV report that a spreadsheet would run as a formula gets an apostrophe
        before it; None: yes. False is for what reads CSV as it is written
    """

    path: Any = None
    recipients: Literal["full", "masked", "hash"] | str | None = None
    if_exists: Literal["resume", "replace", "fail"] | str | None = None
    spreadsheet_safe: bool | str | None = None

    @property
    def is_spreadsheet_safe(self) -> bool:
        """
        Whether formulas are disarmed.

        :raises InvalidInput: it says neither yes nor no
        """
        return self.spreadsheet_safe is None or is_true(self.spreadsheet_safe, "report.spreadsheet_safe")

    def check(self) -> None:
        """
        Check what is written out.

        :raises InvalidInput: names what is wrong
        """
        if self.recipients is not None and is_literal(self.recipients):
            _one_of("report", "recipients", self.recipients, _RECIPIENTS)
        if self.if_exists is not None and is_literal(self.if_exists):
            _one_of("report", "if_exists", self.if_exists, _IF_EXISTS)
        if self.spreadsheet_safe is not None and is_literal(self.spreadsheet_safe):
            is_true(self.spreadsheet_safe, "report.spreadsheet_safe")
        if isinstance(self.path, str) and self.path and is_literal(self.path):
            from airflow_provider_cirrus.delivery.report.destination import format_of

            format_of(self.path)


def options_of(kind: type[Options], value: Any, name: str) -> Options:
    """
    Return options from what an argument may hold.

    :param kind: :class:`Rules`, :class:`Delivery`, :class:`Report` or :class:`~.audience.columns.Columns`
    :param value: one of these, a dict of its names, None; of a report, also its path
    :param name: how errors name the argument
    :raises InvalidInput: anything else
    """
    if value is None:
        return kind()
    if kind is Report and (isinstance(value, str) or hasattr(value, "__fspath__") or hasattr(value, "protocol")):
        return kind(value) if value else kind()
    hint = ""
    if isinstance(value, str):
        hint = f"Give {kind.__name__}(…), or a dict of its names. "
        hint += "A dict that is templated as a whole needs render_template_as_native_obj."
    return from_names(kind, value, name, hint=hint)


def with_defaults(options: Options, defaults: Options) -> Options:
    """Return options, and where they say nothing, what the defaults say."""
    said = {one.name: value for one in fields(options) if (value := getattr(options, one.name)) is not None}
    return replace(defaults, **said)


def with_row_context(columns: Columns, rules: Rules) -> Columns:
    """
    Return the columns, and with them those that the rules go by.

    :raises InvalidInput: the rules are not what they should be
    """
    context = rules.row_context()
    if columns.zone is not None:
        context["columns.zone"] = [columns.zone]
    return replace(columns, row_context={**columns.row_context, **context})


def refuse_columns(columns: Columns) -> None:
    """
    Refuse recipients alone, who have no columns, where the rules go by some.

    :raises InvalidInput: they do
    """
    if columns.kept:
        raise InvalidInput(
            "to",
            f"has no columns, and the rules go by {', '.join(columns.kept)}.",
            hint="Give messages or an audience.",
        )


def at_the_edge(kind: type[Options], value: Any, name: str, *, may_call: bool = False) -> Any:
    """
    Return what an operator keeps of an argument: plain dicts, which Airflow renders, serialises and shows.

    :param may_call: whether functions may stand in it
    :raises InvalidInput: a value that is written out and is none, or a function in it, which Airflow would call
    """
    if value is None or not (isinstance(value, kind | Mapping) or is_literal(value)):
        # None, or a template or a reference that stands for the whole.
        return value
    options_of(kind, value, name)
    return to_plain(value) if may_call else plain_without_functions(value, name)


def refuse_others(options: Any, allowed: Sequence[str], argument: str, problem: str, hint: str) -> None:
    """
    Refuse what is said and cannot be kept.

    :param allowed: names of options that can
    :param argument: that they came in
    :raises InvalidInput: something else is said
    """
    for one in fields(options):
        if one.name not in allowed and getattr(options, one.name) is not None:
            raise InvalidInput(f"{argument}.{one.name}", problem, hint=hint)


def _one_of(name: str, part: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name}.{part}", f"{value!r} is unknown; known are {', '.join(choices)}.")
