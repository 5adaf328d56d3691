"""What holds of contact checks and of erasing on SQLite, on MariaDB."""

from __future__ import annotations

from tests.integration.test_sql_ledger_mariadb import uri  # noqa: F401
from tests.unit.delivery.contact_checks.test_store import (  # noqa: F401
    ask,
    cirrus,
    clock,
    engine,
    test_a_days_budget_is_kept_for_each_stream_and_renews_at_midnight,
    test_a_lost_answer_is_not_asked_for_again,
    test_a_number_is_asked_for_once_within_the_age_of_its_answer,
    test_many_processes_together_ask_for_no_number_twice_and_keep_the_budget,
    test_what_was_certainly_not_asked_may_be_asked_and_gives_its_place_back,
    test_without_tables_and_without_create_the_ddl_is_shown_and_works,
)
from tests.unit.delivery.test_erase import (  # noqa: F401
    test_a_database_without_tables_stays_without,
    test_everything_about_a_person_goes_and_nothing_about_others,
    test_messages_that_do_not_say_whose_they_are_stay_and_are_counted,
)
