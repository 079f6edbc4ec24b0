"""RedisStore: what a server in memory adds to the contract: eviction, restarts, shared lines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis, RedisCluster

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.testing.launch import free_port
from tests.support import store_contract
from tests.support.headers_clock import MovedClock
from tests.support.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.redis
_CLUSTER = "cluster-enabled yes\ncluster-port {}\n"
CANARY = "canary-in-a-session"


@pytest.fixture
async def admin(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    made = RedisStore(redis_server.url, prefix=f"test-{uuid4().hex}:", max_connections=2)
    yield made
    await made.close()


async def refusal_of(call: Any) -> UnavailableError:
    with pytest.raises(UnavailableError) as refused:
        await call
    printed = "".join(traceback.format_exception(refused.value))
    assert CANARY not in printed, "a traceback is a log line"
    return refused.value


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
async def test_a_server_that_may_evict_is_refused_at_start_up(
    store: RedisStore, admin: Redis, policy: str
) -> None:
    """Short of memory it would end sessions, and let used proofs in again."""
    await store.check()
    await admin.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(ConfigError, match=f"maxmemory-policy {policy}.*noeviction"):
            await store.check()
    finally:
        await admin.config_set("maxmemory-policy", "noeviction")


async def test_a_full_server_refuses_the_new_and_keeps_the_old(
    store: RedisStore, admin: Redis
) -> None:
    """A used proof that is forgotten is a replay."""
    await store.put("kept", b"kept", ttl=60)
    await admin.config_set("maxmemory", "1")
    try:
        value = CANARY.encode()
        for call in (
            store.put("new", value, ttl=60),
            store.put_if_absent("new", value, ttl=60),
            store.replace("kept", b"kept", value, ttl=60),
        ):
            assert (await refusal_of(call)).reason == "redis_store_full"
        assert await store.get("kept") == b"kept"
    finally:
        await admin.config_set("maxmemory", "0")


async def test_a_call_cancelled_in_flight_does_not_answer_the_next(
    store: RedisStore, admin: Redis
) -> None:
    """One connection, one answer too many: the next caller reads somebody else's session."""
    for name in ("mine", "theirs", "others"):
        await store.put(name, name.encode(), ttl=60)
    await admin.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    calls = [asyncio.create_task(store.take(name)) for name in ("theirs", "others")]
    while (await admin.info("clients"))["blocked_clients"] < 2:
        pass  # each question gives the others a turn
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await admin.execute_command("CLIENT", "UNPAUSE")

    assert await asyncio.gather(*(store.get("mine") for _ in range(10))) == [b"mine"] * 10


async def test_a_call_cancelled_in_the_middle_of_a_handshake_does_not_answer_the_next(
    store: RedisStore, admin: Redis
) -> None:
    """The first call after a start is cancelled while the password is being checked."""
    await admin.set(f"{store._prefix}mine", b"9" * 15 + b"mine")
    await admin.execute_command("CLIENT", "PAUSE", "200", "ALL")
    calls = [asyncio.create_task(store.get("theirs")) for _ in range(2)]
    for _ in range(100):
        await asyncio.sleep(0)
    for call in calls:
        call.cancel()

    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}
    assert await asyncio.gather(*(store.get("mine") for _ in range(10))) == [b"mine"] * 10


async def test_a_server_that_hangs_is_given_up(redis_server: RedisServer, admin: Redis) -> None:
    """After the time that was given, with an error that fails closed."""
    store = RedisStore(redis_server.url, timeout=0.2)
    await admin.execute_command("CLIENT", "PAUSE", "60000", "WRITE")

    refused = await refusal_of(store.put("k", CANARY.encode(), ttl=60))

    await admin.execute_command("CLIENT", "UNPAUSE")
    await store.close()
    assert refused.reason == "redis_store_timeout"


