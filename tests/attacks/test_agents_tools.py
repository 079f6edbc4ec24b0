"""Tools, caches and vector stores of agents: what is a user's stays theirs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from asgi_guard.errors import (
    ConfigError,
    ContextContaminationError,
    ContextExpiredError,
    ContextMissingError,
    ExpansionError,
    InsufficientScopeError,
    RLSViolationError,
)
from asgi_guard.integrations.tools import tenant_tool
from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import ExecutionState, TenantCache, require_context, use_context
from asgi_guard.tenancy.ownership import owner_label
from tests.support.agents_people import alice, bob, carol
from tests.support.rls_fixtures import EventList, rls_database, rls_events, rls_template
from tests.support.rls_schema import ALICE, NOTES_EACH, VARIABLES, RLSDatabase, context_of

__all__ = ["rls_database", "rls_events", "rls_template"]

COUNT = text("SELECT count(*) FROM notes")


class Hand:
    """A clock that is moved by hand."""

    time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


async def test_a_tool_runs_for_its_user_with_the_scopes_it_names() -> None:
    """A tool that was talked into something else has nothing to do it with."""

    @tenant_tool("notes.search", scopes={"notes:read"})
    async def search() -> tuple[str, list[str], list[str]]:
        context = require_context("inside")
        with pytest.raises(ExpansionError):
            context.child("more", scopes={"notes:write"})
        return context.operation, sorted(context.scopes), sorted(context.roles)

    with use_context(alice(scopes={"notes:read", "notes:write"}, roles={"admin"})):
        assert await search() == ("notes.search", ["notes:read"], [])
        assert require_context("after").scopes == {"notes:read", "notes:write"}


def test_a_tool_without_its_context_or_scopes_does_not_run(rls_events: EventList) -> None:
    """Whoever calls the function by another way than the agent is stopped as well."""
    ran = []

    @tenant_tool("notes.search", scopes={"notes:read"})
    def search() -> None:
        ran.append(1)

    with pytest.raises(ContextMissingError):
        search()
    with use_context(alice(expires_at=1.0)), pytest.raises(ContextExpiredError):
        search()
    with use_context(alice(scopes={"notes:write"})), pytest.raises(InsufficientScopeError):
        search()
    assert ran == []
    assert rls_events.names == ["AGENT_ACCESS_REFUSED"]


@pytest.mark.postgres
async def test_a_tool_gets_a_session_of_its_own_that_models_do_not_see(
    rls_database: RLSDatabase,
) -> None:
    """The model writes the arguments: it must neither see nor pass the session."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES)

    @tenant_tool("notes.count", database=engine)
    async def count(words: str, *, session: AsyncSession) -> int:
        return int(await session.scalar(COUNT) or 0)

    assert list(inspect.signature(count).parameters) == ["words"]
    assert set(typing.get_type_hints(count)) == {"words", "return"}
    with use_context(context_of(ALICE)):
        assert await count("x") == NOTES_EACH
        with pytest.raises(TypeError):
            await count("x", session=None)
        assert set(await asyncio.gather(count("x"), count("y"))) == {NOTES_EACH}
    await engine.dispose()


@pytest.mark.postgres
def test_a_sync_tool_gets_a_sync_session(rls_database: RLSDatabase) -> None:
    """Sync tools run in threads of their frameworks."""
    engine = guarded_engine(rls_database.url("psycopg"), variables=VARIABLES)

    @tenant_tool("notes.count", database=engine)
    def count(*, session: Session) -> int:
        return int(session.scalar(COUNT) or 0)

    @tenant_tool("notes.leak", database=engine)
    def leak(*, session: Session) -> Any:
        return {"rows": [session.execute(COUNT)]}

    with use_context(context_of(ALICE)):
        assert count() == NOTES_EACH
        with pytest.raises(ContextContaminationError):
            leak()
    engine.dispose()


async def _coroutine() -> int:
    return 1


@pytest.mark.parametrize(
    "live",
    [
        Session,
        lambda: create_engine("sqlite://"),
        lambda: [{"deep": (Session(),)}],
        lambda: (number for number in range(3)),
        lambda: ExecutionState.open("run"),
        lambda: {"context": require_context("tool")},
        _coroutine,
    ],
    ids=["session", "engine", "nested", "generator", "state", "context", "coroutine"],
)
def test_a_tool_returns_data_and_nothing_that_lives_on(
    live: Callable[[], Any], rls_events: EventList
) -> None:
    """A handle in a result is used after the call, by whoever holds the result then."""

    @tenant_tool("notes.leak")
    def leak() -> Any:
        return live()

    with use_context(alice()), pytest.raises(ContextContaminationError):
        leak()
    assert rls_events.names == ["CONTEXT_CONTAMINATION"]


class AsyncCallable:
    async def __call__(self, a: int) -> str:
        return f"{a} of {require_context('call').user_id} in {require_context('call').operation}"


async def test_objects_methods_and_partials_are_tools_too() -> None:
    """Frameworks take any callable."""

    class Service:
        @tenant_tool("method")
        def double(self, a: int) -> int:
            return 2 * a

    tool = tenant_tool("object")(AsyncCallable())
    added = tenant_tool("partial")(functools.partial(lambda a, b: a + b, 1))
    with use_context(alice()):
        assert await tool(3) == "3 of alice in object"
        assert Service().double(a=2) == 4
        assert added(2) == 3
    with pytest.raises(ContextMissingError):
        added(2)


