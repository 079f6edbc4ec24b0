"""RFC 8628, OAuth 2.0 Device Authorization Grant: how often is asked, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard.cli.login_device import device_login
from asgi_guard.cli.login_server import Tokens, discover
from asgi_guard.errors import AuthenticationError
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.headers_clock import MovedClock
from tests.support.login_server import DEVICE_GRANT, Provider, running_provider

FETCH = HTTPXFetch(allow_addresses=["127.0.0.0/8"], insecure_allow_http=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(server: Provider) -> Provider:
    server.__init__(int(server.issuer.rpartition(":")[2]))  # type: ignore[misc] # as new
    return server


class Person:
    """Sees the prompt; waits by moving the clock."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.shown: list[tuple[str, str]] = []
        self.waits: list[float] = []

    def prompt(self, address: str, code: str) -> None:
        self.shown.append((address, code))

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.move(seconds)

    async def login(self, provider: Provider) -> Tokens:
        server = await discover(provider.issuer, fetch=FETCH, allow_http=True)
        return await device_login(
            server,
            client_id="cli",
            scope="notes:read",
            prompt=self.prompt,
            allow_http=True,
            wait=self.wait,
            clock=self.clock,
        )


async def test_section_3_3_and_3_4_a_person_logs_in_elsewhere(provider: Provider) -> None:
    """The address and the code are shown; the device code is not."""
    person = Person()
    provider.device = ["authorization_pending"] * 2
    tokens = await person.login(provider)

    assert tokens.access_token.startswith("access-")
    assert person.shown == [(f"{provider.issuer}/activate", "WDJB-MJHT")]
    assert person.waits == [5, 5, 5]
    assert provider.asked[0] == ("device", {"client_id": "cli", "scope": "notes:read"})
    assert provider.asked[1][1] == {
        "grant_type": DEVICE_GRANT,
        "device_code": "device-code",
        "client_id": "cli",
    }


async def test_section_3_5_slow_down_adds_five_seconds_for_good(provider: Provider) -> None:
    """A program that does not is a denial of service in every terminal."""
    person = Person()
    provider.device = ["slow_down", "authorization_pending", "slow_down"]
    await person.login(provider)

    assert person.waits == [5, 10, 10, 15]


@pytest.mark.parametrize("interval", [None, 1, 7.5])
async def test_section_3_2_the_interval_is_five_seconds_unless_said(
    provider: Provider, interval: float | None
) -> None:
    """The server says how often."""
    person = Person()
    provider.device_answer = {"interval": interval}
    await person.login(provider)

    assert person.waits == [interval or 5]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_client"])
async def test_section_3_5_a_refusal_ends_it(provider: Provider, error: str) -> None:
    """At once, by its name."""
    person = Person()
    provider.device = ["authorization_pending", error]
    with pytest.raises(AuthenticationError) as refused:
        await person.login(provider)

    assert refused.value.reason == f"login_{error}"
    assert len(person.waits) == 2


async def test_section_3_5_asking_ends_with_the_code(provider: Provider) -> None:
    """A server that says pending for ever is not asked for ever."""
    person = Person()
    provider.device = ["authorization_pending"] * 100
    provider.device_answer = {"expires_in": 60}
    with pytest.raises(AuthenticationError) as refused:
        await person.login(provider)

    assert refused.value.reason == "login_expired_token"
    assert sum(person.waits) < 60


async def test_section_3_5_a_server_that_does_not_answer_is_asked_half_as_often(
    provider: Provider,
) -> None:
    """Exponential back-off."""
    person = Person()
    provider.hostile = "busy"
    provider.device_answer = {"expires_in": 200}
    with pytest.raises(AuthenticationError):
        await person.login(provider)

    assert person.waits == [5, 10, 20, 40, 80]


@pytest.mark.parametrize(
    "answer",
    [
        {"user_code": "\x1b[2Jevil"},
        {"user_code": "x" * 65},
        {"user_code": None},
        {"user_code": "\u202eevil"},
        {"verification_uri": "http://evil.example/"},
        {"verification_uri": "https://a.example/\x1b]8;;"},
        {"verification_uri": None},
        {"device_code": 7},
        {"expires_in": None},
        {"device_code": ""},
        {"device_code": "x" * 5000},
        {"expires_in": -1},
        {"expires_in": 10**400},
        {"interval": "5"},
        {"interval": 0},
    ],
    ids=str.split(
        "escape long none bidi plain-http escape-uri no-uri number endless empty "
        "long-code minus huge text zero"
    ),
)
async def test_section_5_nothing_reaches_the_terminal_that_could_steer_it(
    provider: Provider, answer: dict[str, Any]
) -> None:
    """Nor is a person sent to an address that others may answer."""
    person = Person()
    provider.device_answer = answer
    with pytest.raises(AuthenticationError) as refused:
        await person.login(provider)

    assert refused.value.reason == "login_device_malformed"
    assert person.shown == []
