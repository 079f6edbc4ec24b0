"""The examples are programs that people copy: each must run, and must fail when it should."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.postgres


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_ten_agents_of_ten_users_cross_nothing_and_leave_their_events() -> None:
    """The example is the documented way to run agents; it counts what it really saw."""
    told = _run("examples/agents.py")

    assert told.returncode == 0, told.stderr
    assert "200 tool calls: 0 foreign facts" in told.stdout
    assert "1800 looks at a neighbour's memory: each refused, each an event" in told.stdout


def test_an_agent_that_writes_sql_reads_and_changes_its_own_tenant_only() -> None:
    """It runs a hostile model's statements as they are; the plain binding is its control."""
    told = _run("examples/text_to_sql.py")

    assert told.returncode == 0, told.stdout + told.stderr
    assert "sealed: 19 statements of a hostile model, 0 crossed" in told.stdout
    assert "plain binding, for comparison: 0 crossed" not in told.stdout


def test_the_tour_of_the_demo_holds_and_exits_with_success() -> None:
    """`make demo ONCE=1` is the proof a newcomer runs first."""
    told = _run("-m", "asgi_guard.cli", "demo", "--once")

    assert told.returncode == 0, told.stdout + told.stderr
    assert "15 of 15 held." in told.stdout


def test_the_tour_notices_a_leak() -> None:
    """A tour that cannot fail proves nothing: without policies, foreign rows must be reported."""
    told = _run("tests/examples/broken_demo.py")

    assert told.returncode == 1, told.stdout + told.stderr
    assert "A LEAK" in told.stdout


def test_a_taken_port_is_one_line_that_says_what_to_do() -> None:
    """The first error that many newcomers meet must not be a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = _run("-m", "asgi_guard.cli", "demo", "--port", str(taken.getsockname()[1]))

    assert told.returncode == 2
    assert "config_invalid demo.port" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_demo_leaves_no_postgres_behind(number: signal.Signals) -> None:
    """Ctrl-C, a polite stop and kill -9 of the demo all end its server."""
    with subprocess.Popen(
        [sys.executable, "-m", "asgi_guard.cli", "demo", "--port", str(_free_port())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as demo:
        assert demo.stdout is not None
        assert any("Open http" in line for line in demo.stdout)  # reads on until it serves
        started = psutil.Process(demo.pid).children(recursive=True)
        assert any(process.name() == "postgres" for process in started)

        demo.send_signal(number)
        demo.wait(timeout=30)

    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