def test_a_tool_takes_no_unguarded_handle() -> None:
    """As with `require_rls`."""

    @tenant_tool("notes.count")
    def count(session: Session) -> None:
        raise AssertionError

    with use_context(alice()), pytest.raises(RLSViolationError):
        count(Session())


def test_a_cache_has_no_hit_of_another() -> None:
    """The same question of two tenants has two answers."""
    cache = TenantCache()
    calls: list[str] = []

    @cache.cached
    def rows(question: object) -> str:
        calls.append(require_context("rows").user_id)
        return f"{question} of {calls[-1]}"

    for who in (alice(), bob(), carol(), alice(), bob()):
        with use_context(who):
            assert rows("same") == f"same of {who.user_id}"
    assert calls == ["alice", "bob", "carol"]
    with pytest.raises(ContextMissingError):
        rows("same")
    with use_context(alice()):
        assert rows(1) == "1 of alice"
        assert rows(True) == "True of alice", "an equal key of another type"


def test_control_a_usual_cache_hands_the_first_answer_to_everybody() -> None:
    """Negative control."""

    @functools.lru_cache
    def rows(question: str) -> str:
        return f"{question} of {require_context('rows').user_id}"

    with use_context(alice()):
        rows("same")
    with use_context(bob()):
        assert rows("same") == "same of alice"


async def test_an_async_cache_keeps_answers_for_who_asked() -> None:
    """Two users ask at the same moment; the loop goes back and forth between them."""
    cache = TenantCache(owned_by="tenant")

    @cache.cached
    async def rows(question: str) -> str:
        await asyncio.sleep(0)
        return f"{question} of {require_context('rows').tenant_id}"

    async def ask(who: Any) -> str:
        with use_context(who):
            return await rows("same")

    answers = await asyncio.gather(*(ask(who) for who in (alice(), bob(), carol())))
    assert answers == [f"same of {who.tenant_id}" for who in (alice(), bob(), carol())]


def test_a_narrowed_context_does_not_find_what_a_wider_one_read() -> None:
    """A tool without a scope must not get by the cache what it may not read."""
    cache = TenantCache()
    wide = alice(scopes={"salaries"})
    with use_context(wide):
        cache.set("report", "with salaries")
    with use_context(wide.child("tool", scopes=())):
        assert cache.get("report") is None


def test_a_cache_is_bounded_by_owner_ends_and_is_invalidated() -> None:
    """One tenant's flood pushes out its own entries; a revocation takes effect at once."""
    clock = Hand()
    cache = TenantCache(ttl=60, max_entries=3, max_owners=2, clock=clock)
    with use_context(bob()):
        cache.set("mine", 1)
    with use_context(alice()):
        for number in range(100):
            cache.set(number, number)
        assert [cache.get(n) for n in (96, 97, 98, 99)] == [None, 97, 98, 99]
        cache.delete(99)
        assert cache.get(99) is None
    with use_context(bob()):
        assert cache.get("mine") == 1
        clock.time += 60
        assert cache.get("mine", "gone") == "gone"
        cache.set("mine", 2)
    assert cache.invalidate(tenant_id=bob().tenant_id) == 1
    assert cache.invalidate() == 2
    for who in (alice(), carol(), bob()):
        with use_context(who):
            cache.set("k", who.user_id)
    with use_context(alice()):
        assert cache.get("k") is None, "the owner not seen for longest goes first"


def test_an_answer_computed_before_an_invalidation_is_not_kept() -> None:
    """Else a revocation that comes during the computation is lost."""
    cache = TenantCache()
    rights = ["admin"]

    @cache.cached
    def read() -> str:
        before = rights[0]
        if rights.pop() == "admin":
            rights.append("none")
            cache.invalidate()
        else:
            rights.append("none")
        return before

    with use_context(alice()):
        assert [read(), read(), read()] == ["admin", "none", "none"]


def test_labels_are_alike_in_length_and_tell_owners_apart() -> None:
    """Stores that compare prefixes must not find ``acme-2`` for ``acme``."""
    people = [
        context_of("ab", user_id="c"),
        context_of("a", user_id="bc"),
        context_of("a", user_id="b%_*.c"),
        context_of("a", user_id="\ud800"),
    ]
    labels = [owner_label(each, by) for each in people for by in ("user", "tenant")]
    assert len(set(labels)) == 6  # three users of tenant "a" share one
    assert {len(each) for each in labels} == {41}
    assert all(each.isalnum() and each.islower() for each in labels)


def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: tenant_tool(""),
        lambda: tenant_tool("x", scopes="notes:read"),
        lambda: tenant_tool("x")(_generator),
        lambda: tenant_tool("x", database=object())(lambda: None),
        lambda: TenantCache(ttl=0),
        lambda: TenantCache(max_entries=0),
        lambda: TenantCache(owned_by="all"),  # type: ignore[arg-type]
        lambda: TenantCache().cached(_generator),
    ],
    ids=["name", "scopes", "generator", "session", "ttl", "entries", "owner", "cached"],
)
def test_bad_arguments_are_refused_when_built(build: Callable[[], object]) -> None:
    """Not in the first call."""
    with pytest.raises(ConfigError):
        build()
