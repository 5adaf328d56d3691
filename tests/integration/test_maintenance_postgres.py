"""What holds of looking after the tables on SQLite, on PostgreSQL."""

from __future__ import annotations

from tests.integration.test_sql_ledger_postgres import uri  # noqa: F401
from tests.unit.delivery.test_maintenance import (  # noqa: F401
    engine,
    test_a_database_without_a_ledger_has_none,
    test_a_task_of_which_something_is_gone_messages_nobody_again,
    test_nor_does_a_mapped_task_whatever_its_place_is_by_now,
    test_other_tasks_and_runs_go_on,
    test_the_tables_are_told_of,
    test_what_is_old_goes_and_what_has_a_key_stays,
)
