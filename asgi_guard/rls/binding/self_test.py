"""The test that every new asyncpg connection passes before anybody gets it.

It proves on this very connection that the binding travels with BEGIN, is gone after ROLLBACK,
and that the session itself names no tenant: a default left behind by ``ALTER ROLE ... SET`` or
by another user of a pooler's server connection would take down the second wall.
"""

from __future__ import annotations

from asgi_guard._internal.entropy import new_request_id
from asgi_guard.rls.binding.asyncpg_connection import GuardedConnection, guard_of
from asgi_guard.rls.violations import not_enforced

__all__ = ["prove_binding"]


async def prove_binding(connection: GuardedConnection) -> None:
    """Run the self-test; the connection must not be in use yet.

    Raises:
        RLSViolationError: The driver or the server does not do what the binding rests on
            (``RLS_NOT_ENFORCED``). The connection must not be used.
    """
    guard = guard_of(connection)
    if guard is None:
        raise not_enforced(
            "this version of asyncpg does not send statements through Connection._protocol",
            reason="driver_unsupported",
        )
    read = guard.clauses.read()
    probe = f"asgi-guard-probe-{new_request_id()}"
    transaction = connection.transaction()
    guard.arm_probe(probe)
    await transaction.start()
    if (unsent := guard.disarm()) is not None:
        await connection.execute(unsent)
    inside = await connection.fetchval(read)
    await transaction.rollback()
    if inside != probe:
        raise not_enforced(
            "a transaction-local setting did not take effect on this server",
            reason="binding_has_no_effect",
        )
    if guard.clauses.seals:
        guard.backend = await connection.fetchval("SELECT pg_catalog.pg_backend_pid()")
    if await connection.fetchval(read):
        raise not_enforced(
            "the session names a tenant outside any transaction. Remove the default "
            "(ALTER ROLE ... RESET, ALTER DATABASE ... RESET), or whoever sets it for the session",
            reason="session_names_tenant",
        )
