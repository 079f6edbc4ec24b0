"""What travels with BEGIN: the SQL that binds one tenant and one user to one transaction.

The values cannot be bind parameters (BEGIN travels in a simple query, which takes none), so they
are quoted here, and nowhere else. A tenant id must have the configured shape; a user id may be
any text that PostgreSQL can store.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Final

from asgi_guard.errors import RejectionError, RLSViolationError
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = ["Clauses", "not_bindable", "quote_literal"]

_CACHED_PAIRS: Final = 1024
# A cache of long ids would be a way to fill the memory.
_CACHED_LENGTH: Final = 256


def quote_literal(text: str) -> str:
    r"""Quote *text* as a string constant (PostgreSQL manual, section 4.1.2).

    With a backslash in it the ``E''`` form is used, which reads the same whether
    ``standard_conforming_strings`` is on or off; that is what libpq's ``PQescapeLiteral`` does.

    Raises:
        ValueError: It holds a zero character or half a surrogate pair, which no text value may.
    """
    if "\0" in text:
        raise ValueError("a zero character cannot be stored")
    text.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
    quoted = text.replace("'", "''")
    if "\\" not in quoted:
        return f"'{quoted}'"
    return " E'" + quoted.replace("\\", "\\\\") + "'"


class Clauses:
    """Renders the binding of a context, remembering recent pairs of tenant and user.

    Args:
        variables: Names of the two settings, and the shape of tenant ids.
    """

    __slots__ = ("_recent", "_tenant", "_user", "reset", "variables")
    seals: ClassVar[bool] = False

    def __init__(self, variables: RLSVariables) -> None:
        self.variables = variables
        # Quoted, because a plain name may be a keyword: current_user is one.
        self._tenant = _quote_setting(variables.setting)
        self._user = _quote_setting(variables.user_setting)
        # What ends, after COMMIT, a tenant that was set for the session meanwhile.
        self.reset = f"RESET {self._tenant};"
        self._recent = lru_cache(maxsize=_CACHED_PAIRS)(self._render)

    def bind(self, context: UserExecutionContext) -> str:
        """Give the statements that bind *context* to the transaction they are sent in.

        Raises:
            RLSViolationError: An id cannot be carried (``RLS_NOT_ENFORCED``).
        """
        user_id = context.user_id
        try:
            if len(user_id) <= _CACHED_LENGTH:
                return self._recent(context.tenant_id, user_id)
            return self._render(context.tenant_id, user_id)
        except (RejectionError, ValueError):
            raise not_bindable() from None

    def bind_call(self, context: UserExecutionContext) -> str:
        """Give the same as one ``SELECT``, for drivers that send one statement at a time.

        Raises:
            RLSViolationError: An id cannot be carried (``RLS_NOT_ENFORCED``).
        """
        try:
            tenant, user = self._values(context.tenant_id, context.user_id)
        except (RejectionError, ValueError):
            raise not_bindable() from None
        names = self.variables
        return (
            f"SELECT pg_catalog.set_config('{names.setting}', {tenant}, true), "
            f"pg_catalog.set_config('{names.user_setting}', {user}, true)"
        )

    def probe(self, value: str) -> str:
        """Give the statement that binds *value*, no tenant's id, for the self-test."""
        return f"SET LOCAL {self._tenant} = {quote_literal(value)};"

    def read(self) -> str:
        """Give the query for the bound value; NULL or empty when there is none."""
        return f"SELECT pg_catalog.current_setting('{self.variables.setting}', true)"

    def _render(self, tenant_id: str, user_id: str) -> str:
        tenant, user = self._values(tenant_id, user_id)
        return f"SET LOCAL {self._tenant} = {tenant};SET LOCAL {self._user} = {user};"

    def _values(self, tenant_id: str, user_id: str) -> tuple[str, str]:
        return quote_literal(self.variables.tenant_id.parse(tenant_id)), quote_literal(user_id)


def not_bindable() -> RLSViolationError:
    """Give the error for a context whose ids cannot travel."""
    return not_enforced(
        "the context's tenant or user id cannot be bound: the tenant id has another shape than "
        "RLSVariables.tenant_id, or the user id is not storable text",
        reason="id_not_bindable",
    )


def _quote_setting(name: str) -> str:
    prefix, _, leaf = name.partition(".")
    return f'"{prefix}"."{leaf}"'
