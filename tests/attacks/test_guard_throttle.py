"""Guessing at a guarded app: one throttle before every kind of credential, and no way around it."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.auth.api_keys import APIKeyAuthenticator
from asgi_guard.auth.passwords import PasswordLogin
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.auth.throttled import ThrottledAuthenticator
from asgi_guard.errors import AuthenticationError, ConfigError, ThrottledError
from asgi_guard.protocols import ASGIApp, Principal, Scope
from asgi_guard.stack import Guard
from tests.support.api_keys_world import FORMAT, service
from tests.support.exchange import Answer
from tests.support.headers_clock import MovedClock
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_guard import ACME, KnownTokens, guard_settings, token
from tests.support.passwords_people import GOOD, cheap_hasher
from tests.support.tenancy_calls import get

FEW = ThrottleLimits(account="3 per minute", address="5 per minute", tenant="8 per minute")
GOOD_ONE = token("alice", ACME)
PROXY = "10.0.0.1"


def guarded(clock: MovedClock, **changes: Any) -> ASGIApp:
    """Guard an app with bearer tokens and API keys behind one throttle."""
    settings = guard_settings(
        authenticators=[APIKeyAuthenticator(service(clock=clock)), KnownTokens()],
        **{"throttle": Throttle(limits=FEW, clock=clock), **changes},
    )
    app: ASGIApp = Guard(settings).install(HOSTS["raw"]([]))
    return app


async def ask(app: ASGIApp, headers: dict[str, str], client: str = "203.0.113.9") -> Answer:
    return await get(app, "/whoami", headers | {"x-tenant": ACME}, client=(client, 5000))


def guess(number: int) -> dict[str, str]:
    """Return another wrong credential for each number, of both kinds."""
    if number % 2:
        return {"x-api-key": FORMAT.new_key().reveal()}
    return {"authorization": f"Bearer stranger-{number} x"}


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


async def statuses(app: ASGIApp, *clients: str) -> list[int]:
    """Guess once from each of *clients*."""
    return [(await ask(app, guess(n), client)).status for n, client in enumerate(clients)]


async def test_an_address_that_guesses_gets_a_429_for_every_kind_of_credential(
    clock: MovedClock,
) -> None:
    """With a counter for each kind, an attacker has as many attempts as there are kinds."""
    app = guarded(clock)

    assert await statuses(app, *["203.0.113.9"] * 7) == [401] * 5 + [429] * 2
    refused = await ask(app, guess(0))
    told = dict(refused.headers)
    assert 1 <= int(told["retry-after"]) <= 60
    assert told["content-type"] == "application/problem+json"
    assert b'"throttled"' in refused.body
    assert (await ask(app, GOOD_ONE)).status == 429, "a good one must not tell that it is good"
    assert (await ask(app, GOOD_ONE, "203.0.113.10")).status == 200
    clock.move(61)
    assert (await ask(app, GOOD_ONE)).status == 200


async def test_one_credential_from_everywhere_is_throttled(clock: MovedClock) -> None:
    """A leaked and revoked key that a botnet tries: each address shows it once."""
    app = guarded(clock)
    leaked = {"x-api-key": FORMAT.new_key().reveal()}

    found = [(await ask(app, leaked, f"192.0.2.{n}")).status for n in range(6)]

    assert found == [401] * 3 + [429] * 3


async def test_hopping_through_an_ipv6_network_is_one_address(clock: MovedClock) -> None:
    """A customer has at least a /64 (RFC 6177): 2**64 addresses, free of charge."""
    app = guarded(clock)

    inside = await statuses(app, *(f"2001:db8:1:2:{n:x}::{n:x}" for n in range(7)))
    other = (await ask(app, guess(0), "2001:db8:1:3::1")).status
    mapped = await statuses(app, *["::ffff:192.0.2.1", "192.0.2.1"] * 3)

    assert inside == [401] * 5 + [429] * 2
    assert other == 401
    assert mapped == [401] * 5 + [429]


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip"])
async def test_a_caller_cannot_name_another_address_each_time(clock: MovedClock, name: str) -> None:
    """Without proxies of ours nobody is believed, whatever the header."""
    app = guarded(clock)

    prefix = "for=" if name == "forwarded" else ""

    found = [(await ask(app, guess(n) | {name: f"{prefix}192.0.2.{n}"})).status for n in range(7)]

    assert found == [401] * 5 + [429] * 2


async def test_behind_a_proxy_the_client_counts_and_what_it_prepends_does_not(
    clock: MovedClock,
) -> None:
    """Counting the proxy locks everybody out; believing the first name lets everybody in."""
    app = guarded(clock, trusted_proxies=TrustedProxies(["10.0.0.0/8"]))

    async def through(client: str, number: int) -> int:
        chain = {"x-forwarded-for": f"198.51.100.{number}, {client}"}
        return (await ask(app, guess(number) | chain, PROXY)).status

    assert [await through("203.0.113.9", n) for n in range(7)] == [401] * 5 + [429] * 2
    assert await through("203.0.113.10", 0) == 401


async def test_a_tenant_is_counted_where_the_app_says_how_it_is_named(clock: MovedClock) -> None:
    """Guesses spread over addresses and credentials still meet in the tenant."""
    app = guarded(clock, throttle_tenant_of=lambda scope: dict(scope["headers"]).get(b"x-tenant"))

    found = await statuses(app, *(f"192.0.2.{n}" for n in range(10)))

    assert found == [401] * 8 + [429] * 2


async def test_good_credentials_are_never_counted(clock: MovedClock) -> None:
    """A busy client is not an attacker."""
    app = guarded(clock)

    assert {(await ask(app, GOOD_ONE)).status for _ in range(50)} == {200}
    assert (await get(app, "/health")).status == 200


class Expired:
    """Refuses as a verifier does whose token is out of date."""

    reads_cookies = True

    async def authenticate(self, scope: Scope) -> Principal | None:
        reason = dict(scope["headers"])[b"authorization"].decode()
        raise AuthenticationError(reason)


async def test_tokens_that_were_good_and_expired_lock_nobody_out(clock: MovedClock) -> None:
    """Fifty browsers of one office wake up on Monday; none of them guesses."""
    throttle = Throttle(limits=FEW, clock=clock)
    inner = ThrottledAuthenticator(Expired(), throttle=throttle)

    async def reason(name: str) -> str:
        with pytest.raises((AuthenticationError, ThrottledError)) as caught:
            await inner.authenticate({"headers": [(b"authorization", name.encode())],
                                      "client": ("192.0.2.1", 1)})  # fmt: skip
        return caught.value.reason

    assert {await reason("token_expired") for _ in range(50)} == {"token_expired"}
    assert [await reason("signature_invalid") for _ in range(5)][-1].startswith("throttled")


def test_settings_that_count_nothing_or_twice_are_refused(clock: MovedClock) -> None:
    """A throttle that is there and does nothing is worse than none."""
    throttle = Throttle(limits=FEW, clock=clock)
    twice = ThrottledAuthenticator(Expired(), throttle=throttle)
    nobody: dict[str, Any] = {
        "authenticators": [],
        "resolver": None,
        "memberships": None,
        "public_paths": [],
    }
    wrongs: list[dict[str, Any]] = [
        {"throttle": FEW},
        {"throttle": throttle, "authenticators": [twice]},
        {"throttle": throttle, **nobody},
        {"throttle_tenant_of": str},
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigError, match="throttle"):
            guard_settings(**wrong)


def test_a_wrapper_does_not_hide_that_cookies_are_read(clock: MovedClock) -> None:
    """The settings' check of cross-origin exemptions asks the outermost object."""
    inner = ThrottledAuthenticator(Expired(), throttle=Throttle(clock=clock))

    assert inner.reads_cookies


async def test_a_login_takes_the_clients_address_from_the_request(clock: MovedClock) -> None:
    """What must be passed by hand is forgotten by hand: every login would count as one address."""
    hasher = cheap_hasher()
    stored = await hasher.hash(GOOD)
    limits = ThrottleLimits(account="", address="2 per minute", tenant="")
    throttle = Throttle(limits=limits, clock=clock)
    login = PasswordLogin(hasher, throttle=throttle, trusted_proxies=TrustedProxies(["10.0.0.0/8"]))

    async def from_(client: str) -> bool:
        scope: dict[str, Any] = {
            "type": "http",
            "client": (PROXY, 1),
            "headers": [(b"x-forwarded-for", f"198.51.100.1, {client}".encode())],
        }
        return await login.verify(stored, "wrong password", account=client, scope=scope)

    assert not await from_("203.0.113.9")
    assert not await from_("203.0.113.9")
    with pytest.raises(ThrottledError) as refused:
        await from_("203.0.113.9")
    assert refused.value.reason == "throttled_by_address"
    assert not await from_("203.0.113.10")
