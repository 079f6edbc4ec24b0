"""notify and TenantListener: each tenant hears its own, once it is committed, and knows of gaps."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy.orm import Session

from asgi_guard.errors import ConfigError, RLSViolationError, UnavailableError
from asgi_guard.rls import (
    Gap,
    SealKey,
    SealKeys,
    TenantListener,
    guarded_engine,
    notify,
    notify_sync,
)
from asgi_guard.rls.shared.channel_seal import MAX_PAYLOAD, ChannelSeal, Topic
from asgi_guard.tenancy import use_context
from tests.support.pgbouncer import PgBouncer
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of
from tests.support.shared_objects import CHANNEL_KEYS, SharedWorld, Way, plain_only

pytestmark = pytest.mark.postgres

START = Gap("subscribed")


@asynccontextmanager
async def hearing(
    database: RLSDatabase, *, keys: SealKeys = CHANNEL_KEYS, **options: Any
) -> AsyncIterator[TenantListener]:
    async with asyncio.timeout(30), TenantListener(database.dsn, keys, **options) as listener:
        yield listener


async def tell(handle: Any, *payloads: str, channel: str = "notes") -> None:
    for payload in payloads:
        await notify(handle, channel, payload, keys=CHANNEL_KEYS)


async def channels(listener: TenantListener) -> set[str]:
    """What the listener's connection listens to, as the server says."""
    assert listener._connection is not None
    driver = listener._connection._driver
    return {row[0] for row in await driver.fetch("SELECT pg_listening_channels()")}


async def forgotten() -> None:
    """Collect what nothing holds, and let the loop hear of it."""
    gc.collect()
    await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["asyncpg", "sqlalchemy"])
async def test_each_tenant_hears_its_own(shared: SharedWorld, way: Way) -> None:
    """The purpose: one channel name in the code, as many channels as tenants."""
    async with hearing(shared.rls) as listener:
        with use_context(context_of(ALICE)):
            alices = listener.listen("notes")
            assert await anext(alices) == START
        with use_context(context_of(BOB)):
            bobs, others = listener.listen("notes"), listener.listen("tasks")
            assert [await anext(bobs), await anext(others)] == [START, START]

        async with shared.works_for(ALICE, way) as handle:
            await tell(handle, "alice 1", "alice 2")
        async with shared.works_for(BOB, way) as handle:
            await tell(handle, "bob 1")
            await tell(handle, "bob's task", channel="tasks")

        with use_context(context_of(ALICE)):
            assert [await anext(alices), await anext(alices)] == ["alice 1", "alice 2"]
        with use_context(context_of(BOB)):
            assert [await anext(bobs), await anext(others)] == ["bob 1", "bob's task"]


async def test_a_sync_session_notifies_too(rls_database: RLSDatabase) -> None:
    """Django's and Flask's kind of code runs in threads."""
    engine = guarded_engine(rls_database.url("psycopg"), variables=VARIABLES)

    def work() -> None:
        with Session(engine) as session, session.begin():
            notify_sync(session, "notes", "from a thread", keys=CHANNEL_KEYS)

    async with hearing(rls_database) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
            await asyncio.to_thread(work)
            assert await anext(items) == "from a thread"
    engine.dispose()


async def test_nothing_is_told_before_the_commit_and_nothing_after_a_rollback(
    shared: SharedWorld,
) -> None:
    """Whoever reads the row on hearing of it must find it."""
    async with hearing(shared.rls) as listener, shared.pool() as pool:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
            async with pool.acquire() as connection:
                undone = connection.transaction()
                await undone.start()
                await tell(connection, "never")
                await undone.rollback()
                async with connection.transaction():
                    await tell(connection, "at commit")
                    async with pool.acquire() as another:
                        await tell(another, "meanwhile")
                    assert await anext(items) == "meanwhile"
            assert await anext(items) == "at commit"


async def test_it_ends_when_the_context_expires(rls_database: RLSDatabase) -> None:
    """A socket that outlives its credential hears nothing more."""
    async with hearing(rls_database) as listener:
        with use_context(context_of(ALICE, expires_at=time.time() + 0.2)):
            heard = [item async for item in listener.listen("notes")]

    assert heard == [START]


async def test_silence_is_asked_about(rls_database: RLSDatabase) -> None:
    """A connection that a firewall has forgotten ends without a word."""
    async with hearing(rls_database, ping_interval=0.02) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(items), 0.2)
        admin = await asyncpg.connect(rls_database.database.dsn())
        last = "SELECT query FROM pg_stat_activity WHERE usename = $1 AND query = 'SELECT 1'"
        assert await admin.fetch(last, VARIABLES.runtime_role)
        await admin.close()


