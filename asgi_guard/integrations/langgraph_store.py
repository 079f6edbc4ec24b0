"""LangGraph: a long-term store, and a cache of node results, with each owner in their own part.

Needs the ``langgraph`` extra. Checkpoints are in `asgi_guard.integrations.langgraph`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError, ContextContaminationError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.current import require_context
from asgi_guard.tenancy.ownership import OwnedBy, check_owned_by, owner_label
from asgi_guard.tenancy.reporting import report

require_extra("langgraph.checkpoint", feature=__name__, extra="langgraph")

from langgraph.cache.base import BaseCache, FullKey, Namespace  # noqa: E402 - named first
from langgraph.store.base import (  # noqa: E402 - as above
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
)

__all__ = ["OwnedNodeCache", "OwnedStore"]

_STORE: Final = "langgraph.store"
_CACHE: Final = "langgraph.cache"

I = TypeVar("I", bound=Item)  # noqa: E741 - an item


class OwnedStore(BaseStore):
    """Any LangGraph store, with each namespace inside its owner's own.

    The same namespace in the hands of two users is two namespaces. Searches, with the empty
    prefix too, and listings find the caller's own items only; what the inner store gives of
    others is an error and not an answer.

    Args:
        inner: The store that keeps; set it up first.
        owned_by: ``"user"``: items are of one user; ``"tenant"``: all users of a tenant share
            them.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *inner* is no store, or *owned_by* is unknown.
    """

    def __init__(
        self, inner: BaseStore, *, owned_by: OwnedBy = "user", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if not isinstance(inner, BaseStore):
            raise ConfigError(
                "OwnedStore(inner)",
                f"a {type(inner).__name__} is no store",
                "Pass a BaseStore, e.g. InMemoryStore().",
            )
        check_owned_by("OwnedStore(owned_by)", owned_by)
        self._inner = inner
        self._owned_by = owned_by
        self._clock = clock
        self.supports_ttl = inner.supports_ttl
        self.ttl_config = inner.ttl_config

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run *ops* in the caller's own part of the store."""
        label = self._label()
        return _results(self._inner.batch([_inwards(op, label) for op in ops]), label)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run *ops* in the caller's own part of the store."""
        label = self._label()
        return _results(await self._inner.abatch([_inwards(op, label) for op in ops]), label)

    def _label(self) -> str:
        return owner_label(require_context(_STORE, clock=self._clock), self._owned_by)


class OwnedNodeCache(BaseCache[Any]):
    """Any LangGraph cache of node results, with each owner's results apart.

    A node's results are found by its input. Without this, the second tenant that sends the same
    input gets the first one's result, and the node does not run.

    Args:
        inner: The cache that keeps.
        owned_by: ``"user"`` or ``"tenant"``.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *inner* is no cache, or *owned_by* is unknown.
    """

    def __init__(
        self, inner: BaseCache[Any], *, owned_by: OwnedBy = "user", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if not isinstance(inner, BaseCache):
            raise ConfigError(
                "OwnedNodeCache(inner)",
                f"a {type(inner).__name__} is no cache",
                "Pass a BaseCache, e.g. InMemoryCache().",
            )
        check_owned_by("OwnedNodeCache(owned_by)", owned_by)
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._owned_by = owned_by
        self._clock = clock

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return what the caller has under *keys*."""
        label = self._label()
        return _keys_outwards(self._inner.get(_keys_inwards(keys, label)))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return what the caller has under *keys*."""
        label = self._label()
        return _keys_outwards(await self._inner.aget(_keys_inwards(keys, label)))

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep *pairs* for the caller."""
        label = self._label()
        self._inner.set({_key_inwards(key, label): value for key, value in pairs.items()})

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep *pairs* for the caller."""
        label = self._label()
        await self._inner.aset({_key_inwards(key, label): value for key, value in pairs.items()})

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Drop the caller's entries in *namespaces*; name them, since all would be everybody's.

        Raises:
            ConfigError: No namespace is named.
        """
        self._inner.clear(_named(namespaces, self._label()))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Drop the caller's entries in *namespaces*; name them, since all would be everybody's.

        Raises:
            ConfigError: No namespace is named.
        """
        await self._inner.aclear(_named(namespaces, self._label()))

    def _label(self) -> str:
        return owner_label(require_context(_CACHE, clock=self._clock), self._owned_by)


def _inwards(op: Op, label: str) -> Op:
    if isinstance(op, GetOp | PutOp):
        return op._replace(namespace=(label, *op.namespace))
    if isinstance(op, SearchOp):
        return op._replace(namespace_prefix=(label, *op.namespace_prefix))
    if isinstance(op, ListNamespacesOp):
        own = MatchCondition(match_type="prefix", path=(label,))
        asked = (_condition(each, label) for each in op.match_conditions or ())
        depth = None if op.max_depth is None else op.max_depth + 1
        return op._replace(match_conditions=(own, *asked), max_depth=depth)
    raise ConfigError(
        "OwnedStore", f"{type(op).__name__} is unknown", "Use the operations of BaseStore."
    )


def _condition(condition: MatchCondition, label: str) -> MatchCondition:
    if condition.match_type == "prefix":
        return MatchCondition(match_type="prefix", path=(label, *condition.path))
    return condition


def _results(results: list[Result], label: str) -> list[Result]:
    return [_outwards(each, label) for each in results]


def _outwards(result: Any, label: str) -> Any:
    if isinstance(result, list):
        return [_outwards(each, label) for each in result]
    if isinstance(result, tuple):
        return _namespace_outwards(result, label)
    return _item(result, label) if isinstance(result, Item) else result


def _item(item: I, label: str) -> I:
    plain = copy.copy(item)  # the inner store may keep the object that it gave
    plain.namespace = _namespace_outwards(tuple(item.namespace), label)
    return plain


def _namespace_outwards(namespace: tuple[str, ...], label: str) -> tuple[str, ...]:
    if namespace[:1] != (label,):
        report(ContextContaminationError.code, reason="item_of_another", operation=_STORE)
        raise ContextContaminationError(
            _STORE,
            "the store gave what is another user's",
            remedy="Use a store that keeps to the namespace it is asked for.",
        )
    return namespace[1:]


def _key_inwards(key: FullKey, label: str) -> FullKey:
    namespace, name = key
    return ((label, *namespace), name)


def _keys_inwards(keys: Sequence[FullKey], label: str) -> list[FullKey]:
    return [_key_inwards(key, label) for key in keys]


def _keys_outwards(found: Mapping[FullKey, Any]) -> dict[FullKey, Any]:
    return {(namespace[1:], name): value for (namespace, name), value in found.items()}


def _named(namespaces: Sequence[Namespace] | None, label: str) -> list[Namespace]:
    if namespaces is None:
        raise ConfigError(
            "OwnedNodeCache.clear(namespaces)",
            "is missing, which would mean everybody's",
            "Name the namespaces.",
        )
    return [(label, *each) for each in namespaces]
