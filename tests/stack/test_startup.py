"""A deployment whose row-level security is not real does not start, and says what mends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from asgi_guard._internal import events as event_stream
from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.protocols import ASGIApp
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.settings import verification
from asgi_guard.stack import Guard
from tests.support.exchange import Events, handshake, websocket_scope
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_client import get, is_protected, problem
from tests.support.hosts_guard import ACME, guard_settings, token
from tests.support.hosts_lifespan import served
from tests.support.hosts_pages import Lives
from tests.support.hosts_raw import raw_app
from tests.support.hosts_starlette import starlette_app
from tests.support.rls_schema import VARIABLES, RLSDatabase
from tests.support.tenancy_world import MovedClock

pytestmark = pytest.mark.postgres

ALICE = token("alice", ACME)


@pytest.fixture
async def engines() -> AsyncIterator[Any]:
    """Give a maker of guarded engines that are closed at the end."""
    made: list[Any] = []

    def make(url: str) -> Any:
        made.append(guarded_engine(url, variables=VARIABLES))
        return made[-1]

    yield make
    for engine in made:
        await engine.dispose()


def guarded(engine: Any, app: Any = None, **changes: Any) -> ASGIApp:
    settings = guard_settings(databases=[engine], **changes)
    return Guard(settings).install(app or raw_app([]))  # type: ignore[no-any-return]


def superuser_url(database: RLSDatabase) -> str:
    return database.url(dsn=database.database.dsn())


@pytest.mark.parametrize("name", HOSTS)
async def test_every_host_starts_over_a_database_that_holds(
    name: str, rls_database: RLSDatabase, engines: Any
) -> None:
    """The check must not stand in the way of a deployment that is right."""
    lives: Lives = []
    app = guarded(engines(rls_database.url()), HOSTS[name](lives))

    async with served(app) as server:
        answer = await get(app, "/whoami", ALICE)

    assert server.kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert answer.status == 200


@pytest.mark.parametrize("name", HOSTS)
async def test_no_host_starts_as_a_superuser(
    name: str, rls_database: RLSDatabase, engines: Any
) -> None:
    """To a superuser no policy applies: every tenant would see every row."""
    lives: Lives = []
    app = guarded(engines(superuser_url(rls_database)), HOSTS[name](lives))

    async with served(app) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert "superuser" in server.message
    assert isinstance(server.error, NotReadyError)
    assert lives in ([], ["started", "stopped"])  # what the host had started was closed again


async def test_the_message_lists_each_finding_with_the_sql_that_mends_it(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """An operator at three in the morning should copy, paste and start again."""
    rls_database.database.execute(
        "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
        f"ALTER ROLE {VARIABLES.runtime_role} BYPASSRLS",
    )

    try:
        async with served(guarded(engines(rls_database.url()))) as server:
            pass
    finally:
        rls_database.database.execute(f"ALTER ROLE {VARIABLES.runtime_role} NOBYPASSRLS")

    assert "asgi_guard will not serve: " in server.message
    assert "FORCE ROW LEVEL SECURITY" in server.message
    assert "NOBYPASSRLS" in server.message
    assert rls_database.password not in server.message


async def test_a_database_that_cannot_be_reached_is_a_clear_message_without_the_password(
    unused_tcp_port: int, engines: Any
) -> None:
    """A stack of noise hides what is wrong, and a URL in a log gives the password away."""
    url = f"postgresql+asyncpg://app:hunter2@127.0.0.1:{unused_tcp_port}/none"

    async with served(guarded(engines(url))) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert "database_unreachable" in server.message
    assert f"app:***@127.0.0.1:{unused_tcp_port}" in server.message
    assert "hunter2" not in server.message
    assert "Traceback" not in server.message


async def test_a_wrong_password_is_told_apart_and_not_repeated(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """The second most common mistake of a first deployment."""
    dsn = rls_database.database.dsn(VARIABLES.runtime_role, "wrong-password")

    async with served(guarded(engines(rls_database.url(dsn=dsn)))) as server:
        pass

    assert "database_login_refused" in server.message
    assert "Check user and password." in server.message
    assert "wrong-password" not in server.message


async def test_a_role_without_rights_on_a_table_is_no_leak_and_may_start(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """What the role cannot read it cannot leak; a missing grant shows at the first use."""
    rls_database.database.execute(f"REVOKE ALL ON notes FROM {VARIABLES.runtime_role}")

    async with served(guarded(engines(rls_database.url()))) as server:
        pass

    assert server.kinds[0] == "lifespan.startup.complete"


async def test_a_role_without_the_right_to_connect_is_a_clear_message(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """CONNECT is granted to PUBLIC until somebody hardens the database."""
    name = rls_database.database.name
    rls_database.database.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')

    async with served(guarded(engines(rls_database.url()))) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert "Traceback" not in server.message


async def test_what_the_apps_own_start_up_makes_is_checked_too(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """Migrations often run there: a table without a policy would come after the check."""
    app = starlette_app([])
    own = app.router.lifespan_context

    def migrating(host: Any) -> Any:
        rls_database.database.execute(
            "CREATE TABLE drafts (tenant_id uuid, body text)",
            f"GRANT SELECT ON drafts TO {VARIABLES.runtime_role}",
        )
        return own(host)

    app.router.lifespan_context = migrating

    async with served(guarded(engines(rls_database.url()), app)) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert "drafts" in server.message


async def test_a_raw_pool_is_checked_like_an_engine(rls_database: RLSDatabase) -> None:
    """The superuser's pool leaks as well as its engine."""
    dsn = rls_database.database.dsn()
    pool = create_guarded_pool(dsn, variables=VARIABLES, min_size=1)
    async with pool, served(guarded(pool)) as server:
        pass

    assert "superuser" in server.message


