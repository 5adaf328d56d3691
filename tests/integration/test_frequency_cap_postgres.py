"""All that holds of frequency caps on SQLite, on PostgreSQL."""

from __future__ import annotations

from tests.integration.test_sql_ledger_postgres import uri  # noqa: F401
from tests.unit.delivery.rules.test_claims import (  # noqa: F401
    test_a_commit_that_fails_takes_nothing,
    test_a_message_that_somebody_else_holds_takes_no_place,
    test_tasks_that_want_the_same_people_and_messages_at_once,
    test_what_is_sent_again_at_once_keeps_its_place,
    test_what_the_budget_has_no_room_for_gives_its_place_under_the_cap_back,
    test_whoever_is_over_the_cap_is_not_recorded_as_about_to_be_sent,
)
from tests.unit.delivery.rules.test_frequency_cap import (  # noqa: F401
    clock,
    engine,
    test_a_category_counts_its_own_and_no_category_counts_all,
    test_a_database_that_fails_lets_nothing_pass,
    test_a_later_try_does_not_give_back_the_slot_of_an_earlier_one,
    test_a_message_key_is_one_message_in_all_runs,
    test_a_retry_keeps_its_place_and_takes_no_second_one,
    test_a_superseded_try_neither_takes_a_place_nor_gives_one_back,
    test_mapped_tasks_with_the_same_message_take_one_place_and_give_back_their_own,
    test_nobody_gets_more_than_the_cap_within_its_window,
    test_of_many_processes_that_want_the_same_people_one_sends_to_each,
    test_of_many_threads_that_race_for_a_person_as_many_win_as_the_cap_has_slots,
    test_old_slots_and_their_persons_go_while_new_ones_are_taken,
    test_purging_beside_claims_loses_none,
    test_the_place_of_what_an_earlier_try_may_have_sent_stays_taken,
    test_the_slots_of_an_earlier_version_are_this_tasks,
    test_threads_may_share_a_store,
    test_what_was_not_sent_is_given_back,
    test_without_tables_and_without_create_the_ddl_is_shown_and_works,
)