async def test_what_waits_is_not_given_out_after_the_end(rls_database: RLSDatabase) -> None:
    """The clock is asked when an item is handed out, not when it came in."""

    class Moved:
        ahead = 0.0

        def now(self) -> float:
            return time.time() + self.ahead

        def monotonic(self) -> float:
            return time.monotonic()

    clock = Moved()
    async with hearing(rls_database, clock=clock) as listener:
        with use_context(context_of(ALICE, expires_at=time.time() + 100)):
            items = listener.listen("notes")
            assert await anext(items) == START
            listener._topics.gap(Gap("reconnected"))
            clock.ahead = 101
            with pytest.raises(StopAsyncIteration):
                await anext(items)
            clock.ahead = 0  # a clock that is set back does not bring it back
            with pytest.raises(StopAsyncIteration):
                await anext(items)


async def test_a_lost_connection_is_opened_again_and_the_gap_is_told(
    shared: SharedWorld, rls_events: EventList
) -> None:
    """What was sent meanwhile is gone for good: the consumer has to know."""
    async with hearing(shared.rls) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
        shared.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE usename = '{VARIABLES.runtime_role}'"
        )
        with use_context(context_of(ALICE)):
            assert await anext(items) == Gap("reconnected")
        async with shared.works_for(ALICE) as handle:
            await tell(handle, "after")
        with use_context(context_of(ALICE)):
            assert await anext(items) == "after"

    assert "NOTIFY_LISTENER_LOST" in rls_events.names


@plain_only
async def test_a_slow_consumer_is_told_and_the_memory_is_bounded(shared: SharedWorld) -> None:
    """One socket that is not read must not fill the process."""
    async with hearing(shared.rls, queue_size=3) as listener:
        with use_context(context_of(ALICE)):
            slow, quick = listener.listen("notes"), listener.listen("notes")
            assert [await anext(slow), await anext(quick)] == [START, START]
        async with shared.works_for(ALICE) as handle:
            await tell(handle, *(str(number) for number in range(3)))
        with use_context(context_of(ALICE)):
            assert [await anext(quick) for _ in range(3)] == ["0", "1", "2"]
        async with shared.works_for(ALICE) as handle:
            await tell(handle, "3", "4")
        with use_context(context_of(ALICE)):
            assert [await anext(quick), await anext(quick)] == ["3", "4"]
            assert [await anext(slow), await anext(slow)] == [Gap("overflow"), "4"]


async def test_the_last_subscriber_ends_the_listening(rls_database: RLSDatabase) -> None:
    """However it leaves: closed, broken off, cancelled, forgotten."""
    async with hearing(rls_database) as listener:
        with use_context(context_of(ALICE)):
            first, second = listener.listen("notes"), listener.listen("notes")
            assert [await anext(first), await anext(second)] == [START, START]
            async with listener.listen("tasks") as tasks:
                assert await anext(tasks) == START
            async for item in listener.listen("left"):
                assert item == START
                break

            async def consume() -> None:
                async for _ in listener.listen("cancelled"):
                    pass

            task = asyncio.create_task(consume())
            marker = listener.listen("marker")
            assert await anext(marker) == START
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del task, first
            await forgotten()
            marker.close()
            later = listener.listen("later")
            assert await anext(later) == START

            seal = ChannelSeal(CHANNEL_KEYS)
            wanted = {seal.name(Topic(ALICE, name)) for name in ("notes", "later")}
            assert await channels(listener) == wanted
            del second
            await forgotten()
            later.close()
            last = listener.listen("last")
            assert await anext(last) == START
            assert await channels(listener) == {seal.name(Topic(ALICE, "last"))}


@plain_only
async def test_who_subscribes_again_at_once_misses_nothing(shared: SharedWorld) -> None:
    """LISTEN and UNLISTEN of one channel pass each other."""
    async with hearing(shared.rls) as listener:
        for turn in range(20):
            with use_context(context_of(ALICE)):
                items = listener.listen("notes")
                assert await anext(items) == START
                items.close()
                items = listener.listen("notes")
                assert await anext(items) == START
            if turn % 5 == 0:
                async with shared.works_for(ALICE) as handle:
                    await tell(handle, str(turn))
                with use_context(context_of(ALICE)):
                    assert await anext(items) == str(turn)


async def test_keys_are_changed_without_a_gap(rls_database: RLSDatabase) -> None:
    """Processes that sign with the old key and with the new one are both heard."""
    old, new = SealKey.generate(), SealKey.generate()
    ring = SealKeys([new, old])
    async with hearing(rls_database, keys=ring) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
            engine = guarded_engine(rls_database.url(), variables=VARIABLES)
            async with engine.begin() as connection:
                await notify(connection, "notes", "old", keys=SealKeys([old]))
            async with engine.begin() as connection:
                await notify(connection, "notes", "new", keys=SealKeys([new, old]))
            await engine.dispose()
            assert [await anext(items), await anext(items)] == ["old", "new"]


