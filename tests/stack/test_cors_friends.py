"""CORS and the cross-site check under one guard: what one grants, the other must not take away."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from asgi_guard import Guard, GuardSettings
from asgi_guard.cors import CORSPolicy

FRIEND = "https://app.example"
FROM_FRIEND = {"origin": FRIEND, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


def _client(policy: CORSPolicy | None) -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.method)

    app = Starlette(routes=[Route("/data", answer, methods=["GET", "POST"])])
    return TestClient(Guard(GuardSettings(cors=policy)).install(app), base_url="https://api.test")


@pytest.mark.parametrize("origins", [[FRIEND], ["*"]])
def test_a_reader_without_credentials_is_served_as_the_cors_policy_says(
    origins: list[str],
) -> None:
    """A public API is read by pages of other origins; a 403 would make the CORS policy a lie."""
    client = _client(CORSPolicy(allow_origins=origins))

    answer = client.get("/data", headers=FROM_FRIEND)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in {FRIEND, "*"}


def test_a_page_may_write_with_a_token_that_it_had_to_attach_itself() -> None:
    """A bearer token is no ambient authority: no other page can make a browser send it."""
    client = _client(CORSPolicy(allow_origins=[FRIEND], allow_headers=["authorization"]))

    answer = client.post("/data", headers=FROM_FRIEND | {"authorization": "Bearer x"})

    assert answer.status_code == 200


def test_the_cookie_of_a_visitor_is_still_no_permission_to_read() -> None:
    """A policy without credentials must not open what a cookie opens."""
    client = _client(CORSPolicy(allow_origins=[FRIEND]))

    answer = client.get("/data", headers=FROM_FRIEND | {"cookie": "session=1"})

    assert answer.status_code == 403


def test_without_a_cors_policy_another_sites_read_is_refused() -> None:
    """The control: it is the policy that opens the door."""
    assert _client(None).get("/data", headers=FROM_FRIEND).status_code == 403
