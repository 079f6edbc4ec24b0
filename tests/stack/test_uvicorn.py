"""The same promises under a real server, in a process of its own."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.support.hosts_guard import ACME, token
from tests.support.hosts_uvicorn import ask_over_http, run_to_its_end, running_uvicorn
from tests.support.rls_schema import RLSDatabase

pytestmark = pytest.mark.postgres

TARGET = "tests.support.hosts_served:app"
ALICE = token("alice", ACME)


def test_a_superusers_dsn_ends_the_server_with_exit_code_3(
    rls_database: RLSDatabase, unused_tcp_port: int
) -> None:
    """Supervisors and orchestrators act on the code, people on the last lines of the log."""
    url = rls_database.url(dsn=rls_database.database.dsn())

    code, log = run_to_its_end(TARGET, env={"DATABASE_URL": url}, port=unused_tcp_port)

    assert code == 3, log
    assert "asgi_guard will not serve" in log
    assert "superuser" in log
    assert "Application startup failed. Exiting." in log
    assert "Traceback" not in log


def test_an_unreachable_database_ends_the_server_with_exit_code_3(unused_tcp_port: int) -> None:
    """The log names where it looked, and not with which password."""
    url = f"postgresql+asyncpg://app:hunter2@127.0.0.1:{unused_tcp_port}/none"

    code, log = run_to_its_end(TARGET, env={"DATABASE_URL": url}, port=unused_tcp_port)

    assert code == 3, log
    assert "database_unreachable" in log
    assert "hunter2" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_a_sound_deployment_serves(
    rls_database: RLSDatabase, unused_tcp_port: int, lifespan: str
) -> None:
    """Whether or not the server sends a lifespan, the check passes and the app is protected."""
    env = {"DATABASE_URL": rls_database.url()}
    with running_uvicorn(TARGET, "--lifespan", lifespan, env=env, port=unused_tcp_port) as server:
        mine = ask_over_http(server.port, "/whoami", ALICE)
        bug = ask_over_http(server.port, "/boom", ALICE)
        swallowed = ask_over_http(server.port, "/swallow", ALICE)

    assert mine[2].decode() == f"alice in {ACME}"
    assert [bug[0], swallowed[0]] == [500, 500]
    assert json.loads(swallowed[2])["code"] == "RLS_NOT_ENFORCED"
    for _, headers, _ in (mine, bug, swallowed):
        assert headers.keys() >= {"x-request-id", "content-security-policy", "vary"}


def test_a_stream_that_crossed_a_wall_breaks_off(
    rls_database: RLSDatabase, unused_tcp_port: int
) -> None:
    """On the wire the last chunk is missing, which every client takes for a failure."""
    env = {"DATABASE_URL": rls_database.url()}
    with (
        running_uvicorn(TARGET, env=env, port=unused_tcp_port) as server,
        pytest.raises(http.client.IncompleteRead) as broken,
    ):
        ask_over_http(server.port, "/stream", ALICE)

    assert broken.value.partial == b"first"
