"""
Whether a number may be asked for.

Asking for numbers that are then not messaged gets a business banned, and since WhatsApp 2.43 nearly every number is
answered with valid. So none is asked for without an opt-in, none twice in a long while, and few in a day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.phone import mask
from airflow_provider_cirrus.delivery.rules.consent import Consent, OptIn

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

#: Seconds for which an answer holds: people seldom leave WhatsApp, and a send tells who has.
DEFAULT_MAX_AGE = 30 * 86_400
#: Numbers that may be asked for in a day on one stream.
DEFAULT_BUDGET = 50

#: What is better than to ask.
SEND_INSTEAD = "A send says with a reason who is not on WhatsApp, and harms nobody's standing."


def check_opt_in(opt_in: Any) -> None:
    """
    Refuse what says of no single number whether its owner agreed; nothing is opened.

    :param opt_in: as :func:`require_opt_in` takes it
    :raises InvalidInput: None, False, or something that is no source
    """

    if opt_in is None or opt_in is False:
        raise InvalidInput(
            "opt_in",
            "is missing: whoever asks for numbers whose owners did not agree gets the business banned.",
            hint="Say where consent is on record: a list, a file, a query or a function; or opt_in=True where you "
            "have made sure yourself.",
        )
    if opt_in is not True and OptIn.of(opt_in).numbers is None:
        raise InvalidInput(
            "opt_in",
            "goes by column or category, and a number that is asked for has neither.",
            hint="Give the list, file, query or function itself.",
        )


def require_opt_in(opt_in: Any, digits: str, connect: Callable[[str], Engine] | None = None) -> None:
    """
    Refuse a number whose owner did not agree.

    :param opt_in: where consent is on record, as :class:`~.rules.consent.OptIn` takes it, except by column or
        category; or True: the caller has made sure
    :param digits: the number
    :param connect: returns the engine of a connection, for SQL
    :raises InvalidInput: no source of opt-ins, or no opt-in of this number
    :raises CirrusError: the source does not answer
    """

    check_opt_in(opt_in)
    if opt_in is True:
        return
    with Consent(opt_in, connect=connect) as consent:
        (found,) = consent.check([(digits, {})])
    if isinstance(found, str):
        raise InvalidInput(
            "phone_number",
            f"{mask(digits)} is not asked for: {found}.",
            hint="Only people who agreed to messages from you may be.",
        )
