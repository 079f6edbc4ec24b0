"""Throttle: refused credentials are counted, good ones are not, and too many is a 429."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage

from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.passwords import PasswordLogin
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.auth.throttle_names import counter_name
from asgi_guard.auth.throttled import ThrottledAuthenticator
from asgi_guard.errors import AuthenticationError, ConfigError, ThrottledError, UnavailableError
from asgi_guard.protocols import Principal, Scope
from tests.support.exchange import http_scope
from tests.support.headers_clock import MovedClock
from tests.support.passwords_people import GOOD, cheap_hasher, listening, spied_argon2
from tests.support.tenancy_calls import get

FEW = ThrottleLimits(account="3 per minute", address="5 per minute", tenant="8 per minute")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def throttle(clock: MovedClock) -> Throttle:
    return Throttle(limits=FEW, clock=clock)


async def fail(throttle: Throttle, **names: Any) -> None:
    """Make one attempt with a wrong credential."""
    async with throttle.attempt(**names):
        pass


async def until_refused(once: Callable[[], Awaitable[object]], most: int = 20) -> int:
    """Return how many attempts were heard."""
    for heard in range(most):
        try:
            await once()
        except ThrottledError:
            return heard
    return most


@pytest.mark.parametrize(
    ("names", "heard"),
    [
        ({"address": "192.0.2.1", "account": "alice"}, 3),
        ({"address": "192.0.2.1"}, 5),
        ({"address": None, "tenant": None}, 5),
    ],
)
async def test_each_limit_holds(throttle: Throttle, names: dict[str, Any], heard: int) -> None:
    """The tightest of those that apply."""
    assert await until_refused(lambda: fail(throttle, **names)) == heard


async def test_one_password_on_many_accounts_from_many_addresses_meets_the_tenants_limit(
    throttle: Throttle,
) -> None:
    """Password spraying shows neither at an account nor at an address."""
    numbers = iter(range(100))

    async def spray() -> None:
        number = next(numbers)
        await fail(throttle, address=f"192.0.2.{number}", account=f"u{number}", tenant="acme")

    assert await until_refused(spray) == 8


async def test_the_answer_is_a_429_that_says_when_to_come_back(
    throttle: Throttle, clock: MovedClock
) -> None:
    """RFC 6585 section 4; and a window ends."""
    for _ in range(3):
        await fail(throttle, account="alice")
    clock.move(20)

    with listening() as events, pytest.raises(ThrottledError) as refused:
        await fail(throttle, account="alice", address="192.0.2.7", request_id="r1")
    clock.move(40)
    await fail(throttle, account="alice")

    assert refused.value.status == 429
    assert refused.value.headers == ((b"retry-after", b"40"),)
    assert [(e.name, e.outcome, e.reason, e.client, e.request_id) for e in events.seen] == [
        ("THROTTLED", "denied", "throttled_by_account", "192.0.2.7", "r1")
    ]


async def test_attempts_sent_at_once_are_all_counted(throttle: Throttle) -> None:
    """A counter that only failures raise lets a hundred through while the first is checked."""
    reached, gate = 0, asyncio.Event()

    async def slow() -> None:
        nonlocal reached
        async with throttle.attempt(account="alice"):
            reached += 1
            await gate.wait()

    tasks = [asyncio.create_task(slow()) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert reached == 3
    assert sum(isinstance(answer, ThrottledError) for answer in answers) == 97


async def test_good_attempts_cost_nothing_and_failures_stay_counted(throttle: Throttle) -> None:
    """Else an attacker resets the count with an account of its own (OWASP)."""

    async def alternate() -> None:
        async with throttle.attempt(account="mallory", address="192.0.2.1") as good:
            good.succeeded()
        await fail(throttle, account="victim", address="192.0.2.1")

    for _ in range(50):
        async with throttle.attempt(account="alice", address="192.0.2.9") as attempt:
            attempt.succeeded()
    assert await until_refused(alternate) == 3


async def test_an_address_that_is_over_no_longer_uses_an_account_up(throttle: Throttle) -> None:
    """Else one machine locks everybody out."""
    for number in range(5):
        await fail(throttle, address="192.0.2.1", account=f"u{number}")
    for _ in range(10):
        with pytest.raises(ThrottledError):
            await fail(throttle, address="192.0.2.1", account="victim")

    await fail(throttle, address="198.51.100.1", account="victim")


async def test_hanging_up_does_not_give_an_attempt_back_and_an_outage_does(
    throttle: Throttle,
) -> None:
    """Whoever hangs up chose to; whoever met a full pool did not."""

    async def hung_up() -> None:
        with pytest.raises(asyncio.CancelledError):
            async with throttle.attempt(account="a"):
                raise asyncio.CancelledError

    async def outage() -> None:
        with pytest.raises(UnavailableError):
            async with throttle.attempt(account="b"):
                raise UnavailableError("full")

    assert await until_refused(hung_up) == 3
    assert await until_refused(outage) == 20


@pytest.mark.parametrize(
    ("dimension", "one", "other"),
    [
        ("account", "Alice@Example.com", " alice@example.com "),
        ("account", "\uff41\uff4c\uff49\uff43\uff45", "alice"),  # full width
        ("account", "stra\u00dfe", "STRASSE"),
        ("address", "2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff"),
        ("address", "::ffff:192.0.2.1", "192.0.2.1"),
        ("address", "fe80::1%eth0", "fe80::2%eth1"),
    ],
)
def test_two_spellings_are_one_counter(dimension: str, one: str, other: str) -> None:
    """Each further spelling would be as many attempts again."""
    assert counter_name("x", dimension, one) == counter_name("x", dimension, other)
    assert counter_name("x", dimension, one) != counter_name("y", dimension, one)


@given(st.text(), st.sampled_from(["address", "tenant", "account"]))
def test_any_name_has_a_short_plain_counter(name: str, dimension: str) -> None:
    """A name is input: no exception, nothing personal in a shared storage, one length."""
    found = counter_name("login", dimension, name)

    assert found.isascii()
    assert len(found) == len("asgi-guard:login:") + len(dimension) + 1 + 32


async def test_many_names_do_not_fill_the_memory(clock: MovedClock) -> None:
    """Whoever owns a /48 has 65,536 lines to come from."""
    throttle = Throttle(limits=FEW, clock=clock, max_counters=100)

    for number in range(1_000):
        await fail(throttle, address=f"2001:db8:{number:x}::1")

    assert len(throttle._storage) == 100  # type: ignore[arg-type]
    assert await until_refused(lambda: fail(throttle, address="2001:db8:1::1")) == 5


async def test_a_storage_of_limits_fits() -> None:
    """Redis and Valkey come through the same protocol."""
    throttle = Throttle(limits=FEW, storage=MemoryStorage())

    async with throttle.attempt(account="alice") as attempt:
        attempt.succeeded()

    assert await until_refused(lambda: fail(throttle, account="alice")) == 3


async def test_a_storage_that_is_down_refuses(throttle: Throttle) -> None:
    """Fails closed: an attacker who can stop Redis must not gain free guesses."""

    class Down(MemoryStorage):
        async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
            raise ConnectionError

    with pytest.raises(UnavailableError, match="throttle_unreachable"):
        await fail(Throttle(limits=FEW, storage=Down()), account="alice")


@pytest.mark.parametrize(
    "limits", [ThrottleLimits(account="many"), ThrottleLimits(account="", address="", tenant="")]
)
def test_limits_that_limit_nothing_are_refused(limits: ThrottleLimits) -> None:
    """At start-up."""
    with pytest.raises(ConfigError, match="ThrottleLimits"):
        Throttle(limits=limits)


async def test_a_throttled_login_hashes_nothing(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 429 that costs a hash protects nobody; the right password waits as well."""
    hasher = cheap_hasher()
    stored = await hasher.hash(GOOD)
    login = PasswordLogin(hasher, throttle=throttle)
    here: dict[str, Any] = {"account": "alice", "address": "192.0.2.1"}

    for _ in range(3):
        assert not await login.verify(stored, "wrong password", **here)
    work = spied_argon2(monkeypatch)
    with pytest.raises(ThrottledError):
        await login.verify(stored, GOOD, **here)

    assert work == []
    assert await login.verify(stored, GOOD, account="bob", address="192.0.2.2")


