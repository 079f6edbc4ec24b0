"""TokenRevocations: dead here at once, and everywhere within the stated seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.jose import TokenRevocations, TokenVerifier
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.jose_tokens import access_claims, made, policy, reason, verifier
from tests.support.tenancy_world import MovedClock

TOKEN = made(access_claims(sid="s-1", fam="f-1"))
BOUND = 3.0  # max_age, as the class states it


class CountingStore(MemoryStore):
    """A store that counts questions, and can cease to answer."""

    asked = 0
    dead = False

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked += 1
        if self.dead:
            raise UnavailableError("store_unreachable")
        return await super().get_many(keys)

    async def get(self, key: str) -> bytes | None:
        if self.dead:
            raise UnavailableError("store_unreachable")
        return await super().get(key)


class Process:
    """One process: a verifier with its cache, and its view of the shared revocations."""

    def __init__(self, store: MemoryStore, clock: MovedClock) -> None:
        self.revocations = TokenRevocations(store, policy=policy(), clock=clock)
        self.judge: TokenVerifier = verifier(clock=clock, revocations=self.revocations)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store(clock: MovedClock) -> CountingStore:
    return CountingStore(clock=clock)


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


WAYS = {
    "token": ("revoke_token", "t-1"),
    "session": ("revoke_session", "s-1"),
    "family": ("revoke_family", "f-1"),
    "user": ("revoke_user", "alice"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_verified_token_dies_here_at_once_and_elsewhere_within_the_bound(
    way: str, store: CountingStore, clock: MovedClock, events: Events
) -> None:
    """A cache of verified tokens must not keep a revoked one alive."""
    here, there = Process(store, clock), Process(store, clock)
    for process in (here, there):
        await process.judge.verify(TOKEN)
    clock.time += 1
    name, what = WAYS[way]

    await getattr(here.revocations, name)(what)

    assert await reason(TOKEN, here.judge) == "token_revoked"
    clock.time += BOUND - 1
    assert await reason(TOKEN, there.judge) == "token_revoked"
    (event,) = [each for each in events.seen if each.name == "TOKEN_REVOKED"]
    assert event.details["kind"] == way
    assert what not in repr(event)


async def test_until_the_bound_the_store_is_asked_once(
    store: CountingStore, clock: MovedClock
) -> None:
    """A round trip for each request would be the price of a session store."""
    process = Process(store, clock)

    for _ in range(5):
        await process.judge.verify(TOKEN)
    assert store.asked == 1
    clock.time += BOUND
    await process.judge.verify(TOKEN)
    assert store.asked == 2


async def test_only_what_was_issued_before_ends_with_its_user(
    store: CountingStore, clock: MovedClock
) -> None:
    """Logging in anew after "log out everywhere" must work."""
    process = Process(store, clock)
    clock.time += 5
    await process.revocations.revoke_user("alice")

    later = made(access_claims(iat=int(clock.time) + 1, exp=int(clock.time) + 300))
    other = made(access_claims(sub="bob", jti="t-2"))

    assert await process.judge.verify(later)
    assert await process.judge.verify(other)
    assert await reason(TOKEN, process.judge) == "token_revoked"


async def test_a_revocation_lasts_as_long_as_the_token(
    store: CountingStore, clock: MovedClock
) -> None:
    """Forgotten a second too early it would work again."""
    process = Process(store, clock)
    await process.revocations.revoke_token("t-1")

    clock.time += 629

    assert await reason(TOKEN, process.judge) == "token_revoked"
    clock.time += 2
    assert await reason(TOKEN, process.judge) == "token_expired"


async def test_a_store_that_does_not_answer_lets_nobody_in(
    store: CountingStore, clock: MovedClock, events: Events
) -> None:
    """It fails closed, and the revocation that did not happen says so."""
    process = Process(store, clock)
    store.dead = True

    with pytest.raises(UnavailableError):
        await process.judge.verify(TOKEN)
    with pytest.raises(UnavailableError):
        await process.revocations.revoke_user("alice")
    assert [(event.name, event.outcome) for event in events.seen] == [("TOKEN_REVOKED", "error")]


class SlowStore(CountingStore):
    """A store whose answer is older than the revocation that comes meanwhile."""

    meanwhile: Any = None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await super().get_many(keys)
        if self.meanwhile is not None:
            await self.meanwhile("t-1")
        return found


async def test_an_answer_from_before_the_revocation_is_not_remembered(clock: MovedClock) -> None:
    """Else the revoking process itself would accept the token for seconds."""
    store = SlowStore(clock=clock)
    process = Process(store, clock)
    store.meanwhile = process.revocations.revoke_token
    await process.judge.verify(TOKEN)
    store.meanwhile = None

    assert await reason(TOKEN, process.judge) == "token_revoked"


async def test_two_issuers_share_a_store_without_ending_each_others_tokens(
    store: CountingStore, clock: MovedClock
) -> None:
    """Both have a user called alice."""
    elsewhere = TokenRevocations(store, policy=policy(issuer="https://other.example"), clock=clock)
    clock.time += 1

    await elsewhere.revoke_user("alice")

    assert await Process(store, clock).judge.verify(TOKEN)


@pytest.mark.parametrize(
    "change",
    [{"store": object()}, {"max_age": 5}, {"max_age": -1}, {"size": 0},
     {"policy": policy(insecure_any_lifetime=True)}],
    ids=["store", "old", "negative", "size", "endless"],
)  # fmt: skip
def test_bad_settings_are_refused_when_built(change: dict[str, Any]) -> None:
    """A minute of acceptance after a revocation is not what is promised."""
    settings: dict[str, Any] = {"store": MemoryStore(), "policy": policy(), **change}

    with pytest.raises(ConfigError):
        TokenRevocations(settings.pop("store"), **settings)


@pytest.mark.parametrize("claim", ["sid", "fam"])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, True], ids=["array", "object", "bool"])
async def test_an_id_that_is_none_is_refused_and_nothing_else(
    claim: str, value: Any, store: CountingStore, clock: MovedClock
) -> None:
    """It could never be found in the store, so its token could never be revoked."""
    process = Process(store, clock)

    assert await reason(made(access_claims(**{claim: value})), process.judge) == (
        "id_claim_malformed"
    )
