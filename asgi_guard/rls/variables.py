"""The names that policies and bindings must agree on: setting, schema, column, roles, id type.

One frozen object, handed to both sides. Every name is checked when the object is built, because
it becomes part of SQL that no bind parameter can carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy.tenant_id import UUID, TenantIdShape

__all__ = ["RLSVariables"]

# Unquoted PostgreSQL identifiers in lower case (PostgreSQL docs, section 4.1.1), 63 bytes.
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# A custom setting has a prefix of its own (PostgreSQL docs, section 19.16).
_SETTING: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RLSVariables:
    """What the database calls things.

    Args:
        setting: Transaction-local setting that carries the tenant.
        user_setting: Transaction-local setting that carries the user.
        schema: Schema of the helper functions ``current_tenant()`` and ``current_user_id()``.
        column: The tenant column of every guarded table.
        owner_role: NOLOGIN role that owns schema, tables and functions.
        runtime_role: Role that the app connects as: NOBYPASSRLS, owns nothing.
        system_role: Role of `system_session`, the audited way across tenants.
        tenant_id: Shape and SQL type of tenant ids.
        sealed: The tenant is bound by a signed token that the functions verify, so that injected
            SQL cannot name another. Engines and pools then need ``seal_keys``; *user_setting* is
            not used, as the token names the user as well.

    Raises:
        ConfigError: A name is not a plain lower-case identifier, or two roles are one.
    """

    setting: str = "app.current_tenant"
    user_setting: str = "app.current_user"
    schema: str = "asgi_guard"
    column: str = "tenant_id"
    owner_role: str = "app_owner"
    runtime_role: str = "app_runtime"
    system_role: str = "app_system"
    tenant_id: TenantIdShape = UUID
    sealed: bool = False

    def __post_init__(self) -> None:
        """Refuse any name that would have to be quoted."""
        for field in ("setting", "user_setting"):
            _check(field, getattr(self, field), _SETTING, "a dotted lower-case name")
        for field in ("schema", "column", "owner_role", "runtime_role", "system_role"):
            _check(field, getattr(self, field), _IDENTIFIER, "a lower-case identifier")
        if self.setting == self.user_setting:
            raise ConfigError(
                "rls.user_setting", "is the tenant's setting", "Give each its own name."
            )
        if len({self.owner_role, self.runtime_role, self.system_role}) != 3:  # noqa: PLR2004
            raise ConfigError(
                "rls.roles",
                "owner, runtime and system are not three different roles",
                "The role that serves requests must own nothing.",
            )


def _check(field: str, value: str, pattern: re.Pattern[str], what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigError(f"rls.{field}", f"{value!r} is not {what}", "Use a-z, 0-9 and _.")