class Tokens:
    """An authenticator that knows one token, and nothing of those who send none."""

    async def authenticate(self, scope: Scope) -> Principal | None:
        token = dict(scope["headers"]).get(b"authorization")
        if token is None:
            return None
        if token != b"Bearer good":
            raise AuthenticationError("unknown")
        return Principal(user_id="alice")


@pytest.fixture
def guarded(throttle: Throttle) -> Any:
    async def app(scope: Scope, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return AuthenticationMiddleware(
        app, authenticators=[ThrottledAuthenticator(Tokens(), throttle=throttle)]
    )


async def test_refused_tokens_of_one_address_end_in_429_for_credentials_alone(
    guarded: Any, clock: MovedClock
) -> None:
    """Public pages stay public; the next window opens again."""
    statuses = [
        (await get(guarded, headers={"authorization": f"Bearer guess{n}"})).status for n in range(7)
    ]
    with_good = await get(guarded, headers={"authorization": "Bearer good"})
    without = await get(guarded)
    elsewhere = await get(
        guarded, headers={"authorization": "Bearer good"}, client=("198.51.100.4", 1)
    )
    clock.move(60)
    later = await get(guarded, headers={"authorization": "Bearer good"})

    assert statuses == [401] * 5 + [429] * 2
    assert (with_good.status, with_good.header("retry-after")) == (429, "60")
    assert (without.status, elsewhere.status, later.status) == (200, 200, 200)


async def test_one_refused_token_from_everywhere_meets_the_accounts_limit(guarded: Any) -> None:
    """A leaked and revoked token that a botnet tries."""
    statuses = [
        (
            await get(
                guarded,
                headers={"authorization": "Bearer leaked"},
                client=(f"198.51.100.{n}", 1),
            )
        ).status
        for n in range(4)
    ]

    assert statuses == [401, 401, 401, 429]


async def test_good_tokens_are_not_counted(guarded: Any) -> None:
    """An API client sends one with every request."""
    for _ in range(30):
        assert (await get(guarded, headers={"authorization": "Bearer good"})).status == 200


async def test_the_tenant_that_a_request_names_can_be_counted(clock: MovedClock) -> None:
    """A brake on spraying one customer."""
    throttled = ThrottledAuthenticator(
        Tokens(), throttle=Throttle(limits=FEW, clock=clock), tenant_of=lambda _scope: "acme"
    )
    numbers = iter(range(100))

    async def guess() -> None:
        number = next(numbers)
        scope = http_scope(
            headers={"authorization": f"Bearer {number}"}, client=(f"198.51.100.{number}", 1)
        )
        with pytest.raises(AuthenticationError):
            await throttled.authenticate(scope)

    assert await until_refused(guess) == 8
