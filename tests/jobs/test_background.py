"""Background tasks of Starlette and FastAPI: behind the response, and still somebody's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.errors import ConfigError, ContextMissingError, EnvelopeRefusedError
from asgi_guard.integrations.background import BackgroundJobs
from asgi_guard.integrations.jobs import JobGuard
from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import (
    ClaimResolver,
    ContextEnvelope,
    EnvelopeKey,
    EnvelopeKeys,
    TenantContextMiddleware,
)
from tests.support.jobs_world import TENANTS_SEEN, seen_by, who
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase
from tests.support.tenancy_world import Directory, SignedIn

pytestmark = pytest.mark.postgres


class App:
    """A FastAPI app whose handler leaves work for later."""

    def __init__(self, database: RLSDatabase) -> None:
        self.members = Directory(("alice", ALICE), ("bob", BOB))
        self.engine = guarded_engine(database.url(), variables=VARIABLES)
        self.sync_engine = guarded_engine(database.url("psycopg"), variables=VARIABLES)
        self.envelopes = ContextEnvelope(
            EnvelopeKeys([EnvelopeKey.generate()]), memberships=self.members, store=MemoryStore()
        )
        self.jobs = BackgroundJobs(JobGuard(self.envelopes, db=self.engine))
        self.sync_jobs = BackgroundJobs(JobGuard(self.envelopes, db=lambda: self.sync_engine))
        self.seen: list[dict[str, Any]] = []
        app = FastAPI()

        @app.post("/reports")
        async def report(background: BackgroundTasks, remove: str = "") -> str:
            self.jobs.add(background, self.build, label="r1")
            self.sync_jobs.add(background, self.build_sync)
            background.add_task(self.plain)
            if remove:
                self.members.members.clear()
            return who()

        guarded = TenantContextMiddleware(app, resolver=ClaimResolver(), memberships=self.members)
        self.client = TestClient(SignedIn(guarded))

    async def build(self, session: AsyncSession, *, label: str) -> None:
        tenants = list(await session.scalars(TENANTS_SEEN))
        self.seen.append({"label": label, "who": who(), "tenants": tenants})

    def build_sync(self, session: Any) -> None:
        self.seen.append(seen_by(session))

    async def plain(self) -> None:
        self.seen.append({"who": who()})

    def post(self, user: str, tenant: str, **params: Any) -> Any:
        headers = {"x-user": user, "x-token-tenant": tenant}
        return self.client.post("/reports", headers=headers, params=params)


@pytest.fixture
def app(rls_database: RLSDatabase) -> Iterator[App]:
    made = App(rls_database)
    with made.client as client:
        yield made
        assert client.portal is not None
        client.portal.call(made.engine.dispose)
    made.sync_engine.dispose()


def test_each_task_works_for_the_user_who_left_it(app: App) -> None:
    """Its own session, verified; the task after it is again as Starlette leaves it."""
    for user, tenant in (("alice", ALICE), ("bob", BOB)):
        assert app.post(user, tenant).status_code == 200
        guarded, sync, plain = app.seen
        assert guarded["who"].startswith(f"{tenant} {user} background.App.build")
        assert guarded["tenants"] == sync["tenants"] == [tenant]
        assert plain["who"] == f"{tenant} {user} http POST"
        app.seen.clear()


def test_a_user_who_was_removed_before_the_task_runs_is_refused(
    app: App, rls_events: EventList
) -> None:
    """The response is out; what is left is looked at again."""
    with pytest.raises(EnvelopeRefusedError):
        app.post("alice", ALICE, remove="yes")

    assert app.seen == []
    assert ("ENVELOPE_REFUSED", "not_a_member") in [(e.name, e.reason) for e in rls_events]


def test_nothing_is_added_without_a_context_or_to_something_else(app: App) -> None:
    """At the handler, where it can be mended."""
    with pytest.raises(ContextMissingError):
        app.jobs.add(BackgroundTasks(), app.build)
    with pytest.raises(ConfigError):
        app.jobs.add([], app.build)  # type: ignore[arg-type]


@pytest.mark.parametrize("db", [object(), 7])
def test_a_guard_takes_a_handle_or_a_function_that_gives_one(app: App, db: Any) -> None:
    """Not by the first job of the night."""
    with pytest.raises(ConfigError):
        JobGuard(app.envelopes, db=db)
    with pytest.raises(ConfigError):
        JobGuard(app, db=None)  # type: ignore[arg-type]
