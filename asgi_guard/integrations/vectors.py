"""NamespacedVectors: a vector store in which a search finds its owner's records only.

Nearest neighbours know no tenants: a question finds whoever wrote something like it. The filter
that prevents that is put in here, and cannot be forgotten or overridden by a caller.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, ContextContaminationError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.current import require_context
from asgi_guard.tenancy.ownership import OwnedBy, check_owned_by, owner_label
from asgi_guard.tenancy.reporting import report

__all__ = ["NamespacedVectors", "VectorMatch", "VectorRecord", "VectorStore"]

_OPERATION: Final = "vectors"
_OWNER: Final = "asgi_guard_owner"
_ID: Final = "asgi_guard_id"
_RESERVED: Final = "asgi_guard_"


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """One vector to keep.

    Args:
        id: The owner's own name for it; another owner's may be the same.
        vector: Its coordinates.
        metadata: JSON values, to filter by and to give back.
    """

    id: str
    vector: Sequence[float]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorMatch:
    """One record that was found.

    Args:
        id: As it was added.
        score: The store's own measure.
        metadata: As it was added.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]


class VectorStore(Protocol):
    """What a vector database must do: keep metadata, and filter by it.

    Ids are UUIDs. *where* names metadata fields and the value that each must have.
    """

    def add(self, records: Sequence[VectorRecord]) -> None:
        """Keep *records*, in place of those with the same id."""
        ...

    def query(
        self, vector: Sequence[float], *, limit: int, where: Mapping[str, Any]
    ) -> Sequence[VectorMatch]:
        """Return the nearest records that fit *where*, best first."""
        ...

    def delete(self, *, ids: Sequence[str] | None, where: Mapping[str, Any]) -> None:
        """Delete what fits *where*; with *ids*, only those among them."""
        ...


class NamespacedVectors:
    """Any `VectorStore`, with each record kept, found and deleted for its owner only.

    ``asgi_guard_owner`` goes into each record's metadata and into each filter; the caller may name
    no field that begins with ``asgi_guard_``. Ids are made from owner and id, so that nobody
    overwrites another's record by guessing its name. What the store gives is looked at again.

    In async code: ``await asyncio.to_thread(vectors.query, vector)``, which keeps the context.

    Args:
        store: The store, e.g. ``QdrantVectors(client, "notes")``.
        owned_by: ``"tenant"``: all users of a tenant share its records; ``"user"``: each user has
            their own.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *owned_by* is unknown.
    """

    def __init__(
        self, store: VectorStore, *, owned_by: OwnedBy = "tenant", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        check_owned_by("NamespacedVectors(owned_by)", owned_by)
        self._store = store
        self._owned_by = owned_by
        self._clock = clock

    def add(self, records: Sequence[VectorRecord]) -> None:
        """Keep *records* for the current owner.

        Raises:
            ContextMissingError: No context is current.
            ConfigError: A record's metadata names a reserved field.
        """
        label = self._label()
        self._store.add([_inwards(each, label) for each in records])

    def query(
        self,
        vector: Sequence[float],
        *,
        limit: int = 10,
        where: Mapping[str, Any] | None = None,
    ) -> list[VectorMatch]:
        """Return the current owner's records nearest to *vector*, best first.

        Args:
            vector: Coordinates.
            limit: How many at most.
            where: Metadata fields, and the value that each must have.

        Raises:
            ContextMissingError: No context is current.
            ConfigError: *where* names a reserved field.
            ContextContaminationError: The store gave another owner's record.
        """
        label = self._label()
        found = self._store.query(vector, limit=limit, where=_filter(where, label))
        return [_outwards(each, label) for each in found]

    def delete(
        self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None
    ) -> None:
        """Delete records of the current owner: by *ids*, by *where*, or by both.

        Raises:
            ContextMissingError: No context is current.
            ConfigError: Neither is given, or *where* names a reserved field.
        """
        label = self._label()
        if isinstance(ids, str) or (ids is None and not where):
            raise ConfigError(
                "NamespacedVectors.delete", "names no records", "Pass a list of ids, or `where`."
            )
        inner = None if ids is None else [_inner_id(each, label) for each in ids]
        self._store.delete(ids=inner, where=_filter(where, label))

    def _label(self) -> str:
        return owner_label(require_context(_OPERATION, clock=self._clock), self._owned_by)


def _inwards(record: VectorRecord, label: str) -> VectorRecord:
    _check_fields("metadata", record.metadata)
    kept = {**record.metadata, _OWNER: label, _ID: record.id}
    return VectorRecord(_inner_id(record.id, label), record.vector, kept)


def _inner_id(name: str, label: str) -> str:
    digest = hashlib.blake2b(f"{label}{name}".encode("utf-8", "surrogatepass"), digest_size=16)
    return str(uuid.UUID(bytes=digest.digest()))  # Qdrant takes UUIDs and integers only


def _filter(where: Mapping[str, Any] | None, label: str) -> dict[str, Any]:
    asked = dict(where or {})
    _check_fields("where", asked)
    return {**asked, _OWNER: label}


def _check_fields(setting: str, fields: Mapping[str, Any]) -> None:
    for name in fields:
        if not isinstance(name, str) or name.startswith(_RESERVED):
            raise ConfigError(
                f"NamespacedVectors({setting})",
                f"names the reserved field {name!r}",
                "Leave it out: the owner comes from the context.",
            )


def _outwards(match: VectorMatch, label: str) -> VectorMatch:
    if match.metadata.get(_OWNER) != label:
        report(ContextContaminationError.code, reason="vector_of_another", operation=_OPERATION)
        raise ContextContaminationError(
            _OPERATION,
            "the vector store gave another owner's record",
            remedy="Use a store that keeps to its filter.",
        )
    plain = {k: v for k, v in match.metadata.items() if not k.startswith(_RESERVED)}
    return VectorMatch(str(match.metadata[_ID]), match.score, plain)
