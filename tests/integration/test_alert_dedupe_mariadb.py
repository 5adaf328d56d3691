"""What holds of the notices on SQLite, on MariaDB."""

from __future__ import annotations

from tests.integration.test_sql_ledger_mariadb import uri  # noqa: F401
from tests.unit.delivery.test_alert_dedupe import (  # noqa: F401
    clock,
    opened,
    test_a_claim_holds_for_its_window_and_for_its_key,
    test_a_clock_that_was_wrong_does_not_hold_for_years,
    test_of_many_processes_one_gets_it,
    test_of_many_threads_one_gets_it,
    test_what_was_given_back_may_be_claimed_again,
)
