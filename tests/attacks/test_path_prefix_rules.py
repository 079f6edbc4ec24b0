"""A tenant's path prefix must not lead around the rules that were written for the path behind it.

``/t/{tenant}/admin`` reaches the same handler as ``/admin``, but the layers that have rules by
path stand outside of the one that takes the prefix off.
"""

from __future__ import annotations

import pytest

from asgi_guard.cors import CORSPolicy
from asgi_guard.cross_origin import CrossOriginPolicy
from asgi_guard.protocols import ASGIApp
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.stack import Guard
from asgi_guard.tenancy import ChainResolver, HeaderResolver, PathResolver
from tests.support.hosts_client import get
from tests.support.hosts_guard import ACME, guard_settings, token
from tests.support.hosts_starlette import starlette_app

FRIEND = "https://friend.example"
ALICE = token("alice", ACME)


def guarded() -> ASGIApp:
    """Guard an app that has a stricter and a weaker rule of each kind."""
    settings = guard_settings(
        resolver=ChainResolver(PathResolver(), HeaderResolver("x-tenant")),
        cors=CORSPolicy(allow_origins=[FRIEND], routes={"/whoami": CORSPolicy(allow_origins=[])}),
        cross_origin=CrossOriginPolicy(exempt=["/health"]),
        security_headers="html",
        security_headers_routes={
            "/whoami": SecurityHeaders.api(),
            "/health": SecurityHeaders.docs(),
        },
    )
    installed: ASGIApp = Guard(settings).install(starlette_app([]))
    return installed


@pytest.mark.parametrize("path", ["/whoami", f"/t/{ACME}/whoami", f"/t/{ACME}/whoami/"])
async def test_a_stricter_rule_holds_behind_the_prefix_too(path: str) -> None:
    """Else whoever names the tenant by path instead of by header chooses the weaker policy."""
    answer = await get(guarded(), path, ALICE | {"origin": FRIEND})

    assert answer.header("access-control-allow-origin") is None


async def test_what_no_rule_covers_in_either_reading_keeps_the_general_policy() -> None:
    """The way out of a doubt must not take the grant from everybody."""
    answer = await get(guarded(), f"/t/{ACME}/boom", ALICE | {"origin": FRIEND})

    assert answer.header("access-control-allow-origin") == FRIEND


async def test_a_rule_that_opens_something_does_not_reach_behind_the_prefix() -> None:
    """A path that two layers read in two ways has no rule of its own."""
    app, stranger = guarded(), {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}

    plain = await get(app, "/health", stranger)
    behind = await get(app, f"/t/{ACME}/health", ALICE | stranger | {"cookie": "a=b"})
    styled = await get(app, f"/t/{ACME}/health", ALICE)

    assert plain.status == 200
    assert behind.status == 403
    assert "jsdelivr" in (plain.header("content-security-policy") or "")
    assert "jsdelivr" not in (styled.header("content-security-policy") or "")
