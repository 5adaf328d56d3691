"""Rules of a notice: an opt-in and a suppression that need no rows; what else there is has no meaning here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.arguments import is_true
from airflow_provider_cirrus.delivery.options import Rules, refuse_others, with_defaults
from airflow_provider_cirrus.hooks.connection import connection_options

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def rules_with(own: Rules, extra: Mapping[str, Any], conn_id: str) -> Rules:
    """
    Return the rules of a notice, with those of its connection that it can keep.

    :param extra: of the connection
    :param conn_id: its id, for errors
    :raises InvalidInput: one that goes by what a notice does not have, or none where the connection requires one
    """
    shared = connection_options(extra, Rules, "rules")
    rules = with_defaults(own, Rules(opt_in=shared.opt_in, suppression=shared.suppression))
    if rules.opt_in is None and is_true(extra.get("require_opt_in", False), "require_opt_in"):
        raise InvalidInput(
            "opt_in",
            f"is missing, and connection {conn_id!r} requires it (require_opt_in).",
            hint="Say who agreed to notices: for people on call, rules=Rules(opt_in=[their numbers]); see "
            "docs/notifier.md.",
        )
    check_rules(rules)
    return rules


def check_rules(rules: Rules) -> None:
    """
    Check rules without opening anything.

    :raises InvalidInput: something that is no source, or one that goes by what a notice does not have
    """
    from airflow_provider_cirrus.delivery.rules.consent import OptIn, columns_of

    hint = "Give numbers, a file or a query: for people on call, Rules(opt_in=[their numbers])."
    refuse_others(rules, ("opt_in", "suppression"), "rules", "is not asked for a notice.", "Leave it out.")
    if rules.opt_in is not None and OptIn.of(rules.opt_in).by_category is not None:
        raise InvalidInput("opt_in", "differs by category, and a notifier has none.", hint=hint)
    for name in columns_of(rules.opt_in, rules.suppression):
        raise InvalidInput(name, "goes by a column of the audience, and a notice has no rows.", hint=hint)


async def engines_of(rules: Rules) -> Callable[[str], Engine]:
    """Return what makes the engines of the rules' lists; their connections are looked up here, on an event loop."""
    from airflow.providers.common.compat.connection import get_async_connection

    from airflow_provider_cirrus.delivery.contact_lists.spec import SqlNumbers
    from airflow_provider_cirrus.delivery.rules.consent import OptIn, Suppression
    from airflow_provider_cirrus.delivery.sql.store import engine_for
    from airflow_provider_cirrus.hooks.connection import database_url

    given = [] if rules.opt_in is None else [OptIn.of(rules.opt_in).numbers]
    given += [] if rules.suppression is None else [one.numbers for one in Suppression.of(rules.suppression)]
    ids = [one.conn_id for one in given if isinstance(one, SqlNumbers)]
    connections = {conn_id: await get_async_connection(conn_id) for conn_id in ids}
    return lambda conn_id: engine_for(
        database_url(connections[conn_id], "conn_id", may_be_relative=True), is_ours=False
    )
