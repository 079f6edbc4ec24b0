"""A real browser logs in and out: its rules for cookies, redirects and forms are the last word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware
from tests.browser.conftest import Sites
from tests.support.node_oidc import OIDCProvider as Panva
from tests.support.oidc_served import ShiftedClock, client_metadata, oidc_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_a_person_logs_in_and_out(
    sites: Sites, page: Any, visitor: Any, oidc_provider: Callable[..., Panva]
) -> None:
    """From a link to the app's page, and through the provider's page back out."""
    origin = f"http://app.localhost:{sites.port}"
    panva = oidc_provider(clients=client_metadata(origin, ["public"]))
    app = oidc_app(
        origin, panva.issuer, store=MemoryStore(), clock=ShiftedClock(), names=["public"]
    )
    sites.add("app.localhost", app)

    await page.goto(f"{origin}/auth/login/public?next=/page")
    assert await page.text_content("#who") == "alice"
    kept = {each["name"]: each for each in await visitor.cookies(origin)}
    assert set(kept) == {"__Host-sid"}
    assert kept["__Host-sid"]["httpOnly"]
    assert kept["__Host-sid"]["sameSite"] == "Lax"

    await page.click("#out")
    await page.click("button[name=logout]")
    await page.wait_for_url(f"{origin}/")
    assert await visitor.cookies(origin) == []
    await page.goto(f"{origin}/page")
    assert await page.text_content("#who") == "nobody"


async def test_a_policy_that_names_the_provider_lets_the_logout_s_form_end_there(
    sites: Sites, page: Any, oidc_provider: Callable[..., Panva]
) -> None:
    """Chromium holds a form's redirects to ``form-action`` as well, as the control shows."""
    origin = f"http://app.localhost:{sites.port}"
    panva = oidc_provider(clients=client_metadata(origin, ["public"]))
    app = oidc_app(
        origin, panva.issuer, store=MemoryStore(), clock=ShiftedClock(), names=["public"]
    )
    strict = SecurityHeaders.html()
    named = strict.allowing({"form-action": [panva.issuer]})

    sites.add("app.localhost", SecurityHeadersMiddleware(app, policy=strict))
    await page.goto(f"{origin}/auth/login/public?next=/page")
    async with page.expect_event(
        "console", predicate=lambda said: "form-action 'self'" in said.text
    ) as blocked:
        await page.click("#out", no_wait_after=True)
    assert "blocked" in (await blocked.value).text

    sites.add("app.localhost", SecurityHeadersMiddleware(app, policy=named))
    await page.goto(f"{origin}/auth/login/public?next=/page")
    await page.click("#out")
    await page.click("button[name=logout]")
    await page.wait_for_url(f"{origin}/")