async def test_a_subscription_is_its_own_tenants_and_users(rls_database: RLSDatabase) -> None:
    """Handed on, by mistake or from an attribute, it says nothing."""
    async with hearing(rls_database) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
        for other in (context_of(BOB), context_of(ALICE, user_id="user-2")):
            with use_context(other), pytest.raises(RLSViolationError, match="TENANT_MISMATCH"):
                await anext(items)
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            await anext(items)
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            listener.listen("notes")


async def test_the_end_of_the_listener_ends_its_consumers(rls_database: RLSDatabase) -> None:
    """A process that stops must not hang on a loop that waits."""
    with use_context(context_of(ALICE)):
        async with hearing(rls_database) as listener:
            heard: list[object] = []

            async def consume() -> None:
                async for item in listener.listen("notes"):
                    heard.append(item)
                    began.set()

            began = asyncio.Event()
            task = asyncio.create_task(consume())
            await began.wait()
        await asyncio.wait_for(task, 5)
        with pytest.raises(ConfigError, match="does not run here"):
            listener.listen("notes")
    assert heard == [START]


async def test_the_server_must_be_there_when_it_begins(rls_database: RLSDatabase) -> None:
    """A start-up that succeeds and hears nothing is worse than one that fails."""
    wrong = rls_database.dsn.replace(rls_database.password, "wrong")

    listener = TenantListener(wrong, CHANNEL_KEYS)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="database_login_refused"):
            await listener.__aenter__()
    with pytest.raises(ConfigError):
        async with TenantListener("mysql://x", CHANNEL_KEYS):
            pass


@pytest.mark.pgbouncer
async def test_notifying_works_behind_a_transaction_pooler(
    rls_database: RLSDatabase, pgbouncer: Any
) -> None:
    """Only the listener needs the server itself."""
    pooler: PgBouncer = pgbouncer(rls_database.database, users=rls_database.users, pool_size=1)
    dsn = pooler.dsn(VARIABLES.runtime_role, rls_database.password)
    url = rls_database.url(dsn=dsn)
    engine = guarded_engine(url, variables=VARIABLES, transaction_pooler=True)
    async with hearing(rls_database) as listener:
        with use_context(context_of(ALICE)):
            items = listener.listen("notes")
            assert await anext(items) == START
            async with engine.begin() as connection:
                await tell(connection, "through the pooler")
            assert await anext(items) == "through the pooler"
    await engine.dispose()


@plain_only
async def test_what_cannot_be_sent_is_refused_before_it_is(shared: SharedWorld) -> None:
    """An error of the server would abort the whole transaction."""
    async with shared.works_for(ALICE) as handle:
        await notify(
            handle, "notes", "é" * (MAX_PAYLOAD // 2), keys=CHANNEL_KEYS, max_payload=MAX_PAYLOAD
        )
        too_long = "x" * (MAX_PAYLOAD + 1)
        for payload in ("x" * 513, too_long, "a\0b", "\ud800", 5, b"x", None):
            with pytest.raises(ConfigError):
                await notify(handle, "notes", payload, keys=CHANNEL_KEYS)  # type: ignore[arg-type]
        for channel in ("", "x" * 201, "a\nb", 7):
            with pytest.raises(ConfigError):
                await notify(handle, channel, "x", keys=CHANNEL_KEYS)  # type: ignore[arg-type]
        for limit in (0, MAX_PAYLOAD + 1, True):
            with pytest.raises(ConfigError):
                await notify(handle, "notes", "x", keys=CHANNEL_KEYS, max_payload=limit)
        with pytest.raises(ConfigError):
            await notify(handle, "notes", "x", keys="secret")  # type: ignore[arg-type]
        assert await handle.fetchval("SELECT 1") == 1


async def test_handles_of_nobody_notify_nobody(rls_database: RLSDatabase) -> None:
    """The tenant is the context's, and the handle must be guarded."""
    bare = await asyncpg.connect(rls_database.dsn)
    with use_context(context_of(ALICE)):
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            await tell(bare, "x")
        with pytest.raises(ConfigError):
            await tell("postgresql://", "x")
        with pytest.raises(ConfigError):
            notify_sync(bare, "notes", "x", keys=CHANNEL_KEYS)
    with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
        await tell(bare, "x")
    await bare.close()


@pytest.mark.parametrize(
    "options", [{"queue_size": 0}, {"queue_size": 1.5}, {"ping_interval": 0}], ids=str
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """At start-up, not at the first notification."""
    with pytest.raises(ConfigError):
        TenantListener("postgresql://db/app", CHANNEL_KEYS, **options)
