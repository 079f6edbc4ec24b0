"""APIKeyService: create, verify, rotate, revoke; and what each leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard.auth.api_keys import APIKeyService, KeyFormat
from asgi_guard.auth.api_keys.lookups import CachedLookups
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    InsufficientScopeError,
    RequestInvalidError,
    TenantAccessError,
    UnavailableError,
)
from asgi_guard.secret import Secret
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.api_keys_world import FORMAT, PEPPER, CountingStore, make, service
from tests.support.exchange import Events
from tests.support.headers_clock import MovedClock
from tests.support.passwords_people import listening
from tests.support.tenancy_world import ACME, GLOBEX

DAY = 86_400.0


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def keys(store: CountingStore, clock: MovedClock) -> APIKeyService:
    return service(store, clock)


@pytest.fixture
def events() -> Iterator[Events]:
    with listening() as sink:
        yield sink


def told(events: Events) -> list[tuple[str, str, str]]:
    return [(event.name, event.outcome, event.reason) for event in events.seen]


async def refused(keys: APIKeyService, key: Secret) -> str:
    """Return why *key* is refused now; empty if it is not."""
    try:
        await keys.verify(key.reveal())
    except AuthenticationError as refusal:
        return refusal.reason
    return ""


def acting(**changes: Any) -> Any:
    """Enter a context of alice in ACME."""
    who: dict[str, Any] = {"tenant_id": ACME, "user_id": "alice", "auth_method": "bearer"}
    return use_context(UserExecutionContext(**{**who, **changes}))


async def test_a_key_is_shown_once_and_opens_what_it_was_made_for(
    keys: APIKeyService, store: CountingStore, events: Events
) -> None:
    """The store cannot give it back."""
    issued = await make(keys)

    record = await keys.verify(issued.key.reveal(), client="192.0.2.1", request_id="r1")

    assert (record.tenant_id, record.user_id, record.scopes) == (
        ACME,
        "alice",
        frozenset({"notes:read"}),
    )
    assert issued.key.reveal() not in repr(vars(store))
    assert issued.key.reveal().startswith(record.hint)
    assert len(record.hint) == len("acme_live_") + 4
    assert told(events) == [
        ("API_KEY_CREATED", "allowed", ""),
        ("API_KEY_VERIFIED", "allowed", ""),
    ]
    assert (events.seen[1].client, events.seen[1].tenant_id) == ("192.0.2.1", ACME)


async def test_an_expired_key_opens_nothing_even_from_the_cache(
    keys: APIKeyService, clock: MovedClock
) -> None:
    """To the second."""
    issued = await make(keys, expires_in=61)
    clock.move(59)
    assert not await refused(keys, issued.key)
    clock.move(2)

    assert await refused(keys, issued.key) == "api_key_expired"


async def test_a_revoked_key_is_dead_here_at_once_and_elsewhere_in_under_five_seconds(
    store: CountingStore, clock: MovedClock
) -> None:
    """The other process has an answer in its cache from just before."""
    here, elsewhere = service(store, clock), service(store, clock)
    issued = await make(here)
    assert not await refused(here, issued.key)
    assert not await refused(elsewhere, issued.key)

    assert await here.revoke(issued.record.key_id, tenant_id=ACME)
    assert await refused(here, issued.key) == "api_key_revoked"
    clock.move(2.9)
    before = await refused(elsewhere, issued.key)
    clock.move(0.2)
    after = await refused(elsewhere, issued.key)

    assert (before, after) == ("", "api_key_revoked")


async def test_a_cache_that_believes_for_longer_would_be_noticed(
    store: CountingStore, clock: MovedClock
) -> None:
    """Negative control: an hour, as caches of permissions are often given."""
    here, elsewhere = service(store, clock), service(store, clock)
    elsewhere._verifier._lookups = CachedLookups(store, ttl=3600, timeout=2, size=10, clock=clock)
    issued = await make(here)
    await elsewhere.verify(issued.key.reveal())
    await here.revoke(issued.record.key_id, tenant_id=ACME)
    clock.move(5)

    assert await refused(elsewhere, issued.key) == ""


async def test_use_does_not_lengthen_what_a_cache_believes(
    store: CountingStore, clock: MovedClock
) -> None:
    """A busy key must not keep itself alive."""
    here, elsewhere = service(store, clock), service(store, clock)
    issued = await make(here)
    await elsewhere.verify(issued.key.reveal())
    await here.revoke(issued.record.key_id, tenant_id=ACME)

    for _ in range(40):
        clock.move(0.1)
        last = await refused(elsewhere, issued.key)

    assert last == "api_key_revoked"


async def test_an_answer_that_was_on_its_way_when_a_key_was_revoked_is_not_kept(
    store: CountingStore, clock: MovedClock
) -> None:
    """Read before, landed after."""
    gate, asked = asyncio.Event(), asyncio.Event()
    real = CountingStore.find

    class Slow(CountingStore):
        async def find(self, digests: Any) -> Any:
            found = await real(self, digests)
            asked.set()
            await gate.wait()
            return found

    slow = Slow()
    keys = service(slow, clock)
    issued = await make(keys)
    early = asyncio.create_task(keys.verify(issued.key.reveal()))
    await asked.wait()
    await keys.revoke(issued.record.key_id, tenant_id=ACME)
    gate.set()
    await early

    assert await refused(keys, issued.key) == "api_key_revoked"


async def test_many_requests_with_one_key_ask_once(
    keys: APIKeyService, store: CountingStore
) -> None:
    """A cold key of a busy client must not stampede."""
    issued = await make(keys)

    await asyncio.gather(*(keys.verify(issued.key.reveal()) for _ in range(50)))

    assert store.finds == 1


async def test_a_typing_error_asks_nobody_and_guesses_evict_no_key(store: CountingStore) -> None:
    """The checksum first; refusals have a cache of their own."""
    keys = service(store, cache_size=5)
    issued = await make(keys)
    await keys.verify(issued.key.reveal())
    await refused(keys, Secret(issued.key.reveal()[:-1] + "-"))
    assert store.finds == 1

    for _ in range(50):
        assert await refused(keys, FORMAT.new_key()) == "api_key_unknown"
    await keys.verify(issued.key.reveal())

    assert store.finds == 51


async def test_a_store_that_fails_is_unavailable_and_nothing_expired_is_served(
    keys: APIKeyService, store: CountingStore, clock: MovedClock, events: Events
) -> None:
    """Fails closed; an outage must not bring a revoked key back."""
    issued = await make(keys)
    await keys.verify(issued.key.reveal())
    store.broken = True
    await keys.verify(issued.key.reveal())
    clock.move(3)

    with pytest.raises(UnavailableError, match="api_keys_unreachable"):
        await keys.verify(issued.key.reveal())

    assert told(events)[-1] == ("API_KEY_REFUSED", "error", "api_keys_unreachable")


@pytest.mark.parametrize("error", [ConnectionError(), UnavailableError("api_keys_unreachable")])
async def test_an_operation_that_the_store_fails_is_unavailable_and_told_once(
    clock: MovedClock, events: Events, error: Exception
) -> None:
    """A revocation that may not have happened must not look as if it had."""

    class Down(CountingStore):
        async def add(self, key: Any) -> None:
            raise error

        async def revoke(self, key_id: str, tenant_id: str, *, at: float) -> bool:
            raise error

    keys = service(Down(), clock)

    with pytest.raises(UnavailableError, match="api_keys_unreachable"):
        await make(keys)
    with pytest.raises(UnavailableError, match="api_keys_unreachable"):
        await keys.revoke("id", tenant_id=ACME)

    assert told(events) == [
        ("API_KEY_CREATED", "error", "api_keys_unreachable"),
        ("API_KEY_REVOKED", "error", "api_keys_unreachable"),
    ]


async def test_a_store_that_hands_out_another_key_is_not_believed(
    keys: APIKeyService, store: CountingStore
) -> None:
    """A collation that ignores case, a broken index: compared again, in constant time."""
    issued = await make(keys)
    store._by_digest = dict.fromkeys(
        keys._maker._peppers.digests((guess := FORMAT.new_key()).reveal()), issued.record.key_id
    )

    with pytest.raises(UnavailableError):
        await keys.verify(guess.reveal())


async def test_a_last_use_is_written_once_per_window_and_behind_the_request(
    keys: APIKeyService, store: CountingStore, clock: MovedClock
) -> None:
    """A write per request would make the table the bottleneck."""
    issued = await make(keys)
    for _ in range(100):
        await keys.verify(issued.key.reveal())
        clock.move(5.9)
    await keys.close()
    assert store.touches == 1
    clock.move(30)
    await keys.verify(issued.key.reveal())
    await keys.close()

    assert store.touches == 2
    listed = await keys.list_keys(tenant_id=ACME)
    assert listed[0].last_used_at == clock.now()


async def test_a_last_use_that_cannot_be_written_harms_nobody(
    keys: APIKeyService, store: CountingStore
) -> None:
    """A statistic must not refuse a request."""
    issued = await make(keys)
    await keys.verify(issued.key.reveal())
    store.broken = True
    await keys.close()

    assert keys._verifier._used.failures == 1
    assert await keys.verify(issued.key.reveal())


async def test_rotation_lets_both_work_for_a_while(
    keys: APIKeyService, clock: MovedClock, events: Events
) -> None:
    """A fleet is not re-deployed in one second."""
    old = await make(keys, expires_in=30 * DAY)
    clock.move(10 * DAY)

    new = await keys.rotate(old.record.key_id, tenant_id=ACME, overlap=3600)

    assert new.record.scopes == old.record.scopes
    assert new.record.expires_at == clock.now() + 30 * DAY
    assert (await refused(keys, old.key), await refused(keys, new.key)) == ("", "")
    clock.move(3600)
    assert (await refused(keys, old.key), await refused(keys, new.key)) == ("api_key_expired", "")
    rotated = [event for event in events.seen if event.name == "API_KEY_ROTATED"]
    assert [event.details["successor_id"] for event in rotated] == [new.record.key_id]


async def test_rotation_of_a_leaked_key_ends_it_at_once_and_never_lengthens_one(
    keys: APIKeyService, clock: MovedClock
) -> None:
    """Overlap zero; and an overlap beyond its end is none."""
    leaked, short = await make(keys), await make(keys, expires_in=60)

    await keys.rotate(leaked.record.key_id, tenant_id=ACME, overlap=0)
    await keys.rotate(short.record.key_id, tenant_id=ACME, overlap=3600)
    assert await refused(keys, leaked.key) == "api_key_expired"
    clock.move(60)

    assert await refused(keys, short.key) == "api_key_expired"


async def test_what_is_over_or_anothers_cannot_be_rotated(keys: APIKeyService) -> None:
    """A revoked key must not have children."""
    issued, foreign = await make(keys), await make(keys, tenant_id=GLOBEX)
    await keys.revoke(issued.record.key_id, tenant_id=ACME)

    for key_id in (issued.record.key_id, foreign.record.key_id, "none"):
        with pytest.raises(ConflictError):
            await keys.rotate(key_id, tenant_id=ACME)
        assert not await keys.revoke(key_id, tenant_id=ACME)


async def test_leaving_users_and_tenants_lose_all_keys(keys: APIKeyService) -> None:
    """Off-boarding in one call."""
    mine, bobs, foreign = (
        await make(keys),
        await make(keys, user_id="bob"),
        await make(keys, tenant_id=GLOBEX),
    )

    assert await keys.revoke_all(tenant_id=ACME, user_id="bob") == 1
    assert [await refused(keys, k.key) for k in (mine, bobs)] == ["", "api_key_revoked"]
    assert await keys.revoke_all(tenant_id=ACME) == 1
    assert [await refused(keys, k.key) for k in (mine, foreign)] == ["api_key_revoked", ""]


async def test_within_a_request_only_its_own_tenants_keys_can_be_touched(
    keys: APIKeyService, events: Events
) -> None:
    """An id in a URL is a claim; the context is a proof."""
    foreign = await make(keys, tenant_id=GLOBEX)
    events.seen.clear()

    with acting():
        for attempt in (
            lambda: make(keys, tenant_id=GLOBEX),
            lambda: keys.rotate(foreign.record.key_id, tenant_id=GLOBEX),
            lambda: keys.revoke(foreign.record.key_id, tenant_id=GLOBEX),
            lambda: keys.revoke_all(tenant_id=GLOBEX),
            lambda: keys.list_keys(tenant_id=GLOBEX),
        ):
            with pytest.raises(TenantAccessError):
                await attempt()
        assert await make(keys)

    assert not await refused(keys, foreign.key)
    assert [name for name, outcome, _ in told(events) if outcome == "denied"] == [
        "API_KEY_CREATED",
        "API_KEY_ROTATED",
        "API_KEY_REVOKED",
        "API_KEY_REVOKED",
    ]
    assert {event.tenant_id for event in events.seen[:4]} == {ACME}


async def test_nobody_hands_out_more_than_they_have(keys: APIKeyService) -> None:
    """A read-only token must not mint a key that writes."""
    with acting(scopes={"notes:read"}):
        assert await make(keys)
        with pytest.raises(InsufficientScopeError):
            await make(keys, scopes=["notes:read", "notes:write"])


async def test_a_key_makes_no_keys_unless_told_so(store: CountingStore) -> None:
    """A stolen one would outlive its revocation by its children."""
    loose = service(store, insecure_keys_make_keys=True)
    issued = await make(loose)

    with acting(auth_method="api_key", scopes={"notes:read"}):
        with pytest.raises(InsufficientScopeError):
            await make(service(store))
        with pytest.raises(InsufficientScopeError):
            await service(store).rotate(issued.record.key_id, tenant_id=ACME)
        assert await make(loose)
        with pytest.raises(InsufficientScopeError):
            await make(loose, scopes=["notes:write"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "text_malformed"),
        ({"name": "a" * 101}, "text_malformed"),
        ({"name": "\x1b[31mred"}, "text_malformed"),
        ({"user_id": ""}, "text_malformed"),
        ({"scopes": "notes:read"}, "scopes_malformed"),
        ({"scopes": ["notes read"]}, "scopes_malformed"),
        ({"scopes": ["admin"]}, "scope_unknown"),
        ({"expires_in": None}, "lifetime_endless"),
        ({"expires_in": 0}, "lifetime_out_of_range"),
        ({"expires_in": float("nan")}, "lifetime_out_of_range"),
        ({"expires_in": 367 * DAY}, "lifetime_out_of_range"),
    ],
)
async def test_a_key_that_cannot_be_meant_is_not_made(
    changes: dict[str, Any], reason: str, store: CountingStore, events: Events
) -> None:
    """Refused with a reason, and told in one event."""
    with pytest.raises(RequestInvalidError) as error:
        await make(service(store, scopes=["notes:read"]), **changes)

    assert error.value.reason == reason
    assert told(events) == [("API_KEY_CREATED", "denied", reason)]
    assert not store._keys


async def test_keys_of_an_older_pepper_work_while_it_is_listed(store: CountingStore) -> None:
    """A pepper can be changed without a day on which every client breaks."""
    old, new = PEPPER, Secret("another pepper of at least thirty-two")
    issued = await make(service(store))

    both = service(store, pepper=new, previous_peppers=[old])
    assert not await refused(both, issued.key)
    assert not await refused(both, (await make(both)).key)
    assert await refused(service(store, pepper=new), issued.key) == "api_key_unknown"


@pytest.mark.parametrize(
    "settings",
    [
        {"pepper": Secret("short")},
        {"pepper": "a plain string that is long enough......"},
        {"previous_peppers": [PEPPER]},
        {"cache_ttl": 5},
        {"cache_ttl": -1},
        {"lookup_timeout": 5},
        {"lookup_timeout": 0},
        {"cache_size": 0},
        {"last_used_every": 1},
        {"scopes": "notes:read"},
    ],
)
def test_settings_that_break_a_promise_are_refused(settings: dict[str, Any]) -> None:
    """A cache of an hour would make revocation a wish."""
    with pytest.raises(ConfigError):
        service(**settings)


def test_a_store_that_is_none_is_refused() -> None:
    """When built."""
    with pytest.raises(ConfigError, match="store"):
        APIKeyService(object(), key_format=KeyFormat("acme", "live"), pepper=PEPPER)  # type: ignore[arg-type]
