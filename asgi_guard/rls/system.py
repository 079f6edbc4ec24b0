"""`system_session`: the audited way across tenants, on a role and an engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.engine import build_engine
from asgi_guard.rls.binding.registry import (
    AnyEngine,
    EngineMark,
    mark_engine,
    mark_of,
    sync_engine_of,
)
from asgi_guard.rls.block import EitherBlock
from asgi_guard.rls.crossing import SystemCrossing, current_crossing, use_crossing
from asgi_guard.rls.opening import open_async, open_sync
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.verification import SystemProof
from asgi_guard.rls.violations import not_enforced
from asgi_guard.tenancy.reporting import report

__all__ = ["SystemSession", "system_engine", "system_session"]

_OPERATION = "system_session"


def system_engine(
    url: str | URL,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    **engine_options: Any,
) -> Any:
    """Create the engine of the system role; it works inside `system_session` only.

    Args:
        url: As for `guarded_engine`, with ``variables.system_role`` as the user.
        variables: Names that the database uses; the defaults when None.
        transaction_pooler: As for `guarded_engine`.
        **engine_options: As for ``create_async_engine`` or ``create_engine``.

    Returns:
        An `AsyncEngine` or `Engine`, by the driver, as `guarded_engine`.

    Raises:
        ConfigError: The URL is none or not PostgreSQL's.
    """
    engine = build_engine(url, transaction_pooler=transaction_pooler, options=engine_options)
    inner = sync_engine_of(engine)
    event.listen(inner, "checkout", _need_crossing)
    event.listen(inner, "begin", _need_crossing)
    event.listen(inner, "before_cursor_execute", _need_crossing)  # a connection that was kept
    mark_engine(engine, EngineMark(variables or RLSVariables(), system=True))
    return engine


def _need_crossing(*_event: Any) -> None:
    if current_crossing() is None:
        raise not_enforced(
            "a system engine was used outside system_session, where nobody is told why",
            reason="system_engine_unaudited",
        )


class SystemSession(EitherBlock[AsyncSession, Session]):
    """The block that `system_session` describes; enter it once, with or without async."""

    name = "system_session"

    def __init__(self, engine: AnyEngine, mark: EngineMark, crossing: SystemCrossing) -> None:
        super().__init__()
        self._engine = engine
        self._mark = mark
        self._crossing = crossing

    @asynccontextmanager
    async def _run_async(self) -> AsyncIterator[Any]:
        proof = SystemProof(self._mark.variables, _OPERATION)
        with use_crossing(self._crossing):
            async with open_async(
                self._engine, operation=_OPERATION, session_class=AsyncSession
            ) as (session, ask):
                proof.judge(await ask(proof.query))
                with self._audited():
                    yield session

    @contextmanager
    def _run_sync(self) -> Iterator[Any]:
        proof = SystemProof(self._mark.variables, _OPERATION)
        with (
            use_crossing(self._crossing),
            open_sync(self._engine, operation=_OPERATION, session_class=Session) as opened,
        ):
            session, ask = opened
            proof.judge(ask(proof.query))
            with self._audited():
                yield session

    @contextmanager
    def _audited(self) -> Iterator[None]:
        details = {"reason": self._crossing.reason, "ticket": self._crossing.ticket}
        report("SYSTEM_SESSION_OPENED", outcome="allowed", operation=_OPERATION, details=details)
        outcome = "error"
        try:
            yield
            outcome = "allowed"
        finally:
            report("SYSTEM_SESSION_CLOSED", outcome=outcome, operation=_OPERATION, details=details)


def system_session(engine: AnyEngine, *, reason: str, ticket: str = "") -> SystemSession:
    """Work across tenants, with the reason on record.

    ``async with`` for an async engine, ``with`` for a sync one::

        async with system_session(engine, reason="monthly invoices", ticket="OPS-12") as db:
            totals = (await db.execute(text("SELECT ..."))).all()

    Gives a plain session; it is committed at the end and rolled back when the block raises.
    Before the block begins the database is asked whether this is the system role. The events
    ``SYSTEM_SESSION_OPENED`` and ``SYSTEM_SESSION_CLOSED`` carry reason and ticket. A context
    that is current stays so, and names who it was; guarded engines keep serving its tenant only.

    Args:
        engine: From `system_engine`.
        reason: Why tenants are crossed, in words for the auditor.
        ticket: Where it was asked for.

    Raises:
        ConfigError: *reason* is blank, or *engine* is none.
        RLSViolationError: *engine* was not made by `system_engine` (``RLS_NOT_ENFORCED``), or
            connects as another role (``RLS_VERIFICATION_FAILED``).
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ConfigError("system_session(reason)", "is blank", "Say why tenants are crossed.")
    if not isinstance(engine, Engine | AsyncEngine):
        raise ConfigError(
            "system_session(engine)", f"got a {type(engine).__name__}", "Pass a system_engine()."
        )
    mark = mark_of(engine)
    if mark is None or not mark.system:
        raise not_enforced(
            "this engine was not made by system_engine", reason="not_a_system_engine"
        )
    return SystemSession(engine, mark, SystemCrossing(reason=reason, ticket=ticket))
