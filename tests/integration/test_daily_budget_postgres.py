"""All that holds of daily budgets on SQLite, on PostgreSQL."""

from __future__ import annotations

from tests.integration.test_sql_ledger_postgres import uri  # noqa: F401
from tests.unit.delivery.rules.test_daily_budget import (  # noqa: F401
    clock,
    engine,
    test_a_later_try_does_not_give_back_what_an_earlier_one_had,
    test_a_ramp_begins_small_and_grows,
    test_a_retry_costs_nothing,
    test_a_superseded_try_spends_nothing,
    test_of_eight_processes_that_race_none_goes_beyond_the_budget,
    test_the_place_of_what_may_have_been_sent_stays,
    test_there_are_never_more_people_than_the_budget_allows_in_a_day,
    test_what_an_earlier_version_spends_is_counted,
    test_what_is_long_past_goes,
    test_what_was_certainly_not_sent_is_given_back,
    test_who_waits_is_told_when_a_tenth_is_free,
    test_without_tables_and_without_create_the_ddl_is_shown_and_works,
)
