"""What a newcomer does wrong first is answered in words that lead out of it."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from asgi_guard import Guard
from asgi_guard._internal.events import emit
from asgi_guard.errors import (
    ConfigError,
    ContextExpiredError,
    ContextMissingError,
    NotReadyError,
    RLSViolationError,
    TenantInvalidError,
)
from asgi_guard.integrations.sql_memberships import SQLMemberships
from asgi_guard.observability import subscribe
from asgi_guard.protocols import SecurityEvent
from asgi_guard.rls import (
    GuardedAsyncSession,
    TenantScoped,
    guarded_engine,
    password_statement,
    rls_enforced_session,
    tenant_policies,
)
from asgi_guard.settings import GuardSettings
from asgi_guard.tenancy import ClaimResolver, UserExecutionContext, require_context, use_context
from asgi_guard.testing import PostgresDatabase
from tests.support.pages import as_role, prepare, tutorial_models
from tests.support.rls_fixtures import EventList

NOWHERE = "postgresql+asyncpg://app_runtime:secret@127.0.0.1:1/app"
TENANT = str(uuid.uuid4())


class Base(DeclarativeBase):
    pass


class Note(TenantScoped, Base):
    __tablename__ = "notes"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)


@pytest.fixture
def engine() -> AsyncEngine:
    """Give a guarded engine that never gets as far as connecting."""
    made: AsyncEngine = guarded_engine(NOWHERE)
    return made


def context(**given: Any) -> UserExecutionContext:
    return UserExecutionContext(**({"tenant_id": TENANT, "user_id": "alice"} | given))


@pytest.mark.parametrize(
    ("mistake", "problem", "remedy"),
    [
        (lambda: context(tenant_id=uuid.uuid4()), "is a UUID", "str(tenant_id)"),
        (lambda: context(user_id=7), "is a int", "str(user_id)"),
        (lambda: context(user_id=""), "is empty", "Pass the id"),
        (lambda: tenant_policies(Base), "Base", "Base.metadata"),  # type: ignore[arg-type]
        (lambda: tenant_policies(None), "None", "Base.metadata"),  # type: ignore[arg-type]
        (lambda: tenant_policies(MetaData(), shared=[Note]), "Note", "__table__"),  # type: ignore[list-item]
        (lambda: password_statement("app_runtime", "hunter2"), "is a str", "Secret(password)"),  # type: ignore[arg-type]
        (lambda: guarded_engine(NOWHERE, pool_sizee=3), "'pool_sizee'", "create_engine()"),
        (
            lambda: SQLMemberships(guarded_engine(NOWHERE), statement=":user_id :tenant_id"),
            "is guarded",
            "create_async_engine(",
        ),
        (
            lambda: GuardSettings(resolver=ClaimResolver()),
            "nobody can prove",
            "BearerJWTAuthenticator(",
        ),
        (lambda: GuardSettings(cors=["https://a.example"]), "a.example", "CORSPolicy("),  # type: ignore[arg-type]
        (lambda: GuardSettings(origins=["https://a.example"]), "a.example", "OriginPolicy("),  # type: ignore[arg-type]
        (lambda: GuardSettings(trusted_proxies=["10.0.0.0/8"]), "10.0.0.0", "TrustedProxies("),  # type: ignore[arg-type]
        (lambda: GuardSettings(event_sinks=[print]), "print", "emit(event)"),  # type: ignore[list-item]
        (lambda: GuardSettings(event_sinks=[EventList]), "EventList", "emit(event)"),  # type: ignore[list-item]
    ],
)
def test_a_wrong_argument_is_named_with_what_to_write_instead(
    mistake: Callable[[], Any], problem: str, remedy: str
) -> None:
    """A TypeError from deep inside says what broke, not what to do."""
    with pytest.raises(ConfigError) as refused:
        mistake()

    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
    assert "hunter2" not in str(refused.value)
    assert not re.search(r"(?<!\.)\.\.(?!\.)", str(refused.value))


async def test_policies_are_not_lost_on_an_asynchronous_connection(
    postgres_database: PostgresDatabase,
) -> None:
    """It would take every statement, run none, and leave the tables open."""
    admin = create_async_engine(postgres_database.dsn().replace("://", "+asyncpg://", 1))
    async with admin.connect() as connection:
        with pytest.raises(ConfigError, match="run_sync"):
            tenant_policies(Base.metadata).apply(connection)  # type: ignore[arg-type]
    await admin.dispose()


async def test_a_session_without_a_tenant_says_where_tenants_come_from(
    engine: AsyncEngine, rls_events: EventList
) -> None:
    """It is the first error that everybody meets."""
    with pytest.raises(RLSViolationError, match=r"use_context\(...\)"):
        async with GuardedAsyncSession(engine) as session:
            await session.get(Note, (uuid.uuid4(), uuid.uuid4()))

    assert [event.reason for event in rls_events] == ["no_tenant"]


async def test_an_expired_context_is_not_called_a_missing_one(
    engine: AsyncEngine, rls_events: EventList
) -> None:
    """Whoever reads "enter a context" looks for the one that is there."""
    with use_context(context(expires_at=1.0)):
        with pytest.raises(
            ContextExpiredError, match=r"^notes\.list: the credential .* has expired"
        ):
            require_context("notes.list")
        with pytest.raises(RLSViolationError, match="has expired"):
            async with GuardedAsyncSession(engine) as session:
                await session.get(Note, (uuid.uuid4(), uuid.uuid4()))

    assert [event.reason for event in rls_events] == ["context_expired"]


@pytest.mark.postgres
async def test_a_tenant_by_default_is_a_finding_with_its_way_out(
    postgres_database: PostgresDatabase,
) -> None:
    """The guarded engine refuses to connect, and its refusal is what the operator reads."""
    models = tutorial_models()
    preset = f"SET app.current_tenant = '{TENANT}'"
    role = f"app_runtime IN DATABASE {postgres_database.name}"
    await prepare(postgres_database, models, f"ALTER ROLE {role} {preset}")
    engine: AsyncEngine = guarded_engine(as_role(postgres_database, "app_runtime"))
    guard = Guard(GuardSettings(databases=[engine], tables=models["policies"]))

    with pytest.raises(NotReadyError, match=r"1 finding .*\n1\. .*ALTER ROLE \.\.\. RESET"):
        await guard.check()
    await engine.dispose()


def test_a_sink_that_fails_puts_no_request_into_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A renderer that shows local variables would show the headers they hold."""

    class Broken:
        def emit(self, event: SecurityEvent) -> None:
            raise OSError("disk full")

    unsubscribe = subscribe(Broken())
    token = secrets.token_hex().encode()

    def refuse(_scope: object) -> None:
        raise ContextMissingError("notes.list")

    try:
        refuse({"headers": [(b"authorization", token)]})
    except ContextMissingError:
        emit("TENANT_REFUSED", outcome="denied")
    finally:
        unsubscribe()

    shown = caplog.text + "".join(capfd.readouterr())
    assert "event_sink_failed: Broken" in caplog.text
    assert "disk full" in caplog.text
    assert token.decode() not in shown


@pytest.mark.parametrize("given", [uuid.uuid4(), TENANT.upper(), "acme"], ids=range(3))
async def test_a_job_for_an_id_in_another_spelling_is_told_the_shape(
    engine: AsyncEngine, given: Any
) -> None:
    """The answer to a caller is the bare code; the developer's traceback says more."""
    with pytest.raises(TenantInvalidError) as refused:
        async with rls_enforced_session(engine, given, "reports.nightly"):
            pass

    assert str(refused.value) == "tenant_invalid"
    assert refused.value.__notes__ == [
        "rls_enforced_session(tenant_id) takes a str of the shape 'uuid'."
    ]
