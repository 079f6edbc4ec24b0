"""`rls_enforced_session`: one tenant's unit of work for jobs, agents and scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.rls.binding.handles import inspector_of
from asgi_guard.rls.binding.session import GuardedAsyncSession, GuardedSession
from asgi_guard.rls.block import EitherBlock
from asgi_guard.rls.opening import open_async, open_sync
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.verification import TenantProof
from asgi_guard.rls.violations import mismatch, not_enforced
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, use_context

__all__ = ["EnforcedSession", "rls_enforced_session"]


class EnforcedSession(EitherBlock[Any, Any]):
    """The block that `rls_enforced_session` describes; enter it once, with or without async."""

    name = "rls_enforced_session"

    def __init__(self, db: Any, tenant_id: str, operation: str, user_id: str) -> None:
        super().__init__()
        self._db = db
        self._tenant_id = tenant_id
        self._operation = operation
        self._user_id = user_id

    @asynccontextmanager
    async def _run_async(self) -> AsyncIterator[Any]:
        proof = self._proof()
        with use_context(self._context()):
            async with open_async(
                self._db, operation=self._operation, session_class=GuardedAsyncSession
            ) as (handle, ask):
                proof.judge(await ask(proof.query))
                yield handle

    @contextmanager
    def _run_sync(self) -> Iterator[Any]:
        proof = self._proof()
        with (
            use_context(self._context()),
            open_sync(self._db, operation=self._operation, session_class=GuardedSession) as opened,
        ):
            handle, ask = opened
            proof.judge(ask(proof.query))
            yield handle

    def _proof(self) -> TenantProof:
        variables = self._variables()
        try:
            variables.tenant_id.parse(self._tenant_id)
        except TenantInvalidError as error:
            shape = variables.tenant_id.name
            error.add_note(f"rls_enforced_session(tenant_id) takes a str of the shape {shape!r}.")
            raise
        return TenantProof(variables, self._tenant_id, self._operation)

    def _variables(self) -> RLSVariables:
        look = inspector_of(type(self._db))
        if look is None:
            raise ConfigError(
                "rls_enforced_session(db)",
                f"a {type(self._db).__name__} is no database handle",
                "Pass an engine, session, session maker, connection or asyncpg pool.",
            )
        found = look(self._db)
        if found.variables is None:
            raise not_enforced(
                "the database handle is not guarded. Make it with guarded_engine or "
                "create_guarded_pool",
                reason="unguarded_handle",
                operation=self._operation,
            )
        if found.tenant_id not in (None, self._tenant_id):
            raise mismatch(
                "the database handle belongs to another tenant",
                reason="handle_of_another",
                operation=self._operation,
            )
        return found.variables

    def _context(self) -> UserExecutionContext:
        around = current_context()
        if around is None:
            return UserExecutionContext(
                tenant_id=self._tenant_id,
                user_id=self._user_id,
                operation=self._operation,
                auth_method="internal",
            )
        if around.tenant_id != self._tenant_id:
            raise mismatch(
                "this code runs for another tenant already",
                reason="context_of_another",
                operation=self._operation,
            )
        return around.child(self._operation)


def rls_enforced_session(
    db: Any, tenant_id: str, operation: str, *, user_id: str = "job"
) -> EnforcedSession:
    """Work for one tenant, inside a request or outside any: jobs, agents, scripts.

    ``async with`` for async handles, ``with`` for sync ones::

        async with rls_enforced_session(engine, tenant_id, "reports.nightly") as tenant_db:
            notes = (await tenant_db.scalars(select(Note))).all()

    Inside, the current context is *tenant_id*'s: a child of the one around it if that is the
    same tenant's, else a new one for *user_id*. Before the block begins the database is asked
    which tenant its policies see.

    The block gives an ``AsyncSession`` or ``Session`` for an engine or session maker, a
    connection inside a transaction for a pool, and *db* itself otherwise. What was opened here
    is committed at the end, and rolled back when the block raises. A session or connection that
    was in a transaction already, or held unsaved objects, is left so: its owner ends it.

    Args:
        db: A guarded engine, session maker, session or connection of SQLAlchemy, or a guarded
            asyncpg pool or one of its connections.
        tenant_id: Whose work it is, in the configured shape.
        operation: Name for errors and events, e.g. ``"reports.nightly"``.
        user_id: Who does it when no context is current.

    Raises:
        ConfigError: *operation* is empty, or *db* is no handle of this kind.
        TenantInvalidError: *tenant_id* has another shape.
        RLSViolationError: *db* is not guarded (``RLS_NOT_ENFORCED``); the context or *db* belong
            to another tenant (``TENANT_MISMATCH``); the database says otherwise
            (``RLS_VERIFICATION_FAILED``). Nothing of the block has run.
    """
    if not operation or not isinstance(operation, str):
        raise ConfigError(
            "rls_enforced_session(operation)", "is empty", "Name the operation, e.g. 'notes.sweep'."
        )
    return EnforcedSession(db, tenant_id, operation, user_id)
