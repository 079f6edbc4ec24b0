"""Two processes that share sessions at a real server, and one that is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy.pool import NullPool

from asgi_guard.integrations.sql_store import create_state_table
from tests.support.store_kinds import TABLE, engine_for

SHARED = [
    pytest.param("asyncpg", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
]


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest) -> list[str]:
    """Give the kind and address of a store that processes share."""
    if request.param == "redis":
        return ["redis", str(request.getfixturevalue("redis_server").url)]
    dsn = str(request.getfixturevalue("postgres_database").dsn())
    asyncio.run(create_state_table(engine_for("asyncpg", dsn, poolclass=NullPool), TABLE))
    return ["asyncpg", dsn]


def told(what: str, shared: list[str], rounds: int) -> Any:
    command = [sys.executable, "-m", "tests.support.session_process", what, *shared, str(rounds)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_two_processes_agree_on_every_session(shared: list[str]) -> None:
    """A load balancer sends the next request to the other worker; what one ended is ended there."""
    rounds = 4
    found = told("race", shared, rounds)

    assert len(found["renewals"]) == rounds
    for (won_here, old_here, new_here), (won_there, old_there, new_there) in found["renewals"]:
        assert [won_here, won_there].count(True) == 1, "one wins"
        assert [old_here, old_there] == [False, False]
        assert [new_here, new_there] == [won_here, won_there]
    assert [alive for _, alive in found["logout"]] == [[False, False]] * rounds
    assert found["logout_everywhere"] == [[False, False]] * rounds


def test_a_process_that_is_killed_during_a_call_leaves_sessions_that_work(
    shared: list[str],
) -> None:
    """Out of memory, a pulled plug: no lock stays, and a logout still ends everything."""
    ends = told("kill", shared, 30)

    assert [end["died"] for end in ends] == [True] * (len(ends) - 1) + [False]
    assert len(ends) > 4, "calls were cut off"
    for end in ends:
        assert end["listed"] <= 1, "never two of one"
        assert (end["works"], end["left"]) == (True, 0)
