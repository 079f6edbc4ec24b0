"""Start-up is reported complete once the check has passed, whatever the app speaks."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.lifespan import CheckedLifespan
from asgi_guard.errors import NotReadyError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from tests.support.hosts_lifespan import served
from tests.support.hosts_pages import Lives
from tests.support.hosts_raw import raw_app

COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def passes() -> None:
    """Find nothing."""


async def fails() -> None:
    raise NotReadyError("rls_not_real", "mend it")


def checked(app: ASGIApp, check: Any = passes) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await CheckedLifespan(app, check).run(scope, receive, send)

    return serve


async def knows_http_alone(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError(f"no {scope['type']} here")


async def says_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    return


async def takes_and_says_nothing(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()


async def breaks_while_starting(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    raise RuntimeError("no disk")


async def breaks_while_stopping(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise RuntimeError("no disk")


async def reports_its_own_failure(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no disk"})


@pytest.mark.parametrize("app", [knows_http_alone, says_nothing, takes_and_says_nothing])
async def test_the_protocol_is_spoken_for_an_app_that_does_not_know_it(app: ASGIApp) -> None:
    """Django raises, small apps return; the checks need the moment all the same."""
    async with served(checked(app)) as server:
        pass

    assert (server.kinds, server.error) == (COMPLETE, None)


@pytest.mark.parametrize(
    "app", [knows_http_alone, says_nothing, takes_and_says_nothing, raw_app([])]
)
async def test_a_failed_check_is_reported_and_raised(app: ASGIApp) -> None:
    """The message stops a server; test clients stop at nothing less than an exception."""
    async with served(checked(app, fails)) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert server.message == "mend it"
    assert isinstance(server.error, NotReadyError)


async def test_an_app_whose_check_failed_is_shut_down_in_order() -> None:
    """What it has opened must be closed before the process ends."""
    lives: Lives = []

    async with served(checked(raw_app(lives), fails)):
        pass

    assert lives == ["started", "stopped"]


async def test_a_shutdown_that_breaks_after_a_failed_check_does_not_hide_it() -> None:
    """The first failure is the one to mend."""
    async with served(checked(breaks_while_stopping, fails)) as server:
        pass

    assert isinstance(server.error, NotReadyError)


@pytest.mark.parametrize("app", [breaks_while_starting, breaks_while_stopping])
async def test_a_failure_of_the_apps_own_is_the_servers_to_judge(app: ASGIApp) -> None:
    """An app that took the message speaks the protocol; its error is no sign that it does not."""
    async with served(checked(app)) as server:
        pass

    assert isinstance(server.error, RuntimeError)


async def test_a_start_up_that_fails_by_itself_needs_no_check() -> None:
    """Its own message reaches the server as it is."""
    async with served(checked(reports_its_own_failure, fails)) as server:
        pass

    assert (server.kinds, server.message) == (["lifespan.startup.failed"], "no disk")
