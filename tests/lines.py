"""What the lines of Airflow have, for tests that go by it: what a line lacks is skipped by name."""

from __future__ import annotations

from importlib.metadata import version

import pytest

#: Of the Airflow that runs the tests, such as ``(3, 3)``; of a pre-release, that of its release.
AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])

#: Such as ``(2, 1)``.
SQLALCHEMY = tuple(int(part) for part in version("sqlalchemy").split(".")[:2])

#: The driver of PostgreSQL that SQLAlchemy knows in this environment, and Airflow's own.
POSTGRES_DRIVERS = ("psycopg", "psycopg2") if SQLALCHEMY >= (2, 0) else ("psycopg2",)


def since(*line: int, has: str) -> pytest.MarkDecorator:
    """
    Return a mark for tests of what Airflow has since a version.

    :param has: what that is
    """
    name = ".".join(map(str, line))
    return pytest.mark.skipif(line > AIRFLOW, reason=f"Airflow {name} and later have {has}")


def before(*line: int, has: str) -> pytest.MarkDecorator:
    """
    Return a mark for tests of what Airflow lacks before a version.

    :param has: what that is
    """
    name = ".".join(map(str, line))
    return pytest.mark.skipif(line <= AIRFLOW, reason=f"Airflow {name} and later have {has}")


def need_task_state_store() -> None:
    """Skip a test that needs what Airflow's task state store is known by."""
    if AIRFLOW < (3, 3):
        pytest.skip("Airflow 3.3 and later have a task state store")


#: Of tests whose task is tried again: the runner of ``dag.test()`` ends with the first failure before 3.2, and 3.2 has
#: nothing to remember by.
retries = since(3, 3, has="a test runner that tries a task again, and remembers")

#: Of tests that tell of a callback: the runner of ``dag.test()`` calls none in 3.0 and 3.1, and 3.2 tells it no error.
callbacks = pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 3), reason="the test runner of Airflow 3.0 to 3.2 calls no callbacks, or without the error"
)
