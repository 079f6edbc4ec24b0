"""The health endpoint: what a load balancer believes, and what it must not tell strangers."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.testclient import TestClient

from asgi_guard import Guard, GuardSettings, __version__
from asgi_guard.errors import NotReadyError
from asgi_guard.observability.health import HealthEndpoint


async def _not_ready() -> None:
    raise NotReadyError("rls_not_real", "table notes has no policy: ALTER TABLE ...")


def _client(endpoint: HealthEndpoint) -> TestClient:
    app = Starlette()
    app.add_route("/health", endpoint)
    return TestClient(Guard(GuardSettings()).install(app), base_url="https://api.test")


def test_a_sound_process_says_so_with_the_packages_version() -> None:
    """One source of the version: what runs is what the endpoint says."""
    answer = _client(HealthEndpoint()).get("/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "pass", "version": __version__}
    assert answer.headers["cache-control"] == "no-store"


def test_a_process_that_does_not_hold_is_taken_out_and_names_nothing() -> None:
    """A finding names tables and SQL: it belongs in the log, not in an open answer."""
    answer = _client(HealthEndpoint(_not_ready)).get("/health")

    assert answer.status_code == 503
    assert answer.json() == {"status": "fail", "version": __version__}


def test_head_is_answered_without_a_body_and_other_methods_are_not_served() -> None:
    """Probes use HEAD; a body after it would break the connection (RFC 9110 section 9.3.2)."""
    client = _client(HealthEndpoint())

    assert client.head("/health").content == b""
    refused = client.post("/health")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"


def test_the_guards_own_check_fits() -> None:
    """Without a database there is nothing that could fail."""
    guard = Guard(GuardSettings())
    app = Starlette()
    app.add_route("/health", HealthEndpoint(guard.check))

    with TestClient(guard.install(app), base_url="https://api.test") as client:
        assert client.get("/health").status_code == 200
