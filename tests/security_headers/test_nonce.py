"""The nonce: one for each response, only if the page asks."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.templating import Jinja2Templates

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import (
    NONCE,
    ContentSecurityPolicy,
    SecurityHeaders,
    SecurityHeadersMiddleware,
    csp_nonce,
    csp_nonce_context,
)
from tests.support.headers_client import Answer, http_scope, plain_app, request

HTML = SecurityHeaders.html()


def nonces_of(answer: Answer) -> set[str]:
    return set(re.findall(r"'nonce-([^']*)'", answer.headers["content-security-policy"]))


async def page(request: Request) -> HTMLResponse:
    first = csp_nonce(request)
    await asyncio.sleep(0)  # others run between the two
    return HTMLResponse(f"<script nonce={csp_nonce(request.scope)}></script>{first}")


async def test_the_page_and_the_header_agree_on_one_nonce() -> None:
    """A browser runs the script only if they do."""
    answer = await request(SecurityHeadersMiddleware(Route("/", page), policy=HTML))

    (nonce,) = nonces_of(answer)
    assert answer.body.decode() == f"<script nonce={nonce}></script>{nonce}"
    assert len(urlsafe_b64decode(nonce)) * 8 >= 128


async def test_a_page_that_never_asks_gets_none() -> None:
    """A nonce that no script carries would only be there to be stolen."""
    answer = await request(SecurityHeadersMiddleware(plain_app(), policy=HTML))

    csp = answer.headers["content-security-policy"]
    assert "nonce" not in csp
    assert "script-src 'none'; style-src 'self';" in csp
    assert "cache-control" not in answer.headers


async def test_a_hundred_concurrent_requests_have_a_hundred_nonces() -> None:
    """A nonce in a global, or shared by two requests, is one an attacker can read."""
    together = asyncio.Barrier(100)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await together.wait()
        first = csp_nonce(scope)
        await together.wait()
        await HTMLResponse(f"{first} {csp_nonce(scope)}")(scope, receive, send)

    guarded = SecurityHeadersMiddleware(app, policy=HTML)
    answers = await asyncio.gather(*(request(guarded, http_scope()) for _ in range(100)))

    seen = set()
    for answer in answers:
        (nonce,) = nonces_of(answer)
        assert answer.body.decode() == f"{nonce} {nonce}"
        seen.add(nonce)
    assert len(seen) == 100


async def test_a_mounted_app_shares_its_requests_nonce() -> None:
    """Mounts work on a copy of the scope."""
    app = Starlette(routes=[Mount("/sub", Starlette(routes=[Route("/page", page)]))])

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML), http_scope("/sub/page"))

    (nonce,) = nonces_of(answer)
    assert nonce in answer.body.decode()


async def test_two_layers_of_the_middleware_agree_on_one_nonce() -> None:
    """One in the app and one around it must not send a nonce that the page does not carry."""
    inner = SecurityHeadersMiddleware(
        Route("/", page), policy=HTML.replace(content_security_policy=None)
    )

    answer = await request(SecurityHeadersMiddleware(inner, policy=HTML))

    (nonce,) = nonces_of(answer)
    assert nonce in answer.body.decode()


async def test_both_policies_name_the_same_nonce() -> None:
    """A report-only policy that does not know the nonce reports every script."""
    policy = HTML.replace(
        content_security_policy_report_only=ContentSecurityPolicy({"script-src": [NONCE]})
    )
    answer = await request(SecurityHeadersMiddleware(Route("/", page), policy=policy))

    (nonce,) = nonces_of(answer)
    sent = answer.headers["content-security-policy-report-only"]
    assert sent == f"script-src 'nonce-{nonce}'"


async def test_asking_after_the_response_began_is_an_error_that_names_the_way_out() -> None:
    """The header is gone: a nonce made now would match nothing, and the page fail in silence."""
    failures: list[ConfigError] = []

    async def late(request: Request) -> Any:
        async def chunks() -> Any:
            yield b"<html>"
            try:
                csp_nonce(request)
            except ConfigError as error:
                failures.append(error)

        return StreamingResponse(chunks())

    scope = http_scope(asgi={"version": "3.0", "spec_version": "2.4"})
    await request(SecurityHeadersMiddleware(Route("/", late), policy=HTML), scope)

    assert "before the response starts" in str(failures[0])


async def test_a_nonce_asked_for_in_time_can_be_used_while_streaming() -> None:
    """The template may print it in any chunk."""

    async def early(request: Request) -> Any:
        csp_nonce(request)

        async def chunks() -> Any:
            yield b"<html>"
            yield csp_nonce(request).encode()

        return StreamingResponse(chunks())

    scope = http_scope(asgi={"version": "3.0", "spec_version": "2.4"})
    answer = await request(SecurityHeadersMiddleware(Route("/", early), policy=HTML), scope)

    (nonce,) = nonces_of(answer)
    assert answer.body.decode() == f"<html>{nonce}"


def test_asking_without_the_middleware_is_an_error() -> None:
    """An empty nonce would render, and block every script in production."""
    with pytest.raises(ConfigError, match="SecurityHeadersMiddleware"):
        csp_nonce(http_scope())


async def test_an_answer_not_modified_leaves_the_stored_pages_policy_alone() -> None:
    """The browser takes a 304's headers for the page it has, whose scripts carry an old nonce."""
    guarded = SecurityHeadersMiddleware(plain_app(status=304, before=csp_nonce), policy=HTML)

    answer = await request(guarded)

    assert "content-security-policy" not in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.fixture
def templates(tmp_path: Path) -> Jinja2Templates:
    (tmp_path / "with.html").write_text('<script nonce="{{ csp_nonce }}">1</script>{{ csp_nonce }}')
    (tmp_path / "without.html").write_text("{% if csp_nonce %}plain{% endif %}")
    (tmp_path / "macro.html").write_text("{% macro tag() %}{{ csp_nonce }}{% endmacro %}")
    (tmp_path / "macros.html").write_text(
        '{% from "macro.html" import tag with context %}{{ tag() }}'
    )
    return Jinja2Templates(tmp_path, context_processors=[csp_nonce_context])


@pytest.mark.parametrize("name", ["with.html", "macros.html"])
async def test_a_template_prints_the_nonce_of_its_response(
    templates: Jinja2Templates, name: str
) -> None:
    """``{{ csp_nonce }}`` is all a page needs to write."""

    async def rendered(request: Request) -> Any:
        return templates.TemplateResponse(request, name)

    answer = await request(SecurityHeadersMiddleware(Route("/", rendered), policy=HTML))

    (nonce,) = nonces_of(answer)
    assert set(re.findall(r"[\w-]{24}", answer.body.decode())) == {nonce}


async def test_a_template_that_prints_no_nonce_makes_none(templates: Jinja2Templates) -> None:
    """Context processors run for every page; the nonce must stay lazy behind them."""

    async def rendered(request: Request) -> Any:
        return templates.TemplateResponse(request, "without.html")

    answer = await request(SecurityHeadersMiddleware(Route("/", rendered), policy=HTML))

    assert answer.body == b"plain"
    assert not nonces_of(answer)
