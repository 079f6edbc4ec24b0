"""`@require_rls` and `assert_rls_enforced`: code that cannot run for nobody."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import asyncpg
import pytest
from fastapi import Depends, FastAPI, WebSocket
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import (
    assert_rls_enforced,
    create_guarded_pool,
    guarded_engine,
    guarded_sessionmaker,
    require_rls,
    system_engine,
)
from asgi_guard.tenancy import use_context
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import ALICE, BOB, context_of

URL = "postgresql+asyncpg://u:p@127.0.0.1:1/d"
GUARDED = guarded_engine(URL)
PLAIN = create_async_engine(URL)


def test_asserting_raises_and_reports_without_a_tenant(rls_events: EventList) -> None:
    """One line at the top of whatever must never run for nobody."""
    with pytest.raises(RLSViolationError) as refused:
        assert_rls_enforced()

    assert refused.value.code == "RLS_NOT_ENFORCED"
    assert rls_events.names == ["RLS_NOT_ENFORCED"]
    assert rls_events[0].reason == "no_tenant"
    with use_context(context_of(ALICE)):
        assert_rls_enforced()


@require_rls
def plain(value: int) -> int:
    return value


@require_rls
async def coroutine(value: int) -> int:
    return value


@require_rls
def generator(value: int) -> Iterator[int]:
    yield value


@require_rls
async def async_generator(value: int) -> AsyncIterator[int]:
    yield value


class Service:
    @require_rls
    async def method(self, value: int) -> int:
        return value

    @require_rls
    @classmethod
    def of_class(cls, value: int) -> int:
        return value

    @staticmethod
    @require_rls
    def static(value: int) -> int:
        return value


class Callable_:  # noqa: N801 - a stand-in for user code
    async def __call__(self, value: int) -> int:
        return value


CALLS: dict[str, Callable[[], Any]] = {
    "function": lambda: plain(1),
    "coroutine": lambda: coroutine(1),
    "generator": lambda: next(iter(generator(1))),
    "async generator": lambda: anext(async_generator(1)),
    "method": lambda: Service().method(1),
    "classmethod": lambda: Service.of_class(1),
    "staticmethod": lambda: Service.static(1),
    "object": lambda: require_rls(Callable_())(1),
    "partial": require_rls(functools.partial(coroutine.__wrapped__, 1)),  # type: ignore[attr-defined]
    "renamed": lambda: require_rls(operation="notes.list")(plain.__wrapped__)(1),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("kind", CALLS)
async def test_every_kind_of_callable_needs_a_tenant(kind: str) -> None:
    """The one that was forgotten would be the one that leaks."""

    async def call() -> Any:
        answer = CALLS[kind]()
        return await answer if inspect.isawaitable(answer) else answer

    with pytest.raises(RLSViolationError) as refused:
        await call()
    with use_context(context_of(ALICE)):
        assert await call() == 1

    assert refused.value.code == "RLS_NOT_ENFORCED"
    assert refused.value.operation


def test_errors_carry_the_operations_name() -> None:
    """An operator sees which of a hundred handlers it was."""
    with pytest.raises(RLSViolationError) as named:
        require_rls(operation="notes.list")(lambda: None)()
    with pytest.raises(RLSViolationError) as unnamed:
        plain(1)

    assert named.value.operation == "notes.list"
    assert unnamed.value.operation == "plain"


def test_what_is_no_function_is_refused_when_decorated() -> None:
    """A decorated class would look protected and protect nothing."""
    with pytest.raises(ConfigError):
        require_rls(Service)
    with pytest.raises(ConfigError):
        require_rls("notes.list")  # type: ignore[call-overload]


def test_generators_are_checked_at_each_step() -> None:
    """A generator outlives the request that made it, and resumes in another."""

    @require_rls
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    with use_context(context_of(ALICE)):
        running = numbers()
        assert next(running) == 1
    with pytest.raises(RLSViolationError) as nobody:
        next(running)
    with use_context(context_of(ALICE)):
        running = numbers()
        next(running)
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as other:
        next(running)

    assert (nobody.value.code, other.value.code) == ("RLS_NOT_ENFORCED", "TENANT_MISMATCH")
    running.close()  # type: ignore[attr-defined]


async def test_async_generators_are_checked_at_each_step_and_take_what_is_sent() -> None:
    """Streams and yield dependencies: values, exceptions and the end go through."""
    ended = []

    @require_rls
    async def echo() -> Any:
        received: Any = "first"
        try:
            while True:
                try:
                    received = yield received
                except ValueError:
                    received = "caught"
        finally:
            ended.append(True)

    with use_context(context_of(ALICE)):
        running = echo()
        assert await anext(running) == "first"
        assert await running.asend("sent") == "sent"
        assert await running.athrow(ValueError) == "caught"
        await running.aclose()
        running = echo()
        await anext(running)
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as other:
        await anext(running)

    assert other.value.code == "TENANT_MISMATCH"
    assert ended == [True, True]


def _pool() -> asyncpg.Pool:
    return asyncpg.create_pool("postgresql://u:p@127.0.0.1:1/d", min_size=0)


UNGUARDED: dict[str, Callable[[], Any]] = {
    "engine": lambda: PLAIN,
    "sync engine": lambda: create_engine("postgresql+psycopg://u@127.0.0.1:1/d"),
    "session": lambda: AsyncSession(PLAIN),
    "sync session": lambda: Session(PLAIN.sync_engine),
    "session without an engine": AsyncSession,
    "maker": lambda: async_sessionmaker(PLAIN),
    "connection": PLAIN.connect,
    "pool": _pool,
    "system engine": lambda: system_engine(URL),
}


@pytest.mark.parametrize("kind", UNGUARDED)
async def test_an_unguarded_handle_among_the_arguments_is_refused(kind: str) -> None:
    """By position or by name: the wrong engine is one import away."""
    handle = UNGUARDED[kind]()

    @require_rls
    async def handler(*args: object, **kwargs: object) -> None:
        pytest.fail("the body ran")

    with use_context(context_of(ALICE)):
        for call in (lambda: handler(1, handle), lambda: handler(db=handle)):
            with pytest.raises(RLSViolationError) as refused:
                await call()
            assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_guarded_handles_pass() -> None:
    """A check that always fails proves nothing either."""

    @require_rls
    async def handler(*_args: object) -> int:
        return 1

    pool = create_guarded_pool("postgresql://u:p@127.0.0.1:1/d", min_size=0)
    maker = guarded_sessionmaker(GUARDED)
    with use_context(context_of(ALICE)):
        handles = (GUARDED, AsyncSession(GUARDED), maker, maker(), GUARDED.connect(), pool)
        assert await handler("text", 1, None, *handles) == 1


async def test_a_session_of_another_tenant_among_the_arguments_is_refused() -> None:
    """A cached session, a leaked dependency: guarded, and still not this tenant's."""

    @require_rls
    async def handler(db: AsyncSession) -> None:
        pytest.fail("the body ran")

    with use_context(context_of(BOB)):
        session = guarded_sessionmaker(GUARDED)()
    with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
        await handler(session)

    assert refused.value.code == "TENANT_MISMATCH"


