"""The sealed binding: a signed token, sent as a parameter once the transaction has begun.

Never as text: the role that the app connects as can read the text of its other connections'
statements (``pg_stat_activity``, ``pg_stat_statements``), and a live token in it would be
good for the next transaction of that very connection. That is one more round trip.
"""

from __future__ import annotations

from typing import ClassVar, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, RejectionError
from asgi_guard.protocols import Clock
from asgi_guard.rls.binding.clause import Clauses, not_bindable
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.seal.token import Sealer
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = ["SealedClauses", "clauses_for"]

_KEPT_TOKENS: Final = 1024
_KEPT_LENGTH: Final = 512


class SealedClauses(Clauses):
    """Renders a context as a token.

    Args:
        variables: Name of the setting, and the shape of tenant ids.
        sealer: Signs.
        any_backend: There is a transaction pooler in between, so a token cannot say which
            server process it is for.
        clock: Seconds that never run backwards.
    """

    __slots__ = ("_any_backend", "_clock", "_kept", "_sealer", "statement")
    seals: ClassVar[bool] = True

    def __init__(
        self,
        variables: RLSVariables,
        sealer: Sealer,
        *,
        any_backend: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(variables)
        self._clock = clock
        # Signing is most of what the seal costs the app; a token is used again on its connection
        # for half its life, so that a transaction begun then still has the other half.
        self._kept: dict[tuple[str, str, int], tuple[float, str]] = {}
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
        now = self._clock.monotonic()
        key = (context.tenant_id, context.user_id, 0 if self._any_backend else backend)
        until, token = self._kept.get(key, (0.0, ""))
        if now < until:
            return token
        try:
            tenant_id = self.variables.tenant_id.parse(context.tenant_id)
            token = self._sealer.seal(tenant_id, context.user_id, backend=key[2])
        except (RejectionError, ValueError):
            raise not_bindable() from None
        if len(token) <= _KEPT_LENGTH:
            if len(self._kept) >= _KEPT_TOKENS:
                self._kept.clear()
            self._kept[key] = (now + self._sealer.lifetime / 2, token)
        return token


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