async def test_without_a_lifespan_requests_are_refused_until_the_check_passes(
    rls_database: RLSDatabase, engines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may be told not to send one (``--lifespan off``); then the first request checks."""
    app = guarded(engines(superuser_url(rls_database)), clock=MovedClock())

    refused = await get(app, "/whoami", ALICE)
    socket = await handshake(app, websocket_scope("/", ALICE | {"origin": "http://app.example"}))

    assert caplog.text.count("asgi_guard will not serve") == 1  # the operator is told, once
    assert (refused.status, problem(refused)["code"]) == (503, "not_ready")
    assert is_protected(refused)
    assert problem(socket)["code"] == "not_ready"


async def test_a_deployment_that_was_mended_serves_without_a_restart(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """Tried again at most every few seconds: callers must not keep the database busy."""
    clock = MovedClock()
    app = guarded(engines(rls_database.url()), clock=clock)
    rls_database.database.execute("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY")

    broken = await get(app, "/whoami", ALICE)
    rls_database.database.execute("ALTER TABLE notes FORCE ROW LEVEL SECURITY")
    too_soon = await get(app, "/whoami", ALICE)
    clock.time += 5.0
    mended = await get(app, "/whoami", ALICE)

    assert [broken.status, too_soon.status, mended.status] == [503, 503, 200]


async def test_requests_that_come_together_share_one_check(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """A restart under load would else ask for the catalog once per waiting request."""
    engine, looked = engines(rls_database.url()), 0
    guard = Guard(guard_settings(databases=[engine]))
    look = guard.readiness._verify

    async def counting(database: object) -> Any:
        nonlocal looked
        looked += 1
        return await look(database)

    guard.readiness._verify = counting
    app = guard.install(raw_app([]))

    answers = await asyncio.gather(*(get(app, "/whoami", ALICE) for _ in range(20)))

    assert {answer.status for answer in answers} == {200}
    assert looked == 1


async def test_a_first_request_that_is_cancelled_leaves_the_check_to_the_next(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """A client that hangs up must not leave the app closed, nor open."""
    app = guarded(engines(rls_database.url()))

    first = asyncio.create_task(get(app, "/whoami", ALICE))
    await asyncio.sleep(0)
    first.cancel()
    second = await get(app, "/whoami", ALICE)

    assert first.cancelled() or first.cancelling()
    assert second.status == 200


async def test_monitor_mode_serves_and_reports(
    rls_database: RLSDatabase,
    engines: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For the first day of a roll-out, by a setting that says what it does."""
    monkeypatch.setattr(event_stream, "_sinks", event_stream._sinks)  # put back afterwards
    events = Events()
    app = guarded(
        engines(superuser_url(rls_database)), startup_checks="monitor", event_sinks=[events]
    )

    with caplog.at_level(logging.ERROR, "asgi_guard"):
        async with served(app) as server:
            answer = await get(app, "/whoami", ALICE)

    assert server.kinds[0] == "lifespan.startup.complete"
    assert answer.status == 200
    [event] = [each for each in events.seen if each.name == "STARTUP_CHECK_FAILED"]
    assert (event.outcome, event.details["enforced"]) == ("error", False)
    assert "role_superuser" in str(event.details["codes"]).split(",")
    assert "superuser" in caplog.text
    assert "asgi_guard serves all the same (monitor): " in caplog.text


async def test_a_database_that_nobody_guards_is_refused_before_the_app_starts() -> None:
    """It would be used without a tenant, and the check could not say so."""
    engine = create_async_engine("postgresql+asyncpg://app@localhost/none")

    with pytest.raises(ConfigError, match=r"databases\[0\]: AsyncEngine is not guarded"):
        guard_settings(databases=[engine])


async def test_a_database_that_stays_silent_is_given_up(
    engines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that swallows packets would hold the start for ever, with nothing in the log."""
    monkeypatch.setattr(verification, "_TIMEOUT_SECONDS", 0.0)

    async with served(
        guarded(engines("postgresql+asyncpg://app:hunter2@192.0.2.1/none"))
    ) as server:
        pass

    assert "app:***@192.0.2.1/none did not answer within" in server.message


async def test_a_session_among_the_databases_is_a_clear_message(
    rls_database: RLSDatabase, engines: Any
) -> None:
    """It is guarded, so it gets past the settings; what is checked is an engine or a pool."""
    async with served(guarded(AsyncSession(engines(rls_database.url())))) as server:
        pass

    assert server.kinds == ["lifespan.startup.failed"]
    assert "Pass an SQLAlchemy engine or connection" in server.message


async def test_a_wrong_url_is_refused_without_repeating_it() -> None:
    """A DSN with a typo still has the password in it."""
    with pytest.raises(ConfigError, match=r"rls\.url") as refused:
        guarded_engine("postgres//app:hunter2@localhost/none")

    assert "hunter2" not in str(refused.value)
