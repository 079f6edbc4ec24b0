"""Which answers are kept out of caches."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.authentication import SimpleUser

from asgi_guard._internal.principal import SCOPE_KEY as PRINCIPAL_KEY
from asgi_guard.protocols import Principal
from asgi_guard.security_headers import (
    SecurityHeaders,
    SecurityHeadersMiddleware,
)
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.headers_client import http_scope, plain_app, request

HTML = SecurityHeaders.html()
API = SecurityHeaders.api()


@pytest.mark.parametrize(
    ("scope", "own", "expected"),
    [
        ({}, [], None),
        ({}, [("set-cookie", "a=1")], "no-store"),
        ({}, [("Set-Cookie", "a=1")], "no-store"),
        ({"headers": [("authorization", "Bearer x")]}, [], "no-store"),
        ({PRINCIPAL_KEY: Principal(user_id="u")}, [], "no-store"),
        ({"user": SimpleUser("u")}, [], "no-store"),
        (
            {},
            [("set-cookie", "a=1"), ("Cache-Control", "private, max-age=5")],
            "private, max-age=5",
        ),
    ],
)
async def test_personal_answers_are_not_stored_unless_the_app_says_how(
    scope: dict[str, Any], own: list[tuple[str, str]], expected: str | None
) -> None:
    """A cache that keeps one user's page shows it to the next (CWE-525)."""
    guarded = SecurityHeadersMiddleware(plain_app(own), policy=HTML)

    answer = await request(guarded, http_scope(**scope))

    assert answer.headers.get("cache-control") == expected


async def test_an_answer_under_a_users_context_is_not_stored() -> None:
    """Whatever authenticated the user, the bound context is proof enough."""
    app = plain_app()

    async def as_user(scope: Any, receive: Any, send: Any) -> None:
        with use_context(UserExecutionContext(tenant_id="t", user_id="u")):
            await app(scope, receive, send)

    answer = await request(SecurityHeadersMiddleware(as_user, policy=HTML))

    assert answer.headers["cache-control"] == "no-store"


async def test_a_cacheable_policy_value_yields_to_no_store_for_personal_answers() -> None:
    """``public`` for everybody must not become ``public`` for one user's page."""
    policy = HTML.replace(cache_control="public, max-age=60")
    guarded = SecurityHeadersMiddleware(plain_app(), policy=policy)
    personal = http_scope(headers=[("authorization", "Basic x")])

    assert (await request(guarded)).headers["cache-control"] == "public, max-age=60"
    assert (await request(guarded, personal)).headers["cache-control"] == "no-store"


async def test_a_cache_rule_may_replace_what_the_app_says() -> None:
    """For apps whose framework sets a careless default."""
    policy = API.replace(rules={"cache-control": "replace"})
    guarded = SecurityHeadersMiddleware(plain_app([("cache-control", "public")]), policy=policy)

    assert (await request(guarded)).headers["cache-control"] == "no-store"
