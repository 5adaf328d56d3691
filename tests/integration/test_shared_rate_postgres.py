"""All that holds of a shared rate on SQLite, on PostgreSQL."""

from __future__ import annotations

from tests.integration.test_sql_ledger_postgres import uri  # noqa: F401
from tests.unit.delivery.shared_rate.test_sql import (  # noqa: F401
    engine,
    test_a_429_is_everybodys,
    test_a_dead_tasks_part_is_free_two_seconds_after_it_asked,
    test_a_second_task_gets_its_half_once_the_first_has_left_it,
    test_one_alone_has_all_of_it_and_no_more_than_it_wants,
    test_processes_together_keep_the_rate,
    test_what_is_given_back_is_free_a_second_later,
    test_what_is_long_dead_goes,
    test_whatever_is_valid_at_the_same_time_is_never_more_than_the_rate,
    test_without_tables_and_without_create_the_ddl_is_shown_and_works,
)
