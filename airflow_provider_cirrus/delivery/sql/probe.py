"""Whether the database of a ledger answers, found out without writing to it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.sql.errors import cause_of
from airflow_provider_cirrus.delivery.sql.store import engine_for


def check_database(url: str) -> None:
    """
    Look whether a database answers.

    :param url: as SQLAlchemy takes it
    :raises LedgerError: it does not; or, for a SQLite file that is yet to be made, its folder is not there
    """
    engine = engine_for(url, is_ours=False)
    try:
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file and not Path(file).exists():
            # To connect would make it.
            if not Path(file).parent.is_dir():
                raise _does_not_answer(f"there is no folder {str(Path(file).parent)!r}")
            return
        with engine.connect() as connection:
            connection.execute(sa.select(1))
    except SQLAlchemyError as error:
        raise _does_not_answer(cause_of(error)) from error
    finally:
        engine.dispose()


def _does_not_answer(cause: str) -> LedgerError:
    return LedgerError(
        f"The database of ledger_conn_id does not answer: {cause}.", hint="See that the workers can reach it."
    )
