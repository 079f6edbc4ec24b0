"""ORM sessions belong to one tenant: their identity map would hand out the other's objects."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls.binding.asyncpg_connection import guard_of
from asgi_guard.rls.binding.dbapi_engine import disown
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.binding.registry import AnyEngine, mark_of
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.current import current_context

__all__ = [
    "GuardedAsyncSession",
    "GuardedSession",
    "guarded_sessionmaker",
    "pin",
    "tenant_of_session",
    "watch_sessions",
]

_TENANT: Final = "asgi_guard.tenant"


class GuardedSession(Session):
    """A session of one tenant, held to it also where no SQL is sent.

    It belongs to the tenant it is made for, or, made without one, to the first that uses it,
    until it is closed. Looking into the identity map, adding and deleting are checked like
    statements are. A plain ``Session`` on a guarded engine is held to its tenant by its
    transactions only: ``get()`` of an object that it holds already sends nothing, so nobody looks.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if (context := current_context()) is not None:
            self.info[_TENANT] = context.tenant_id

    def close(self) -> None:
        """Close; what it held is gone, so another tenant may use it."""
        super().close()
        self.info.pop(_TENANT, None)

    def get(self, *args: Any, **options: Any) -> Any:
        """As ``Session.get``, for the session's tenant only."""
        pin(self)
        return super().get(*args, **options)

    def add(self, *args: Any, **options: Any) -> None:
        """As ``Session.add``, for the session's tenant only."""
        pin(self)
        super().add(*args, **options)

    def delete(self, *args: Any, **options: Any) -> None:
        """As ``Session.delete``, for the session's tenant only."""
        pin(self)
        super().delete(*args, **options)

    def delete_all(self, *args: Any, **options: Any) -> None:
        """As ``Session.delete_all``, for the session's tenant only."""
        pin(self)
        super().delete_all(*args, **options)

    def merge(self, *args: Any, **options: Any) -> Any:
        """As ``Session.merge``, for the session's tenant only."""
        pin(self)
        return super().merge(*args, **options)

    def _identity_lookup(self, *args: Any, **options: Any) -> Any:
        # Where get() and lazy loading look first; overridden by SQLAlchemy's own ShardedSession.
        pin(self)
        return super()._identity_lookup(*args, **options)


class GuardedAsyncSession(AsyncSession):
    """An ``AsyncSession`` over a `GuardedSession`."""

    sync_session_class = GuardedSession


def guarded_sessionmaker(engine: AnyEngine, **options: Any) -> Any:
    """Make a session maker whose sessions are held to one tenant.

    Args:
        engine: From `guarded_engine`.
        **options: As for ``async_sessionmaker`` or ``sessionmaker``, e.g.
            ``expire_on_commit=False``.

    Returns:
        An ``async_sessionmaker`` of `GuardedAsyncSession` for an async engine, else a
        ``sessionmaker`` of `GuardedSession`.

    Raises:
        ConfigError: *engine* is not guarded.
    """
    mark = mark_of(engine)
    if mark is None or mark.system:
        raise ConfigError(
            "guarded_sessionmaker(engine)", "the engine is not guarded", "Use guarded_engine()."
        )
    if isinstance(engine, AsyncEngine):
        return async_sessionmaker(engine, **({"class_": GuardedAsyncSession} | options))
    return sessionmaker(engine, **({"class_": GuardedSession} | options))


def pin(session: Session) -> None:
    """Hold *session* to the current tenant from now on.

    Raises:
        RLSViolationError: There is none (``RLS_NOT_ENFORCED``), or the session belongs to
            another (``TENANT_MISMATCH``).
    """
    context = require_tenant()
    if session.info.setdefault(_TENANT, context.tenant_id) != context.tenant_id:
        raise mismatch(
            "this session belongs to another tenant, whose objects it may hold. Make one "
            "session for each",
            reason="session_of_another",
        )


def tenant_of_session(session: Session) -> str | None:
    """Tell which tenant *session* belongs to, if it is held to one yet."""
    tenant: str | None = session.info.get(_TENANT)
    return tenant


def watch_sessions() -> None:
    """Hold every session to its tenant when it begins to use a guarded engine; idempotent."""
    if not event.contains(Session, "after_begin", _pin_on_begin):
        event.listen(Session, "after_begin", _pin_on_begin)
        event.listen(Session, "before_attach", _remember_who_adds)


def _remember_who_adds(session: Session, _instance: object) -> None:
    # A plain session sends what was added when it flushes, perhaps for another, who would own it.
    if (context := current_context()) is not None:
        session.info.setdefault(_TENANT, context.tenant_id)


def _pin_on_begin(session: Session, _transaction: SessionTransaction, used: Connection) -> None:
    mark = mark_of(used)
    if mark is None or mark.system:
        return
    try:
        pin(session)
    except RLSViolationError:
        # The session has the connection by now and would use it without asking again.
        guard = guard_of(used.connection.driver_connection)
        if guard is None:
            disown(used)
        else:
            guard.expected = tenant_of_session(session)
        raise
