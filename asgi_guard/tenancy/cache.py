"""TenantCache: a cache in which nobody finds what was put there for somebody else.

The usual cache is keyed by what was asked. Two tenants that ask the same question then share one
answer, and no policy in the database is ever asked.
"""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context
from asgi_guard.tenancy.ownership import OwnedBy, check_owned_by

__all__ = ["TenantCache"]

P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Final = object()


class _Owner(NamedTuple):
    tenant_id: str
    user_id: str | None
    rights: tuple[frozenset[str], frozenset[str]] | None


class _Entry(NamedTuple):
    value: Any
    expires_at: float


class TenantCache:
    """A bounded cache in memory whose every key begins with the current tenant.

    ::

        answers = TenantCache(ttl=60.0)

        @answers.cached
        async def price_list(region: str) -> list[Price]: ...

    One owner can push out its own entries only, least recently used first, until there are more
    than *max_owners* of them. Threads may share it. What is stored is not copied: treat it as
    immutable.

    Args:
        owned_by: ``"user"``: entries are of one user; ``"tenant"``: all users of a tenant share
            them.
        vary_by_rights: Keep entries of contexts with other roles or scopes apart, so that a
            narrowed context does not find what a wider one was allowed to read.
        ttl: Seconds until an entry is gone.
        max_entries: Most entries of one owner.
        max_owners: Most owners; the one that was not seen for longest is dropped whole.
        clock: Where "now" comes from.

    Raises:
        ConfigError: A number is not positive, or *owned_by* is unknown.
    """

    def __init__(
        self,
        *,
        owned_by: OwnedBy = "user",
        vary_by_rights: bool = True,
        ttl: float = 300.0,
        max_entries: int = 1_000,
        max_owners: int = 1_000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_owned_by("TenantCache(owned_by)", owned_by)
        numbers = {"ttl": ttl, "max_entries": max_entries, "max_owners": max_owners}
        for name, number in numbers.items():
            if not number > 0:
                raise ConfigError(f"TenantCache({name})", f"{number!r} is not above 0", "Raise it.")
        self._owned_by = owned_by
        self._vary_by_rights = vary_by_rights
        self._ttl = ttl
        self._max_entries = max_entries
        self._max_owners = max_owners
        self._clock = clock
        self._shelves: OrderedDict[_Owner, OrderedDict[Hashable, _Entry]] = OrderedDict()
        self._lock = threading.Lock()
        self._epoch = 0  # what was computed before an invalidation is not kept after it

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return what the current owner has under *key*, or *default*.

        Raises:
            ContextMissingError: No context is current.
        """
        return self._get(self._owner(), key, default)

    def set(self, key: Hashable, value: Any) -> None:
        """Keep *value* for the current owner.

        Raises:
            ContextMissingError: No context is current.
        """
        self._set(self._owner(), key, value)

    def delete(self, key: Hashable) -> None:
        """Drop one entry of the current owner, if it is there.

        Raises:
            ContextMissingError: No context is current.
        """
        owner = self._owner()
        with self._lock:
            self._shelves.get(owner, OrderedDict()).pop(key, None)

    def invalidate(self, *, tenant_id: str | None = None, user_id: str | None = None) -> int:
        """Drop entries whoever asks: of a tenant, of a user in all tenants, or everything.

        What tenants share (``owned_by="tenant"``) is of no user: drop it by *tenant_id* alone.

        Returns:
            How many entries are gone.
        """
        gone = 0
        with self._lock:
            self._epoch += 1
            for owner in list(self._shelves):
                if tenant_id in {None, owner.tenant_id} and user_id in {None, owner.user_id}:
                    gone += len(self._shelves.pop(owner))
        return gone

    def cached(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return *fn*, sync or async, remembering its answers for the owner who asked.

        Its arguments must be hashable. Exceptions are not remembered. Callers that ask at the
        same moment all compute.

        Raises:
            ConfigError: *fn* is a generator function, whose steps cannot be kept.
        """
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise ConfigError(
                "TenantCache.cached", f"{fn.__qualname__} is a generator", "Return a list instead."
            )
        if inspect.iscoroutinefunction(fn):

            @wraps(fn)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                # Of whoever asked: another context may be current when the answer is there.
                owner, key = self._owner(), _key(fn, args, kwargs)
                value, epoch = self._get(owner, key, _MISSING), self._epoch
                if value is _MISSING:
                    value = await fn(*args, **kwargs)
                    self._set(owner, key, value, epoch)
                return value

            return cast("Callable[P, R]", call_async)

        @wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            owner, key = self._owner(), _key(fn, args, kwargs)
            value, epoch = self._get(owner, key, _MISSING), self._epoch
            if value is _MISSING:
                value = fn(*args, **kwargs)
                if not inspect.isawaitable(value):  # a lambda around a coroutine: used up by one
                    self._set(owner, key, value, epoch)
            return cast("R", value)

        return call

    def _owner(self) -> _Owner:
        context = require_context("TenantCache", clock=self._clock)
        user_id = context.user_id if self._owned_by == "user" else None
        return _Owner(context.tenant_id, user_id, self._rights(context))

    def _rights(
        self, context: UserExecutionContext
    ) -> tuple[frozenset[str], frozenset[str]] | None:
        return (context.roles, context.scopes) if self._vary_by_rights else None

    def _get(self, owner: _Owner, key: Hashable, default: Any) -> Any:
        with self._lock:
            shelf = self._shelves.get(owner)
            entry = None if shelf is None else shelf.get(key)
            if shelf is None or entry is None:
                return default
            if self._clock.monotonic() >= entry.expires_at:
                del shelf[key]
                return default
            shelf.move_to_end(key)
            self._shelves.move_to_end(owner)
            return entry.value

    def _set(self, owner: _Owner, key: Hashable, value: Any, epoch: int | None = None) -> None:
        entry = _Entry(value, self._clock.monotonic() + self._ttl)
        with self._lock:
            if epoch not in {None, self._epoch}:
                return
            shelf = self._shelves.setdefault(owner, OrderedDict())
            shelf[key] = entry
            shelf.move_to_end(key)
            self._shelves.move_to_end(owner)
            if len(shelf) > self._max_entries:
                shelf.popitem(last=False)
            if len(self._shelves) > self._max_owners:
                self._shelves.popitem(last=False)


def _key(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    # The types as well: 1, 1.0 and True are equal keys of a dict and different questions.
    named = tuple(sorted(kwargs.items(), key=lambda item: item[0]))
    kinds = (*map(type, args), *(type(value) for _, value in named))
    return (fn, args, named, kinds)
