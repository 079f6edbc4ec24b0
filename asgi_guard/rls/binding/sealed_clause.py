"""The sealed binding: a signed token, sent as a parameter once the transaction has begun.

Never as text: the role that the app connects as can read the text of its other connections'
statements (``pg_stat_activity``, ``pg_stat_statements``), and a live token in it would be
good for the next transaction of that very connection. That is one more round trip.
"""

from __future__ import annotations

from typing import ClassVar

from asgi_guard.errors import ConfigError, RejectionError
from asgi_guard.rls.binding.clause import Clauses, not_bindable
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.seal.token import Sealer
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = ["SealedClauses", "clauses_for"]


class SealedClauses(Clauses):
    """Renders a context as a token.

    Args:
        variables: Name of the setting, and the shape of tenant ids.
        sealer: Signs.
        any_backend: There is a transaction pooler in between, so a token cannot say which
            server process it is for.
    """

    __slots__ = ("_any_backend", "_sealer", "statement")
    seals: ClassVar[bool] = True

    def __init__(self, variables: RLSVariables, sealer: Sealer, *, any_backend: bool) -> None:
        super().__init__(variables)
        self._sealer = sealer
        self._any_backend = any_backend
        self.statement = f"SELECT pg_catalog.set_config('{variables.setting}', $1, true)"

    def bind(self, context: UserExecutionContext) -> str:
        """Give no text: `token` is sent on its own."""
        del context
        return ""

    def token(self, context: UserExecutionContext, backend: int) -> str:
        """Seal *context* for the server process *backend*.

        Raises:
            RLSViolationError: An id cannot be carried (``RLS_NOT_ENFORCED``).
        """
        try:
            tenant_id = self.variables.tenant_id.parse(context.tenant_id)
            process = 0 if self._any_backend else backend
            return self._sealer.seal(tenant_id, context.user_id, backend=process)
        except (RejectionError, ValueError):
            raise not_bindable() from None


def clauses_for(
    variables: RLSVariables, seal_keys: SealKeys | None, *, transaction_pooler: bool
) -> Clauses:
    """Choose how a context is bound.

    Raises:
        ConfigError: Sealed variables without keys, or keys without sealed variables.
    """
    if not variables.sealed:
        if seal_keys is not None:
            raise ConfigError(
                "rls.seal_keys",
                "are given, but RLSVariables.sealed is False",
                "Pass variables=RLSVariables(sealed=True), to tenant_policies as well.",
            )
        return Clauses(variables)
    if not isinstance(seal_keys, SealKeys):
        raise ConfigError(
            "rls.seal_keys",
            "are missing, and RLSVariables.sealed is True",
            "Pass seal_keys=SealKeys.from_file(path).",
        )
    return SealedClauses(variables, Sealer(seal_keys), any_backend=transaction_pooler)
