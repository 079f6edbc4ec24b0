"""The example of a login, at a provider that others wrote: panva's ``oidc-provider``."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.node_oidc import OIDCProvider as Panva
from tests.support.oidc_visitor import Visitor, confirm_logout
from tests.support.tenancy_server import serving

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(400)


async def test_a_person_logs_in_at_their_tenant_and_at_no_other_and_out(
    oidc_provider: Callable[..., Panva],
) -> None:
    """What people copy must work as it is, and refuse what it says it refuses."""
    build = runpy.run_path(str(ROOT / "examples" / "login.py"))["build"]
    inner: list[Any] = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await inner[0](scope, receive, send)

    async with serving(late) as port, httpx2.AsyncClient(trust_env=False) as client:
        origin = f"http://127.0.0.1:{port}"
        at = {tenant: f"{origin}/t/{tenant}/auth" for tenant in ("acme", "globex")}
        panva = oidc_provider(
            clients=[
                {
                    "client_id": "notes-web",
                    "token_endpoint_auth_method": "none",
                    "redirect_uris": [f"{each}/callback/company" for each in at.values()],
                    "post_logout_redirect_uris": [f"{each}/logged-out" for each in at.values()],
                }
            ]
        )
        inner.append(build(panva.issuer, "notes-web", origin))
        visitor = Visitor(client)

        assert (await visitor.go(f"{origin}/t/acme/")).status_code == 401
        hello = await visitor.go(f"{origin}/hello")
        link = re.search("href='([^']+)'>Log in at acme", hello.text)
        assert link is not None
        page = await visitor.go(origin + link[1])
        assert "<p id=who>alice at acme</p>" in page.text
        assert panva.issuer in page.headers["content-security-policy"]
        assert (await visitor.go(f"{origin}/t/globex/")).status_code == 404

        elsewhere = await Visitor(client).go(f"{at['globex']}/login/company")
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (400, "login_refused")

        await confirm_logout(visitor, f"{at['acme']}/logout")
        assert visitor.path[-1] == "GET /hello"
        assert (await visitor.go(f"{origin}/t/acme/")).status_code == 401