def test_the_signature_survives() -> None:
    """Frameworks read it; a lost one makes every argument a query parameter."""

    async def handler(note_id: int, *, engine: AsyncEngine | None = None) -> str:
        """Say what it does."""
        return str(note_id)

    decorated = require_rls(handler)

    assert inspect.signature(decorated) == inspect.signature(handler, eval_str=True)
    assert (decorated.__name__, decorated.__doc__) == ("handler", "Say what it does.")
    assert inspect.iscoroutinefunction(decorated)


async def _alice() -> AsyncIterator[None]:
    with use_context(context_of(ALICE)):
        yield


@require_rls
async def _numbers() -> AsyncIterator[int]:
    yield 7


def test_fastapi_handlers_sockets_and_dependencies_work_decorated() -> None:
    """String annotations and all: this file has them."""
    app = FastAPI()

    @app.get("/notes/{note_id}", dependencies=[Depends(_alice)])
    @require_rls(operation="notes.read")
    async def read(note_id: int, number: Annotated[int, Depends(_numbers)]) -> dict[str, int]:
        return {"note": note_id, "number": number}

    @app.get("/open")
    @require_rls
    async def unprotected() -> None:
        """Have no context."""

    @app.websocket("/live", dependencies=[Depends(_alice)])
    @require_rls
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/notes/5").json() == {"note": 5, "number": 7}
        assert client.get("/notes/x").status_code == 422
        assert client.get("/open").status_code == 500
        with client.websocket_connect("/live") as socket:
            assert socket.receive_text() == "hello"
