"""One vector collection for everybody: nearest is whoever wrote something alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from asgi_guard.errors import ConfigError, ContextContaminationError, ContextMissingError
from asgi_guard.integrations.qdrant import QdrantVectors
from asgi_guard.integrations.vectors import (
    NamespacedVectors,
    VectorMatch,
    VectorRecord,
    VectorStore,
)
from asgi_guard.tenancy import use_context
from asgi_guard.tenancy.ownership import owner_label
from tests.support.agents_people import alice, bob, carol

HERE = [1.0, 0.0]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    made = QdrantClient(":memory:")
    made.create_collection("notes", models.VectorParams(size=2, distance=models.Distance.COSINE))
    yield made
    made.close()


@pytest.fixture
def vectors(client: QdrantClient) -> NamespacedVectors:
    made = NamespacedVectors(QdrantVectors(client, "notes"))
    for who in (alice(), bob()):
        with use_context(who):
            made.add([VectorRecord("1", HERE, {"text": f"of {who.user_id}", "kind": "note"})])
    return made


def test_a_search_finds_ones_own_records_only(
    vectors: NamespacedVectors, client: QdrantClient
) -> None:
    """The same vector, the same id, two tenants."""
    for who in (alice(), bob()):
        with use_context(who):
            (found,) = vectors.query(HERE, limit=50)
            assert (found.id, found.metadata) == (
                "1",
                {"text": f"of {who.user_id}", "kind": "note"},
            )
            assert vectors.query(HERE, where={"kind": "mail"}) == []
    with use_context(carol()):
        assert [each.metadata["text"] for each in vectors.query(HERE)] == ["of alice"]
    with pytest.raises(ContextMissingError):
        vectors.query(HERE)

    bare = client.query_points("notes", query=HERE, limit=50).points
    assert len(bare) == 2, "negative control: without the filter both are found"


def test_nobody_names_another_owner(vectors: NamespacedVectors) -> None:
    """The filter and the metadata come from callers, and from models."""
    field = {"asgi_guard_owner": owner_label(alice(), "tenant")}
    with use_context(bob()):
        for attempt in (
            lambda: vectors.query(HERE, where=field),
            lambda: vectors.add([VectorRecord("2", HERE, field)]),
            lambda: vectors.delete(where=field),
            lambda: vectors.delete(["1"], where=field),
            lambda: vectors.query(HERE, where={"asgi_guard_id": "1"}),
            vectors.delete,
            lambda: vectors.delete("1"),
        ):
            with pytest.raises(ConfigError):
                attempt()


def test_writing_and_deleting_touch_ones_own_records_only(vectors: NamespacedVectors) -> None:
    """An upsert under a guessed id must not replace another's record, nor a deletion take it."""
    with use_context(bob()):
        vectors.add([VectorRecord("1", HERE, {"text": "planted"})])
        vectors.delete(["1"])
        vectors.delete(where={"kind": "note"})
        assert vectors.query(HERE) == []
    with use_context(alice()):
        assert [each.metadata["text"] for each in vectors.query(HERE)] == ["of alice"]
        vectors.delete(["1"], where={"kind": "mail"})
        assert len(vectors.query(HERE)) == 1


def test_records_may_be_a_users_own(client: QdrantClient) -> None:
    """Two users of one tenant."""
    vectors = NamespacedVectors(QdrantVectors(client, "notes"), owned_by="user")
    with use_context(alice()):
        vectors.add([VectorRecord("1", HERE)])
    with use_context(carol()):
        assert vectors.query(HERE) == []


class Leaky:
    """A store that ignores its filter."""

    def __init__(self) -> None:
        self.kept: list[VectorRecord] = []

    def add(self, records: Any) -> None:
        self.kept += records

    def query(self, vector: Any, *, limit: int, where: Any) -> list[VectorMatch]:
        return [VectorMatch(each.id, 1.0, each.metadata) for each in self.kept]

    def delete(self, *, ids: Any, where: Any) -> None:
        self.kept.clear()


def test_a_store_that_ignores_its_filter_is_not_believed() -> None:
    """Negative control: what comes back is looked at as well."""
    store: VectorStore = Leaky()
    vectors = NamespacedVectors(store)
    with use_context(alice()):
        vectors.add([VectorRecord("1", HERE)])
    with use_context(bob()), pytest.raises(ContextContaminationError):
        vectors.query(HERE)


def test_bad_arguments_are_refused_when_built() -> None:
    """Not in the first request."""
    with pytest.raises(ConfigError):
        NamespacedVectors(Leaky(), owned_by="all")  # type: ignore[arg-type]
