"""``asgi-guard login`` with a real browser: it keeps the cookie of the link, and brings it back."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.cli.login_loopback import loopback_login
from asgi_guard.cli.login_server import discover
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.login_server import running_provider

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_a_person_comes_back_from_the_server_with_the_cookie_of_the_link(page: Any) -> None:
    """From loopback to another site and back again, by redirects alone."""
    fetch = HTTPXFetch(allow_addresses=["127.0.0.0/8"], insecure_allow_http=True)
    with running_provider(host="localhost") as provider:
        at = await discover(provider.issuer, fetch=fetch, allow_http=True)

        tokens = await loopback_login(at, client_id="cli", scope="notes:read", show=page.goto)

    assert tokens.access_token.startswith("access-")
    assert "You may close" in await page.content()