async def test_a_server_that_is_gone_is_said_to_be_and_found_again(redis_program: str) -> None:
    """Without a restart of the app."""
    port = free_port()
    with ExitStack() as first:
        server = first.enter_context(running_redis(redis_program, port=port))
        client = Redis.from_url(server.url, socket_timeout=5)
        store, by_url = RedisStore(client), RedisStore(server.url)
        await store.put("k", b"v", ttl=60)
        await asyncio.gather(*(by_url.get("k") for _ in range(5)))  # so many connections wait
        server.stop()
        for call in (store.get("k"), store.take("k"), store.check()):
            assert (await refusal_of(call)).reason == "redis_store_failed"
        await store.close()  # not its client
    with running_redis(redis_program, port=port, more=f"requirepass {server.password}\n"):
        await store.put("k", b"again", ttl=60)
        assert await store.get("k") == b"again"
        found = await asyncio.gather(*(by_url.get("k") for _ in range(5)))
        assert found == [b"again"] * 5, "none of the broken connections is used"
        await by_url.close()
        await client.aclose()
    wrong = RedisStore(f"redis://:{CANARY}@127.0.0.1:{port}/0")
    await refusal_of(wrong.put("k", CANARY.encode(), ttl=60))
    await wrong.close()


async def test_the_server_cleans_up_by_itself(store: RedisStore, admin: Redis) -> None:
    """Whatever writes: no key of ours stays for ever."""
    await store.put("a", b"1", ttl=30)
    await store.put_if_absent("b", b"1", ttl=30)
    await store.replace("b", b"1", b"2", ttl=40.5)

    assert 29_000 < await admin.pttl(f"{store._prefix}a") <= 30_000
    assert 39_000 < await admin.pttl(f"{store._prefix}b") <= 40_500


async def test_values_of_others_under_our_prefix_are_no_entries(
    store: RedisStore, admin: Redis
) -> None:
    """Whoever shares the server by mistake must not sign anybody in."""
    for foreign in (b"", b"1", b"x" * 20, b"99999999999999"):
        await admin.set(f"{store._prefix}k", foreign)
        assert (await refusal_of(store.get("k"))).reason == "redis_store_foreign_value"
        await refusal_of(store.put_if_absent("k", b"1", ttl=60))
    await admin.delete(f"{store._prefix}k")
    await admin.lpush(f"{store._prefix}k", "a list")
    assert (await refusal_of(store.take("k"))).reason == "redis_store_failed"


async def test_a_cluster_holds_the_contract(redis_program: str) -> None:
    """Each command has one key, so keys may lie anywhere."""
    with running_redis(redis_program, more=_CLUSTER.format(free_port())) as server:
        admin = Redis.from_url(server.url)
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while (await admin.cluster("INFO"))["cluster_state"] != "ok":
            pass
        client = RedisCluster.from_url(server.url, socket_timeout=5)
        clock = MovedClock()
        store = RedisStore(client, clock=clock)
        await store.check()
        await store_contract.values(store)
        await store_contract.endings(store, clock)
        for race in store_contract.RACES:
            await store_contract.one_winner(store, race)
            await admin.flushall()
        await admin.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigError, match="allkeys-lru"):
            await store.check()
        await client.aclose()
        await admin.aclose()


@pytest.mark.parametrize(
    ("server", "options"),
    [
        ("http://127.0.0.1", {}),
        ("redis://127.0.0.1:port", {}),
        (Redis(decode_responses=True, socket_timeout=5), {}),
        (Redis(socket_timeout=None), {}),
        (object(), {}),
        ("redis://127.0.0.1", {"prefix": "with space"}),
        ("redis://127.0.0.1", {"timeout": 0}),
        ("redis://127.0.0.1", {"max_connections": 0}),
    ],
    ids=["scheme", "port", "decoding", "endless", "no-client", "prefix", "timeout", "connections"],
)
async def test_what_cannot_work_is_refused_when_built(server: Any, options: dict[str, Any]) -> None:
    """At start-up."""
    with pytest.raises(ConfigError):
        RedisStore(server, **options)


def test_without_redis_py_the_extra_is_named() -> None:
    """``No module named 'redis'`` does not say that there is an extra for it."""
    program = "import sys; sys.modules['redis'] = None; import asgi_guard.integrations.redis"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert 'pip install "asgi-guard[redis]"' in run.stderr
