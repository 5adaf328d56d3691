from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from airflow_provider_cirrus.cli.__main__ import parser
from airflow_provider_cirrus.cli.definition import COMMANDS
from airflow_provider_cirrus.sandbox import __main__ as sandbox
from tests.lines import since

REQUIRED = ["--template", "t", "--language", "en", "--to", "447700900123"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["sandbox", "--port", "0", "--api-version", "v2"], id="sandbox"),
        pytest.param(["send", *REQUIRED, "--body", "a", "--body=-1", "--yes"], id="send"),
    ],
)
@since(3, 2, has="commands of providers")
def test_airflow_takes_what_our_own_command_takes(arguments: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    ours = vars(parser().parse_args(arguments))
    airflows = vars(get_parser().parse_args(["cirrus", *arguments]))
    del ours["run"]
    assert {name: airflows[name] for name in ours} == ours


def test_the_sandbox_has_one_list_of_options() -> None:
    made = argparse.ArgumentParser()
    COMMANDS[0].add_options(made)
    assert vars(made.parse_args([])) == vars(sandbox.parser().parse_args([]))


def test_airflow_loads_nothing_heavy_to_know_the_commands() -> None:
    program = (
        "import sys, json, airflow.cli.cli_config\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_cirrus.cli.definition import get_cirrus_cli_commands\n"
        "get_cirrus_cli_commands()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    added = json.loads(done.stdout.splitlines()[-1])
    assert {name.partition(".")[0] for name in added} == {"airflow_provider_cirrus"}
    assert len(added) <= 8, added


@pytest.mark.parametrize(
    "arguments", [pytest.param([], id="no-command"), pytest.param(["send", *REQUIRED[:4]], id="nobody")]
)
def test_an_incomplete_call_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    assert ended.value.code == 2
    assert "required" in capsys.readouterr().err
