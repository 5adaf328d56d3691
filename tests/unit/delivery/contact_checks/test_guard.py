from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.contact_checks.guard import require_opt_in
from airflow_provider_cirrus.delivery.sql.store import engine_for

ANN, BEN = "447700900101", "447700900102"


@pytest.mark.parametrize("opt_in", [True, lambda digits: digits == ANN, ["+44 7700 900101"], {BEN, ANN}])
def test_who_agreed_may_be_asked_for(opt_in: Any) -> None:
    require_opt_in(opt_in, ANN)


def test_a_file_and_a_query_may_hold_who_agreed(tmp_path: Path) -> None:
    (tmp_path / "agreed.csv").write_text(f"phone\n{ANN}\n")
    require_opt_in(str(tmp_path / "agreed.csv"), ANN)
    made = engine_for(f"sqlite:///{tmp_path}/crm.db")
    with made.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE consents AS SELECT '{ANN}' AS phone"))
    made.dispose()
    query = {"sql": "SELECT phone FROM consents", "conn_id": "crm"}
    require_opt_in(query, ANN, lambda conn_id: engine_for(f"sqlite:///{tmp_path}/{conn_id}.db"))
    with pytest.raises(InvalidInput, match="no opt-in on record"):
        require_opt_in(query, BEN, lambda conn_id: engine_for(f"sqlite:///{tmp_path}/{conn_id}.db"))


@pytest.mark.parametrize(
    ("opt_in", "problem"),
    [
        pytest.param(None, "opt_in: is missing.*the business banned.*opt_in=True", id="nothing"),
        pytest.param(False, "opt_in: is missing", id="false"),
        pytest.param(5, "opt_in: is of type int", id="type"),
        pytest.param(
            lambda digits: None, r"\+44\*{6}0101 is not asked for: opt_in: no opt-in on record", id="function"
        ),
        pytest.param([BEN], "no opt-in on record", id="list"),
        pytest.param({"column": "agreed"}, "goes by column or category", id="column"),
        pytest.param({"marketing": [ANN]}, "goes by column or category", id="category"),
        pytest.param({"sql": "SELECT phone FROM consents", "conn_id": "crm"}, "is SQL, which", id="sql-without-a-way"),
    ],
)
def test_nobody_else_is_asked_for(opt_in: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        require_opt_in(opt_in, ANN)
