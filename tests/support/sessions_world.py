"""Sessions on a store that counts, breaks, or stops between any two of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions import IssuedSession, SessionLimits, SessionService
from asgi_guard.errors import AuthenticationError, UnavailableError
from asgi_guard.protocols import KeyValueStore
from tests.support.headers_clock import MovedClock
from tests.support.tenancy_world import ACME, GLOBEX, Directory

__all__ = [
    "WRITES",
    "CountingStore",
    "Race",
    "SteppedStore",
    "World",
    "alive",
    "every_order",
    "run_now",
    "world",
]

T = TypeVar("T")
WRITES = ("put", "put_if_absent", "replace", "take", "delete")


class CountingStore:
    """Passes on to another store, counts what it is asked, and breaks when told to."""

    def __init__(self, inner: KeyValueStore) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.values: list[bytes] = []
        self.keys: set[str] = set()
        self.broken: Exception | None = None

    async def _pass(self, name: str, key: str, *values: bytes, **options: Any) -> Any:
        self.calls[name] += 1
        self.keys.add(key)
        self.values.extend(values)
        if self.broken is not None:
            raise self.broken
        return await getattr(self.inner, name)(key, *values, **options)

    @property
    def writes(self) -> int:
        return sum(self.calls[name] for name in WRITES)

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await self._pass("get", key)
        return found

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.calls["get_many"] += 1
        if self.broken is not None:
            raise self.broken
        return await self.inner.get_many(keys)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._pass("put", key, value, ttl=ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        return bool(await self._pass("put_if_absent", key, value, ttl=ttl))

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        return bool(await self._pass("replace", key, old, new, ttl=ttl))

    async def take(self, key: str) -> bytes | None:
        found: bytes | None = await self._pass("take", key)
        return found

    async def delete(self, key: str) -> bool:
        return bool(await self._pass("delete", key))


class _Pause:
    """Stops a coroutine until it is driven on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppedStore(CountingStore):
    """Stops before each operation, while *stepping*, so that a test decides who goes next.

    Not at lists and kept data, which decide nothing about who is let in.
    """

    stepping = False
    _decisive = ("session:", "session-end:")

    async def _pass(self, name: str, key: str, *values: bytes, **options: Any) -> Any:
        if self.stepping and key.startswith(self._decisive):
            await _Pause()
        return await super()._pass(name, key, *values, **options)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self.stepping and keys and keys[0].startswith(self._decisive):
            await _Pause()
        return await super().get_many(keys)


@dataclass
class World:
    """A service, its store and clock, and who is a member of what."""

    sessions: SessionService
    store: CountingStore
    clock: MovedClock
    members: Directory

    async def login(self, **changes: Any) -> IssuedSession:
        """Let alice in."""
        return await self.sessions.create(**{"user_id": "alice", "tenant_id": ACME, **changes})


def world(
    inner: KeyValueStore | None = None,
    *,
    clock: MovedClock | None = None,
    kind: type[CountingStore] = CountingStore,
    service: type[SessionService] = SessionService,
    **limits: Any,
) -> World:
    """Build a service on a store in memory, or on *inner*."""
    clock = clock or MovedClock()
    store = kind(inner or MemoryStore(clock=clock))
    members = Directory(("alice", ACME), ("alice", GLOBEX))
    sessions = service(store, limits=SessionLimits(**limits), memberships=members, clock=clock)
    return World(sessions, store, clock, members)


async def alive(sessions: SessionService, sid: Any) -> bool:
    """Tell whether *sid* opens a session."""
    try:
        await sessions.judge(sid)
    except AuthenticationError:
        return False
    return True


def run_now(work: Awaitable[T]) -> T:
    """Run *work*, which waits for nothing, to its end."""
    steps = work.__await__()
    try:
        while True:
            next(steps)
    except StopIteration as done:
        result: T = done.value
        return result


@dataclass
class Race:
    """What came of one order of events: a result or an error for each of the contenders."""

    order: tuple[int, ...]
    results: list[Any] = field(default_factory=list)


Setting = tuple[World, list[Awaitable[Any]]]


def every_order(
    make: Callable[[], Setting], *, between: Callable[[World], None] | None = None
) -> Iterator[tuple[World, Race]]:
    """Run what *make* makes in every order in which the contenders' steps can happen.

    Args:
        make: Makes a fresh world, with a `SteppedStore`, and the contenders.
        between: Called after every step of anybody, for what must hold at each moment.
    """
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        prefix = waiting.pop()
        made, contenders = make()
        race, branches = _drive(made, contenders, prefix, between)
        waiting.extend(branches)
        yield made, race


def _drive(
    made: World,
    contenders: list[Awaitable[Any]],
    prefix: tuple[int, ...],
    between: Callable[[World], None] | None,
) -> tuple[Race, list[tuple[int, ...]]]:
    running = {number: each.__await__() for number, each in enumerate(contenders)}
    results: list[Any] = [None] * len(contenders)
    order: list[int] = []
    branches: list[tuple[int, ...]] = []
    while running:
        place = len(order)
        choice = prefix[place] if place < len(prefix) else min(running)
        if place >= len(prefix):
            branches += [(*order, other) for other in running if other != choice]
        order.append(choice)
        _step(made, running, choice, results)
        if between is not None:
            between(made)
    return Race(tuple(order), results), branches


def _step(made: World, running: dict[int, Any], choice: int, results: list[Any]) -> None:
    store = made.store
    store.stepping = True  # type: ignore[attr-defined]
    try:
        next(running[choice])
    except StopIteration as done:
        results[choice] = done.value
        del running[choice]
    except (AuthenticationError, UnavailableError) as error:
        results[choice] = error
        del running[choice]
    finally:
        store.stepping = False  # type: ignore[attr-defined]
