"""The demo under its own guard: what people copy must not lock them out, nor let them in."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.stack import Guard
from asgi_guard.tenancy import ClaimResolver
from examples.saas.identity import COOKIE, DemoIdentity
from examples.saas.pages import PUBLIC_PATHS
from examples.saas.people import PEOPLE
from tests.support.hosts_client import get, problem
from tests.support.hosts_guard import guard_settings
from tests.support.hosts_raw import raw_app


def demo(identity: DemoIdentity) -> Any:
    """Guard an app as the demo does, without its database."""
    settings = guard_settings(
        authenticators=[identity],
        resolver=ClaimResolver(),
        memberships=None,
        public_paths=PUBLIC_PATHS,
    )
    return Guard(settings).install(raw_app([]))


async def test_a_cookie_of_an_earlier_run_leaves_the_sign_in_page_open() -> None:
    """Browsers send it unasked for an hour, and the key it was signed with is gone."""
    app, stale = demo(DemoIdentity()), DemoIdentity().token_for(PEOPLE[0])

    page = await get(app, "/", {"cookie": f"{COOKIE}={stale}"})
    notes = await get(app, "/whoami", {"cookie": f"{COOKIE}={stale}"})

    assert page.status == 404  # the page itself is the demo's; no 401 stands before it
    assert problem(notes)["code"] == "unauthenticated"


@pytest.mark.parametrize("lead", ["", "a=b; ", f"{COOKIE}=x; "])
async def test_one_cookie_decides_and_a_bearer_token_that_is_refused_is_not_made_good_by_it(
    lead: str,
) -> None:
    """A program's bad token beside a browser's good cookie is a mix-up, not a choice."""
    identity = DemoIdentity()
    cookie = f"{lead}{COOKIE}={identity.token_for(PEOPLE[0])}"

    assert (await get(demo(identity), "/whoami", {"cookie": cookie})).status == 200
    both = {"cookie": cookie, "authorization": "Bearer x.y.z"}
    assert (await get(demo(identity), "/whoami", both)).status == 401
