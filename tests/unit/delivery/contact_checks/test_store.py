from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.errors import NoAnswer, Throttled
from airflow_provider_cirrus.delivery.contact_checks import store as check_store
from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore, ddl
from airflow_provider_cirrus.delivery.errors import ContactCheckRefused, LedgerError
from airflow_provider_cirrus.delivery.sql.store import engine_for

STREAM, OTHER_STREAM = "hNyRN_fLUy7rrOrN9jLpipA%3d%3d", "hAbCdEfGhIjKlMnOpQrStUv%3d%3d"
ANN, BEN, CLEO = "447700900101", "447700900102", "447700900103"
DAY = 86_400


class Clock:
    # Noon, UTC.
    now = 1_700_006_400.0 - 1_700_006_400.0 % DAY + DAY / 2

    def __call__(self) -> float:
        return self.now


class Cirrus:
    """Answers, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[bool | Exception | None] = []

    def __call__(self) -> bool | None:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cirrus() -> Cirrus:
    return Cirrus()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/checks.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


@pytest.fixture
def ask(engine: Engine, clock: Clock, cirrus: Cirrus) -> Callable[..., bool]:
    """Asks as a task of some run does."""

    def ask_it(digits: str, run: str = "run1", **rest: Any) -> bool:
        store = CheckStore(engine, clock=clock)
        stream, question = rest.pop("stream", STREAM), rest.pop("ask", cirrus)
        return store.once(stream, digits, question, owner=f"dag/{run}/task/-1", **rest)

    return ask_it


def test_a_number_is_asked_for_once_within_the_age_of_its_answer(
    ask: Callable[..., bool], cirrus: Cirrus, clock: Clock
) -> None:
    cirrus.answers = [False]
    assert [ask(ANN, f"run{number}", max_age=30 * DAY) for number in range(3)] == [False] * 3
    clock.now += 30 * DAY - 1
    assert ask(ANN, max_age=30 * DAY) is False
    assert cirrus.asked == 1
    clock.now += 1
    assert ask(ANN, max_age=30 * DAY) is True
    assert cirrus.asked == 2


def test_both_spellings_are_one_number_and_every_stream_is_asked_itself(
    ask: Callable[..., bool], cirrus: Cirrus, engine: Engine
) -> None:
    ask("5215512345678")
    ask("525512345678", stream=STREAM.replace("%3d", "="))
    assert cirrus.asked == 1
    assert CheckStore(engine).answer(OTHER_STREAM, "525512345678") is None
    ask("525512345678", stream=OTHER_STREAM)
    assert cirrus.asked == 2


def test_a_days_budget_is_kept_for_each_stream_and_renews_at_midnight(
    ask: Callable[..., bool], cirrus: Cirrus, clock: Clock, engine: Engine
) -> None:
    ask(ANN, budget=2)
    ask(BEN, budget=2)
    with pytest.raises(
        ContactCheckRefused, match=r"its 2 a day are used up\. .*T00:00:00Z on\..*validations_per_day"
    ) as caught:
        ask(CLEO, budget=2)
    assert caught.value.not_sent
    assert ask(ANN, budget=2), "what is known costs nothing"
    assert ask(CLEO, budget=2, stream=OTHER_STREAM)
    assert CheckStore(engine, clock=clock).left(STREAM, 2) == 0
    clock.now += DAY / 2
    assert CheckStore(engine, clock=clock).left(STREAM, 2) == 2
    assert ask(CLEO, budget=2)
    assert cirrus.asked == 4
    with pytest.raises(ContactCheckRefused, match="its 0 a day"):
        ask("447700900104", budget=0)


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_was_wrong_does_not_use_up_the_budget_of_years(
    ask: Callable[..., bool], clock: Clock, years: int
) -> None:
    clock.now += years * 366 * DAY
    ask(ANN, budget=1)
    clock.now -= years * 366 * DAY
    assert ask(BEN, budget=1)
    with pytest.raises(ContactCheckRefused):
        ask(CLEO, budget=1)


def test_a_lost_answer_is_not_asked_for_again(ask: Callable[..., bool], cirrus: Cirrus, clock: Clock) -> None:
    cirrus.answers = [NoAnswer("read time-out")]
    with pytest.raises(NoAnswer):
        ask(ANN)
    for run in ("run1", "another run"):
        with pytest.raises(
            ContactCheckRefused, match=r"\+44\*{6}0101 was asked for at .*, and the answer is lost.* before"
        ):
            ask(ANN, run)
    assert cirrus.asked == 1
    clock.now += 30 * DAY
    assert ask(ANN)


def test_who_was_killed_while_asking_is_not_waited_for_for_ever(
    ask: Callable[..., bool], cirrus: Cirrus, clock: Clock
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(ANN, "run1", ask=_killed)
    with pytest.raises(ContactCheckRefused, match="the answer is lost"):
        ask(ANN, "run1")
    clock.now += 61
    with pytest.raises(ContactCheckRefused, match="the answer is lost"):
        ask(ANN, "another run")
    assert cirrus.asked == 0


def _killed() -> bool:
    raise KeyboardInterrupt


def test_what_was_certainly_not_asked_may_be_asked_and_gives_its_place_back(
    ask: Callable[..., bool], cirrus: Cirrus
) -> None:
    cirrus.answers = [Throttled("too fast")]
    with pytest.raises(Throttled):
        ask(ANN, budget=1)
    assert ask(BEN, "run2", budget=1)


def test_an_answer_that_decides_nothing_is_an_error_and_counts_as_asked(
    ask: Callable[..., bool], cirrus: Cirrus
) -> None:
    cirrus.answers = [None]
    for problem in ("did not decide", "the answer is lost"):
        with pytest.raises(ContactCheckRefused, match=problem):
            ask(ANN)
    assert cirrus.asked == 1


def test_one_that_wants_a_number_that_is_being_asked_for_waits_for_the_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_store, "_PAUSE", 0.01)
    asking, may_answer = Event(), Event()

    def slowly() -> bool:
        asking.set()
        assert may_answer.wait(30)
        return False

    def second() -> bool:
        assert asking.wait(30)
        may_answer.set()
        return CheckStore(engine).once(STREAM, ANN, lambda: pytest.fail("asked twice"), owner="2")

    with ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(CheckStore(engine).once, STREAM, ANN, slowly, owner="1"),
            pool.submit(second),
        ]
        assert [answer.result(60) for answer in answers] == [False, False]


PROGRAM = """
import sys
from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore
from airflow_provider_cirrus.delivery.errors import ContactCheckRefused
from airflow_provider_cirrus.delivery.sql.store import engine_for
engine = engine_for(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store = CheckStore(engine)
asked = []
for number in range(40):
    try:
        store.once("hNyRN_fLUy7rrOrN9jLpipA==", f"4477009001{number:02d}", lambda: asked.append(number) or True,
                   owner=sys.argv[2], budget=25)
    except ContactCheckRefused:
        pass
print(*asked)
"""


def test_many_processes_together_ask_for_no_number_twice_and_keep_the_budget(uri: str) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM, uri, f"task{task}"], **pipes) for task in range(3)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 3
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    asked = [number for process in running for number in process.communicate(timeout=60)[0].split()]
    assert len(asked) == len(set(asked)) == 25


def test_what_is_purged_may_be_asked_for_again(ask: Callable[..., bool], engine: Engine, clock: Clock) -> None:
    ask(ANN)
    clock.now += 60
    ask(BEN)
    store = CheckStore(engine, clock=clock)
    assert store.purge(clock.now) == 1
    assert (store.answer(STREAM, ANN), store.answer(STREAM, BEN)) == (None, True)


def test_a_database_that_fails_lets_nobody_be_asked_for(
    ask: Callable[..., bool], engine: Engine, cirrus: Cirrus
) -> None:
    store = CheckStore(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE cirrus_check_days"))
    with pytest.raises(LedgerError, match="nobody is asked for"):
        store.once(STREAM, ANN, cirrus, owner="o")
    assert cirrus.asked == 0


def test_no_number_can_be_read(ask: Callable[..., bool], tmp_path: Path) -> None:
    ask("447700900123")
    assert all(b"900123" not in path.read_bytes() for path in tmp_path.iterdir())


def test_without_tables_and_without_create_the_ddl_is_shown_and_works(engine: Engine, cirrus: Cirrus) -> None:
    with pytest.raises(LedgerError, match="CREATE TABLE cirrus_checks"):
        CheckStore(engine, create=False)
    with engine.begin() as connection:
        for statement in filter(str.strip, ddl(engine.dialect.name).split(";")):
            connection.execute(sa.text(statement))
    assert CheckStore(engine, create=False).once(STREAM, ANN, cirrus, owner="o")
