"""Qdrant, as a store for `asgi_guard.integrations.vectors.NamespacedVectors`.

::

    vectors = NamespacedVectors(QdrantVectors(client, "notes"))

Needs the ``qdrant`` extra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asgi_guard._internal.extras import require_extra

require_extra("qdrant_client", feature=__name__, extra="qdrant")

from qdrant_client import QdrantClient, models  # noqa: E402 - a missing extra is named first

from asgi_guard.integrations.vectors import VectorMatch, VectorRecord  # noqa: E402 - as above

__all__ = ["QdrantVectors"]


class QdrantVectors:
    """One collection of Qdrant, which exists already.

    Give ``asgi_guard_owner`` a keyword index with ``is_tenant=True``, and Qdrant keeps each
    owner's records together.

    Args:
        client: The client.
        collection: Its name.
    """

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    def add(self, records: Sequence[VectorRecord]) -> None:
        """Upsert *records*."""
        points = [
            models.PointStruct(id=each.id, vector=list(each.vector), payload=dict(each.metadata))
            for each in records
        ]
        self._client.upsert(self._collection, points)

    def query(
        self, vector: Sequence[float], *, limit: int, where: Mapping[str, Any]
    ) -> list[VectorMatch]:
        """Return the nearest records that fit *where*."""
        found = self._client.query_points(
            self._collection, query=list(vector), limit=limit, query_filter=_filter(where)
        )
        return [VectorMatch(str(each.id), each.score, each.payload or {}) for each in found.points]

    def delete(self, *, ids: Sequence[str] | None, where: Mapping[str, Any]) -> None:
        """Delete what fits *where*, among *ids* if given."""
        selected = _filter(where)
        if ids is not None:
            named = models.HasIdCondition(has_id=list(ids))
            selected = models.Filter(must=[selected, named])
        self._client.delete(self._collection, models.FilterSelector(filter=selected))


def _filter(where: Mapping[str, Any]) -> models.Filter:
    return models.Filter(
        must=[
            models.FieldCondition(key=name, match=models.MatchValue(value=value))
            for name, value in where.items()
        ]
    )
