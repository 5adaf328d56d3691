"""Every promise in every world: see docs/delivery.md, "How this is tried"."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.simulation.choices import Choices, shrink
from tests.simulation.codecs import IdealCodec, ShardsCodec, SqlAloneCodec, SqlCodec, TaskStateCodec, new_memory_engine
from tests.simulation.runner import Found, explore, failure, run
from tests.simulation.world import FAULTS, Codec
from tests.simulation.zoo import FIRST, ZOO

# Faults that only some kinds of ledger meet, so that the others have another history from there on.
UNLIKE = [fault for fault in FAULTS if fault.startswith("store_") or fault.endswith("_write")]
UNLIKE += ["cleared_and_emptied", "stall", "orphan"]
ONLY_SQL = {"refused_for_a_time"}
ONLY_STATE = {"store_late", "store_twice", "untranslated", "refused_whole"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the engine warns of is what worlds are made of."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(5))
def test_every_promise_is_kept_with_the_task_state_store(part: int) -> None:
    report = explore(TaskStateCodec, range(2000 * part, 2000 * (part + 1)))
    assert report.worlds == 2000
    assert {fault for fault in FAULTS if not report.struck[fault]} == ONLY_SQL, "what never strikes tries nothing"
    assert report.accepted > 5000
    assert report.struck["tripped"] > 20
    assert report.refusals > 50


@pytest.mark.parametrize("part", range(2))
def test_every_promise_is_kept_with_a_database_that_tasks_share(part: int) -> None:
    report = explore(SqlCodec, range(500 * part, 500 * (part + 1)))
    assert {fault for fault in FAULTS if not report.struck[fault]} <= ONLY_STATE | {"cleared_and_emptied"}
    assert report.refusals == 0, "a database remembers, whatever is cleared"
    assert report.struck["daily_budget"] > 20
    assert report.struck["tried_later"] > 3, "what was refused for a time is tried again by the next task"


def test_every_promise_is_kept_by_shards_that_become_more_or_fewer() -> None:
    report = explore(ShardsCodec, range(1500))
    assert report.struck["cleared"] > 50
    assert report.refusals > 50


@pytest.mark.parametrize("make", [IdealCodec, SqlAloneCodec])
def test_every_promise_is_kept_by_one_task(make: Callable[[], Codec]) -> None:
    assert explore(make, range(700)).worlds == 700


def test_every_promise_is_kept_on_postgresql(postgres: str) -> None:
    engine = engine_for(postgres)
    assert explore(lambda: SqlCodec(engine), range(80)).worlds == 80
    engine.dispose()


def test_every_promise_is_kept_on_mariadb(mariadb: str) -> None:
    with sa.create_engine(mariadb).begin() as connection:
        connection.execute(sa.text("CREATE DATABASE IF NOT EXISTS worlds"))
    engine = engine_for(f"{mariadb}/worlds")
    assert explore(lambda: SqlCodec(engine), range(80)).worlds == 80
    engine.dispose()


def test_all_kinds_of_ledger_agree() -> None:
    def history(make: Callable[[], Codec], seed: int) -> Sequence[str]:
        world = run(make, Choices(seed), keep_log=True, without=UNLIKE)
        assert world.history
        return world.history

    for seed in range(250):
        right = history(IdealCodec, seed)
        for make in (TaskStateCodec, SqlAloneCodec):
            assert history(make, seed) == right, f"seed {seed} with {make.__name__}"


@pytest.mark.parametrize(
    "make", [TaskStateCodec, pytest.param(lambda: SqlCodec(new_memory_engine(), "world"), id="SqlCodec")]
)
def test_the_same_seed_gives_the_same_history(make: Callable[[], Codec]) -> None:
    for seed in range(30):
        first, second = (run(make, Choices(seed), keep_log=True) for _ in range(2))
        assert first.history == second.history
        assert first.choices.made == second.choices.made
        assert run(make, Choices(replay=first.choices.made), keep_log=True).history == first.history


@pytest.mark.parametrize("bug", sorted(ZOO))
def test_a_planted_bug_is_found(bug: str) -> None:
    make, plant = ZOO[bug]
    with plant(), pytest.raises(Found):
        explore(make, range(FIRST[bug], FIRST[bug] + 1000), shrinking=0)


def test_a_failing_world_is_shown_with_its_seed_and_a_short_history() -> None:
    make, plant = ZOO["duplicates_are_sent"]
    with plant(), pytest.raises(Found) as caught:
        explore(make, range(100))
    found = caught.value
    assert f"world {found.seed} failed" in str(found)
    assert "cirrus accepts" in str(found)
    made = run(make, Choices(found.seed)).choices.made
    assert len(found.history) < len(made) / 2
    with plant():
        again = failure(make, found.history)
    assert again is not None
    assert str(again[0]) == str(found.error)


def test_shrinking_finds_the_shortest_that_fails() -> None:
    assert shrink([5, 0, 9, 3, 7, 0, 0], lambda history: 7 in history) == [7]
    assert shrink([4, 4, 4], lambda history: sum(history) >= 4) == [4]


# The shortest histories of worlds that once failed.
# fmt: off
KEPT = {
    # A write was tried again while it was being tried again.
    "two-writes": [

        4,
        2,
        1,
        2,
        1,
        0,
        0,
        0,
        0,
        0,
        1,
        2,
        2,
        2,
        1,
        1,
        0,
        0,
        0,
        0,
        2,
        2,
        2,
        0,
        1,
        2,
        0,
        0,
        2,
        1,
        0,
        0,
        0,
        1,
    ],
    # The clock was asked for again at once, for ever, while the first request hung.
    "busy-clock": [

        4,
        1,
        1,
        0,
        1,
        1,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        0,
        0,
        1,
        1,
        1,
        1,
        1,
        0,
        0,
        1,
        0,
        0,
        2,
        2,
        1,
    ],
}


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_world_that_once_failed_does_so_no_more(name: str) -> None:
    assert failure(IdealCodec, KEPT[name]) is None
