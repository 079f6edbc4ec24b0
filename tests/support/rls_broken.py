"""A binding with its pieces taken out on purpose: the proofs must report a leak on it.

It is the real thing with the two mistakes that libraries of this kind make. It may be used for
nothing but showing that a proof can fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from asgi_guard.rls.binding.asyncpg_connection import GuardedConnection, QuickConnection
from asgi_guard.rls.binding.asyncpg_protocol import BoundProtocol
from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.dbapi_engine import _BindingListeners
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context

__all__ = ["no_first_wall", "session_level_binding"]


@contextmanager
def no_first_wall() -> Iterator[None]:
    """Let statements without a tenant go out, unbound; with one, everything is as it should be."""
    whole_may_send, whole_arm, whole_bind = (
        BoundProtocol._may_send,
        BoundProtocol.arm,
        _BindingListeners.bind,
    )

    def may_send(self: BoundProtocol) -> bool:
        return current_context() is None or whole_may_send(self)

    def arm(self: BoundProtocol) -> None:
        if current_context() is not None:
            whole_arm(self)

    def bind(self: _BindingListeners, connection: Any) -> None:
        if current_context() is not None:
            whole_bind(self, connection)

    def nothing(*_arguments: Any) -> None:
        """Check nothing."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundProtocol, "_may_send", may_send)
        patch.setattr(BoundProtocol, "arm", arm)
        patch.setattr(_BindingListeners, "bind", bind)
        patch.setattr("asgi_guard.rls.binding.session.pin", nothing)
        for module in ("asyncpg_transaction", "dbapi_engine"):
            patch.setattr(f"asgi_guard.rls.binding.{module}.require_same", nothing)
        patch.setattr("asgi_guard.rls.binding.dbapi_engine._need_tenant", nothing)
        yield


@contextmanager
def session_level_binding() -> Iterator[None]:
    """Bind with SET instead of SET LOCAL, never reset, and let a lost context pass.

    The setting then outlives its transaction on the pooled connection, and whoever forgets to
    bind works for the tenant before.
    """
    whole_init, whole_render = Clauses.__init__, Clauses._render

    def init(self: Clauses, variables: RLSVariables) -> None:
        whole_init(self, variables)
        self.reset = ""

    def render(self: Clauses, tenant_id: str, user_id: str) -> str:
        return whole_render(self, tenant_id, user_id).replace("SET LOCAL", "SET")

    def bind_call(self: Clauses, context: UserExecutionContext) -> str:
        tenant, user = self._values(context.tenant_id, context.user_id)
        names = self.variables
        return (
            f"SELECT set_config('{names.setting}', {tenant}, false), "
            f"set_config('{names.user_setting}', {user}, false)"
        )

    async def prove_nothing(_connection: GuardedConnection) -> None:
        """Skip the self-test: it would refuse the connection that the leak is on."""

    async def reset(self: GuardedConnection, **_options: Any) -> None:
        await self._reset()

    with no_first_wall(), pytest.MonkeyPatch.context() as patch:
        for module in ("pool", "asyncpg_engine"):
            patch.setattr(f"asgi_guard.rls.binding.{module}.prove_binding", prove_nothing)
        patch.setattr(Clauses, "_render", render)
        patch.setattr(Clauses, "bind_call", bind_call)
        for connection in (GuardedConnection, QuickConnection):
            patch.setattr(connection, "reset", reset)
        patch.setattr(Clauses, "__init__", init)
        yield
