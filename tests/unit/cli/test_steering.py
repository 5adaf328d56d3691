"""``airflow cirrus pause|resume|rate|stop`` for a ledger in a database; Airflow's own store is in tests/system."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from airflow_provider_cirrus.cli.__main__ import main
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.delivery.steering.sql import SqlSteering

OF = ["shop", "r", "send"]


@pytest.fixture
def steering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlSteering:
    uri = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", uri)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    return SqlSteering(engine_for(uri), "shop/r/send")


def test_what_is_said_is_what_a_send_reads(steering: SqlSteering, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = ["--ledger-conn-id", "cirrus_ledger"]
    for command, state, rate in (
        (["rate", *OF, "12.5"], "running", 12.5),
        (["pause", *OF], "paused", 12.5),
        (["resume", *OF], "running", 12.5),
        (["rate", *OF, "-"], "running", None),
        (["stop", *OF], "stopped", None),
    ):
        assert main([*command, *ledger]) == 0
        wish = steering.read()
        assert wish is not None
        assert (wish.state, wish.messages_per_second, wish.by) == (state, rate, getpass.getuser())
        assert json.loads(capsys.readouterr().out) == wish.to_value()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["rate", *OF, "fast"], "'fast' is no number", id="words"),
        pytest.param(["rate", *OF, "0"], "no number above 0", id="zero"),
        pytest.param(["rate", *OF, "nan"], "no number above 0", id="nan"),
        pytest.param(["pause", *OF, "--ledger-conn-id", "nowhere_to_be_found"], "nowhere_to_be_found", id="connection"),
    ],
)
def test_what_cannot_be_is_told(
    steering: SqlSteering, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--ledger-conn-id" in arguments else [*arguments, "--ledger-conn-id", "cirrus_ledger"]
    assert main(given) == 1
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)
    assert steering.read() is None
