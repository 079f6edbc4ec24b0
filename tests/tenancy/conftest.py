"""Fixtures of the tenancy tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_guard.observability import subscribe
from tests.support.exchange import Events


@pytest.fixture
def events() -> Iterator[Events]:
    """Collect the test's security events."""
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()
