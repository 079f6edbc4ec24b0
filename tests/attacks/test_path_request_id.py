"""The one header whose word is taken over: in whatever case it was configured, and no other."""

from __future__ import annotations

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.stack import Guard
from tests.support.hosts_client import get
from tests.support.hosts_guard import guard_settings
from tests.support.hosts_raw import raw_app

MINE = {"x-request-id": "from-my-proxy-1", "request-id": "from-a-stranger-1"}


@pytest.mark.parametrize("name", ["x-request-id", "X-Request-ID"])
async def test_a_header_name_has_no_case(name: str) -> None:
    """Comparing it as written would quietly break the trail from the proxy's log to ours."""
    app = Guard(guard_settings(request_id_header=name)).install(raw_app([]))

    answer = await get(app, "/health", MINE)

    assert answer.header("x-request-id") == "from-my-proxy-1"


@pytest.mark.parametrize("name", ["", "x request id", "x-request-id\r\n", "x-requ\u00e9st-id"])
def test_what_is_no_header_name_is_refused_also_without_a_tenancy(name: str) -> None:
    """It could never match, and nobody would notice."""
    edge_only = {"authenticators": (), "resolver": None, "memberships": None, "public_paths": ()}

    with pytest.raises(ConfigError, match="request_id_header"):
        Guard(guard_settings(request_id_header=name, **edge_only))
