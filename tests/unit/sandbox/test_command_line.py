from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cirrus.sandbox.suffixes import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "airflow_provider_cirrus.sandbox"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--token", "a&b", "--stream", "hA%2fb%3d%3d"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_well(started, number):
    lines = []
    for line in started.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    text = "".join(lines)
    base = re.search(r"http://127\.0\.0\.1:\d+", text)[0]
    uri = f"cirrus://:a%26b@{base.removeprefix('http://')}/http?stream_id=hA%2Fb%3D%3D"
    assert f"export AIRFLOW_CONN_CIRRUS_DEFAULT='{uri}'\n" in text
    assert f"{base}/inbox.json" in text
    assert httpx.get(f"{base}/inbox.json").json()["counts"]["requests"] == 0
    headers = {"Authorization": "Bearer a&b"}
    assert httpx.get(f"{base}/streams/hA%2Fb%3D%3D/streamavailability", headers=headers).status_code == 200
    started.send_signal(number)
    _, complaints = started.communicate(timeout=10)
    assert started.returncode == 0
    assert complaints == ""


def test_port_in_use(sandbox):
    done = run("--port", str(sandbox.port))
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--port", "70000"], id="no-such-port"),
        pytest.param(["--host", "256.0.0.1", "--port", "0"], id="no-such-host"),
    ],
)
def test_unusable_address(arguments):
    done = run(*arguments)
    assert done.returncode == 1
    assert "Cannot serve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--keep", "0"], ["--api-version", "v3"], ["--token", ""]])
def test_wrong_call(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_help_explains_the_endings():
    text = run("--help").stdout
    for ending in SUFFIXES:
        assert f"…{ending}" in text


def test_other_addresses_are_warned_about(sandbox):
    done = run("--host", "0.0.0.0", "--port", str(sandbox.port))
    assert "Warning" in done.stderr


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "python_multipart"])
def test_missing_package_is_named_with_the_extra(package):
    code = (
        f"import runpy, sys; sys.modules[{package!r}] = None\n"
        "sys.argv = ['sandbox', '--port', '0']\n"
        "runpy.run_module('airflow_provider_cirrus.sandbox', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "install airflow-provider-cirrus[sandbox]" in done.stderr
    assert "Traceback" not in done.stderr
