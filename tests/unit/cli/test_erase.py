from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from airflow_provider_cirrus.cli.__main__ import main
from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore
from airflow_provider_cirrus.delivery.sql.store import engine_for

NUMBER, STREAM = "447700900177", "hNyRN_fLUy7rrOrN9jLpipA=="


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckStore:
    """A database, behind a connection, in which something is known of a number."""
    uri = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", uri)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    made = CheckStore(engine_for(uri))
    made.once(STREAM, NUMBER, lambda: True, owner="o")
    return made


@pytest.mark.parametrize("number", ["+44 7700 900177", "-"])
def test_a_person_is_forgotten(
    store: CheckStore, number: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("+44 7700 900177\n"))
    assert main(["erase", "--ledger-conn-id", "cirrus_ledger", "--number", number]) == 0
    assert json.loads(capsys.readouterr().out)["checks"] == 1
    assert store.answer(STREAM, NUMBER) is None


@pytest.mark.parametrize(
    ("conn_id", "number", "said"),
    [
        pytest.param("cirrus_ledger", "07700 900177", "has no country code", id="number"),
        pytest.param("nowhere_to_be_found", NUMBER, "nowhere_to_be_found", id="connection"),
    ],
)
def test_what_cannot_be_done_is_told(
    store: CheckStore, conn_id: str, number: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase", "--ledger-conn-id", conn_id, "--number", number]) == 1
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)
    assert "900177" not in err
    assert store.answer(STREAM, NUMBER) is True
