"""Two tasks that race for a person under a frequency cap, on PostgreSQL."""

from __future__ import annotations

from tests.integration.test_sql_ledger_postgres import uri  # noqa: F401
from tests.unit.delivery.test_deliver import (  # noqa: F401
    client,
    test_only_what_was_sent_takes_a_place_under_the_cap,
    test_two_tasks_that_want_one_person_send_one_message,
)
