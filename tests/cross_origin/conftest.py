"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_guard.observability import subscribe
from tests.support.exchange import Events


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()
