"""FastAPI's own documentation pages under the docs preset, and under no other."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware
from tests.support.headers_client import Answer, http_scope, request
from tests.support.headers_csp_match import blocked_by

PAGES = ("/docs", "/redoc", "/docs/oauth2-redirect")


async def served(app: Any, path: str) -> Answer:
    answer = await request(app, http_scope(path))
    assert answer.status == 200
    return answer


async def pages_of(app: FastAPI) -> list[str]:
    return [(await served(app, path)).body.decode() for path in PAGES]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("hashed", [False, True])
async def test_swagger_and_redoc_load_and_run_all_they_need(path: str, *, hashed: bool) -> None:
    """A documentation page that stays white is where teams switch the policy off."""
    app = FastAPI(title="Notes")
    docs = SecurityHeaders.docs(pages=await pages_of(app) if hashed else ())
    routes = {"/docs/*": docs, "/redoc": docs}
    guarded = SecurityHeadersMiddleware(app, policy=SecurityHeaders.api(), routes=routes)

    answer = await served(guarded, path)

    policy = answer.headers["content-security-policy"]
    assert blocked_by(policy, answer.body.decode()) == []
    script_src = next(each for each in policy.split("; ") if each.startswith("script-src"))
    assert ("'unsafe-inline'" in script_src) is not hashed
    assert "cross-origin-opener-policy" not in answer.headers  # the sign-in popup answers back


@pytest.mark.parametrize("policy", [SecurityHeaders.api(), SecurityHeaders.html()])
async def test_the_matcher_sees_the_pages_break_under_the_strict_presets(
    policy: SecurityHeaders,
) -> None:
    """Negative control: a matcher that lets everything through would prove nothing."""
    answer = await served(SecurityHeadersMiddleware(FastAPI(), policy=policy), "/docs")

    blocked = blocked_by(answer.headers["content-security-policy"], answer.body.decode())

    assert "script-src inline" in blocked
    assert any("swagger-ui-bundle.js" in each for each in blocked)


async def test_with_hashes_an_injected_script_does_not_run() -> None:
    """A title or description from elsewhere may carry one."""
    app = FastAPI()
    docs = SecurityHeaders.docs(pages=await pages_of(app))
    policy = docs.rendered.https.dress((), scope={"headers": ()}, status=200, nonce=None)
    sent = dict(policy)[b"content-security-policy"].decode()

    assert blocked_by(sent, "<script>steal()</script>") == ["script-src inline"]
