"""What independent graders say of the presets: Google's csp_evaluator, Mozilla's Observatory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from asgi_guard.security_headers import (
    ContentSecurityPolicy,
    SecurityHeaders,
    SecurityHeadersMiddleware,
    csp_nonce,
)
from tests.support.headers_client import http_scope, plain_app, request
from tests.support.headers_node import installed_graders, run_grader
from tests.support.headers_tls import https_localhost

pytestmark = pytest.mark.timeout(400)  # the first run installs the graders


@pytest.fixture(scope="module")
def graders() -> Path:
    return installed_graders()


async def sent_policy(policy: SecurityHeaders, before: Any = id) -> str:
    guarded = SecurityHeadersMiddleware(plain_app(before=before), policy=policy)
    headers = (await request(guarded, http_scope())).headers
    return headers["content-security-policy"]


@pytest.mark.parametrize(
    ("policy", "before"),
    [
        (SecurityHeaders.api(), id),
        (SecurityHeaders.html(), id),
        (SecurityHeaders.html(), csp_nonce),
        (SecurityHeaders.html(report_to="/csp-reports", trusted_types=True), csp_nonce),
    ],
)
async def test_csp_evaluator_finds_nothing(
    graders: Path, policy: SecurityHeaders, before: Any
) -> None:
    """It knows the bypasses that have been found in practice."""
    findings = await run_grader(graders, "evaluate.mjs", await sent_policy(policy, before))

    assert findings == []


async def test_csp_evaluator_finds_a_weak_policy(graders: Path) -> None:
    """Negative control: a grader that finds nothing anywhere proves nothing."""
    weak = ContentSecurityPolicy.parse("script-src 'self' 'unsafe-inline'")
    policy = SecurityHeaders.html().replace(content_security_policy=weak)

    findings = await run_grader(graders, "evaluate.mjs", await sent_policy(policy))

    assert {each["directive"] for each in findings} >= {"script-src", "object-src"}


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse(f"<script nonce={csp_nonce(request)}>1</script><p>hello</p>")


async def data(request: Request) -> JSONResponse:
    return JSONResponse({"hello": "world"})


async def observed(app: Any, graders: Path, folder: Path) -> Any:
    async with https_localhost(app, folder) as authority:
        return await run_grader(graders, "observe.mjs", NODE_EXTRA_CA_CERTS=str(authority))


@pytest.mark.parametrize(
    ("policy", "endpoint"), [(SecurityHeaders.api(), data), (SecurityHeaders.html(), page)]
)
async def test_the_observatory_gives_full_marks(
    graders: Path, tmp_path: Path, policy: SecurityHeaders, endpoint: Any
) -> None:
    """130 is what can be had without preloading and cookies; customers look this number up."""
    app = Starlette(routes=[Route("/", endpoint)])

    result = await observed(SecurityHeadersMiddleware(app, policy=policy), graders, tmp_path)

    assert result["score"] >= 130, result["modifiers"]
    assert result["grade"] == "A+"


async def test_the_observatory_marks_a_bare_app_down(graders: Path, tmp_path: Path) -> None:
    """Negative control: the points must come from the headers."""
    result = await observed(Starlette(routes=[Route("/", data)]), graders, tmp_path)

    assert result["score"] < 60
