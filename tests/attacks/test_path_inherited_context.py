"""A request that begins inside another's context, as pipelined ones do, is nobody's until proven.

Not only the app: a refusal by an outer layer, its headers and its event must not be the other
tenant's either.
"""

from __future__ import annotations

import pytest

from asgi_guard.cors import CORSPolicy
from asgi_guard.observability import subscribe
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.stack import Guard
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.exchange import Events
from tests.support.hosts_client import get
from tests.support.hosts_guard import GLOBEX, guard_settings
from tests.support.hosts_starlette import starlette_app

THEIRS = SecurityHeaders.api().allowing({"connect-src": ["https://globex-internal.example"]})
REFUSALS = {
    "a page of another site": {"sec-fetch-site": "cross-site", "cookie": "a=b"},
    "a bad credential": {"authorization": "Bearer -"},
    "an ambiguous origin": {"origin": "null"},
    "no credential": {},
}


@pytest.mark.parametrize("headers", REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_shows_nothing_of_the_tenant_whose_request_came_before(
    headers: dict[str, str],
) -> None:
    """A stranger on the same connection, e.g. of one proxy, would learn whose turn it just was."""
    settings = guard_settings(
        security_headers_tenants={GLOBEX: THEIRS}, cors=CORSPolicy(allow_origins=[])
    )
    app = Guard(settings).install(starlette_app([]))
    sink = Events()
    unsubscribe = subscribe(sink)

    with use_context(UserExecutionContext(tenant_id=GLOBEX, user_id="bob")):
        answer = await get(app, "/whoami", headers)
    unsubscribe()

    assert answer.status in {401, 403}
    assert "globex" not in str(answer.headers)
    assert sink.seen
    assert all(event.tenant_id is None and event.user_id is None for event in sink.seen)
