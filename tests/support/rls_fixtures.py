"""Fixtures for everything that needs a database with tenants in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_guard._internal.events import subscribe
from asgi_guard.protocols import SecurityEvent
from asgi_guard.testing import PostgresServer
from asgi_guard.testing.plugin import TemplateFactory
from tests.support.rls_schema import RLSDatabase, fill

__all__ = ["EventList", "rls_database", "rls_events", "rls_template"]


class EventList(list[SecurityEvent]):
    """A reader of the event stream that keeps what it reads."""

    def emit(self, event: SecurityEvent) -> None:
        self.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self]


@pytest.fixture
def rls_events() -> Iterator[EventList]:
    """Collect the test's security events."""
    kept = EventList()
    unsubscribe = subscribe(kept)
    yield kept
    unsubscribe()


@pytest.fixture(scope="session")
def rls_template(postgres_template_factory: TemplateFactory) -> str:
    """Name the template of `rls_database`."""
    return postgres_template_factory(fill)


@pytest.fixture
def rls_database(postgres_server: PostgresServer, rls_template: str) -> Iterator[RLSDatabase]:
    """Give the test its own database with a hundred tenants."""
    name = f"{rls_template}_copy"
    try:
        yield RLSDatabase(postgres_server.create_database(name, rls_template))
    finally:
        postgres_server.drop_database(name)
