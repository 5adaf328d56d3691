"""
The one door: an audience, a client, and what is said of the send; operators, hook and scripts come through it.

It opens what the rules need, sends, and closes it again. It knows nothing of Airflow: whoever calls it brings the
ledger, and says what the outcomes mean.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import SendResult
from airflow_provider_cirrus.delivery.audience.columns import Columns
from airflow_provider_cirrus.delivery.audience.fields import MESSAGE_FIELDS, TEMPLATE_FIELDS, MessageFields
from airflow_provider_cirrus.delivery.audience.messages import check_rows, read_audience, read_messages
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow, count_hint
from airflow_provider_cirrus.delivery.audience.shards import in_shard
from airflow_provider_cirrus.delivery.circuit_breaker import CircuitBreaker
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.engine.helm import NOBODY_LOOKS, Oversight
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.engine.watch import Watch
from airflow_provider_cirrus.delivery.errors import EmptyAudience
from airflow_provider_cirrus.delivery.ledger.base import Ledger
from airflow_provider_cirrus.delivery.opening import Connect, Listener, Opening
from airflow_provider_cirrus.delivery.options import Delivery, Report, Rules, refuse_columns, with_row_context
from airflow_provider_cirrus.delivery.rules.policy import Allowlist, everybody_is_allowed
from airflow_provider_cirrus.delivery.steering.wish import Steering

if TYPE_CHECKING:
    from airflow_provider_cirrus.api.client import CirrusClient
    from airflow_provider_cirrus.delivery.audience.experiment import Experiment
    from airflow_provider_cirrus.delivery.plan.plan import Plan
    from airflow_provider_cirrus.templates.store import Templates

log = logging.getLogger(__name__)

#: Messages, and rows that are none, each with its index.
Messages: TypeAlias = "Iterable[tuple[int, Message | RejectedRow]]"


@dataclass(frozen=True)
class ThisTry:
    """
    The try of a task that sends.

    :ivar number: from 1
    :ivar cleared_after: the last try before the task was last cleared; 0: it never was
    :ivar stop: once set, no further batch leaves
    :ivar steering: what people want of the run meanwhile; None: nobody can say
    :ivar is_resumed: whether it goes on after it gave its worker's slot back
    :ivar stream_rate: messages a second of the stream, for all tasks that share the ledger's database; None: no other
        task is asked
    """

    number: int = 1
    cleared_after: int = 0
    stop: Event | None = None
    steering: Steering | None = None
    is_resumed: bool = False
    stream_rate: float | None = None


_NO_RULES, _AS_USUAL, _FIRST = Rules(), Delivery(), ThisTry()


def messages_of(
    message: Mapping[str, Any],
    *,
    to: Any = None,
    messages: Any = None,
    audience: Any = None,
    columns: Columns | None = None,
    rules: Rules | None = None,
    shard: tuple[int, int] | None = None,
    not_before: float | None = None,
    refuse_bad_rows: bool = False,
    may_be_empty: bool | None = None,
    templates: Templates | None = None,
    experiment: Any = None,
) -> tuple[Messages, int | None]:
    """
    Return the messages of an audience, and how many they are where that is known.

    :param message: what all messages share: ``template``, ``language``, ``header``, ``body``, ``buttons``,
        ``components``, ``authentication_code``, ``schedule``, ``object_data``, ``message_key``
    :param to: a number, or a list of them; or:
    :param messages: dicts with ``to`` and whatever differs; or:
    :param audience: a path, a URI or an iterable of rows, read as a stream
    :param columns: of an audience, which column fills what
    :param rules: whose columns stay with each message
    :param shard: a number from 0 and how many shards there are
    :param not_before: Unix seconds before which no schedule may lie; None: now
    :param refuse_bad_rows: look at all rows of the audience first, and take none where one cannot become a message
    :param may_be_empty: whether nobody at all is an audience; a shard of one may be empty in any case. None: nobody
        among rows is, and an empty list of recipients or messages is a slip
    :param templates: the definitions that messages are checked against; None: none. ``experiment``: the
        variants, as of :class:`~.audience.experiment.Experiment`
    :raises EmptyAudience: there is nobody, and it may not be so
    :raises InvalidInput: nobody could be sent it, or the audience cannot be read
    """
    _refuse_strange(message)
    moment = time.time() if not_before is None else not_before
    known: dict[str, Any] = {"templates": templates, "experiment": experiment_of(experiment)}
    columns = with_row_context(columns or Columns(), rules or Rules())
    if audience is not None:
        total = None if shard else count_hint(audience)
        if refuse_bad_rows:
            check_rows(audience, columns, message, now=lambda: moment, **known)
        rows = read_audience(audience, columns, message, now=lambda: moment, shard=shard, **known)
        return (_not_empty(rows) if may_be_empty is False and not shard else rows), total
    given = to if messages is None else messages
    if may_be_empty is not None and isinstance(given, Sized) and not isinstance(given, str) and not len(given):
        if not may_be_empty:
            raise EmptyAudience("to or messages", "holds no recipient.")
        return iter(()), 0
    if to is not None:
        refuse_columns(columns)
    found = read_messages(to, messages, message, moment, columns.kept, **known)
    for remark in dict.fromkeys(remark for one in found for remark in one.template.advice()):
        log.warning(remark)
    if shard is None:
        return enumerate(found), len(found)
    mine = list(in_shard(enumerate(found), shard))
    return mine, len(mine)


def _refuse_strange(message: Mapping[str, Any]) -> None:
    if strange := [name for name in message if name not in (*TEMPLATE_FIELDS, *MESSAGE_FIELDS)]:
        raise InvalidInput(
            strange[0], "is no part of a message.", hint=f"They are {', '.join(MessageFields.__annotations__)}."
        )


def _not_empty(rows: Iterator[tuple[int, Message | RejectedRow]]) -> Iterator[tuple[int, Message | RejectedRow]]:
    first = next(rows, None)
    if first is None:
        raise EmptyAudience("audience", "holds no row.")
    return chain((first,), rows)


def deliver(
    messages: Messages,
    client: CirrusClient,
    *,
    total: int | None = None,
    rules: Rules = _NO_RULES,
    delivery: Delivery = _AS_USUAL,
    report: Report | None = None,
    zone_column: str | None = None,
    allowlist: Allowlist = everybody_is_allowed,
    connect: Connect | None = None,
    ledger: Ledger | None = None,
    messages_per_second: float = 80,
    start_after: float = 0.0,
    this_try: ThisTry = _FIRST,
    send: Callable[[Sequence[Message]], SendResult] | None = None,
    listener: Listener | None = None,
    templates: Templates | None = None,
) -> DeliveryResult:
    """
    Send messages: nobody twice, nobody lost, nobody who did not agree.

    :param messages: of :func:`messages_of`
    :param client: whose ``send`` tries once (``attempts=1``): repeating is decided here
    :param total: how many, where that is known. ``rules``: whom to message, when and how often
    :param delivery: of it, the mode and ``dry_run``
    :param report: where each outcome is written
    :param zone_column: column that holds the recipient's IANA zone
    :param allowlist: says of digits why they get nothing; see :func:`~.rules.policy.allowlist_of`
    :param connect: returns the engine of a connection, for rules that are in a database
    :param ledger: opened: what was sent before, and where to record what is; None: nothing is remembered
    :param messages_per_second: the limit; a fraction for a shard's part of it. ``start_after``: seconds before the
        first message leaves
    :param this_try: of the task
    :param send: sends a batch in place of the client
    :param listener: told of every outcome, from one thread
    :param templates: the definitions by which a dry run shows what recipients would see
    :raises CirrusError: wrong arguments, or something that cannot be used
    """
    with ExitStack() as opened:
        experiment = experiment_of(delivery.experiment)
        opening = Opening(opened, rules, connect, ledger, delivery.is_dry, client.endpoint.stream_id, experiment)
        policy = opening.policy(allowlist, zone_column)
        result = Dispatcher(
            send or client.send,
            client.endpoint.stream_id,
            None if delivery.is_dry else ledger,
            messages_per_second,
            this_try.number,
            delivery.repeats_unknown,
            this_try.stop or Event(),
            listener=_all_of(opening.report(report, templates), opening.rejects_to(this_try.number), listener),
            policy=policy,
            dry_run=delivery.is_dry,
            start_after=start_after,
            preview=templates.preview if templates and delivery.is_dry else None,
            oversight=NOBODY_LOOKS if delivery.is_dry else _oversight(delivery, this_try),
            shared_rate=opening.shared_rate(this_try.stream_rate, messages_per_second),
        ).run(messages, total)
    return replace(result, report_uri=opening.report_uri)


def experiment_of(value: Any) -> Experiment | None:
    """
    Return an experiment from what an argument may hold; None: there is none.

    :raises InvalidInput: anything else
    """
    if value is None:
        return None
    # Late, as few sends are experiments.
    from airflow_provider_cirrus.delivery.audience.experiment import Experiment

    return Experiment.of(value)


def _oversight(delivery: Delivery, this_try: ThisTry) -> Oversight:
    breaker = CircuitBreaker.of(delivery.circuit_breaker)
    return Oversight(
        Watch(breaker, delivery.first_messages(), this_try.cleared_after, delivery.repeats_unknown),
        delivery.asks_after_canary,
        this_try.steering,
        delivery.share(),
        # What has waited without a slot goes on doing so.
        0 if this_try.is_resumed else delivery.pause_patience(),
    )


def plan(
    messages: Messages,
    stream_id: str,
    *,
    rules: Rules = _NO_RULES,
    zone_column: str | None = None,
    allowlist: Allowlist = everybody_is_allowed,
    connect: Connect | None = None,
    templates: Templates | None = None,
    experiment: Any = None,
) -> Plan:
    """
    Return what sending messages would come to; nothing is sent, and nothing remembered.

    Earlier runs and frequency caps are not looked at: they are asked when a message is about to leave.

    :param messages: of :func:`messages_of`
    :param stream_id: that they would be sent through
    :param rules: as of :func:`deliver`, like the others
    :raises CirrusError: wrong arguments, or something that cannot be used
    """
    # Late, as most sends are not planned.
    from airflow_provider_cirrus.delivery.plan.plan import Planner

    with ExitStack() as opened:
        opening = Opening(opened, rules, connect, None, True, stream_id, experiment_of(experiment))
        policy = opening.policy(allowlist, zone_column)
        return Planner(stream_id, policy, templates, rules.checked_category()).plan(messages)


def _all_of(*found: Listener | None) -> Listener | None:
    listeners = [one for one in found if one is not None]
    if len(listeners) < 2:
        return listeners[0] if listeners else None

    def tell(outcomes: Sequence[MessageOutcome]) -> None:
        for listener in listeners:
            listener(outcomes)

    return tell
