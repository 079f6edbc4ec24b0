"""Asking the database itself whom a connection works for, before anything else is asked of it."""

from __future__ import annotations

from typing import Any

from asgi_guard.errors import GuardError
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import unverified

__all__ = ["SystemProof", "TenantProof", "cannot_verify"]


def cannot_verify(operation: str) -> GuardError:
    """Give the error for a database that could not answer the question."""
    return unverified(
        "the database could not say which tenant or role this is. Apply tenant_policies first",
        reason="verification_query_failed",
        operation=operation,
    )


class TenantProof:
    """The question whether policies see *tenant_id* here, and apply to this role at all.

    Args:
        variables: Names that the database uses.
        tenant_id: Who should be bound.
        operation: For the error.
    """

    def __init__(self, variables: RLSVariables, tenant_id: str, operation: str) -> None:
        self.query = (
            f"SELECT {variables.schema}.current_tenant()::text, rolsuper OR rolbypassrls "  # noqa: S608 - checked identifier
            "FROM pg_catalog.pg_roles WHERE rolname = current_user"
        )
        self._tenant_id = tenant_id
        self._operation = operation

    def judge(self, row: Any) -> None:
        """Compare the answer.

        Raises:
            RLSViolationError: Another tenant, none, or a role that no policy applies to
                (``RLS_VERIFICATION_FAILED``).
        """
        if row is None or row[0] != self._tenant_id:
            raise unverified(
                "the database is bound to another tenant than asked for, or to none",
                reason="database_says_other_tenant",
                operation=self._operation,
            )
        if row[1]:
            raise unverified(
                "the role of this connection bypasses row-level security",
                reason="role_bypasses_rls",
                operation=self._operation,
            )


class SystemProof:
    """The question whether this connection is the system role's.

    Args:
        variables: Names that the database uses.
        operation: For the error.
    """

    query = "SELECT current_user::text, session_user::text"

    def __init__(self, variables: RLSVariables, operation: str) -> None:
        self._wanted = variables.system_role
        self._operation = operation

    def judge(self, row: Any) -> None:
        """Compare the answer.

        Raises:
            RLSViolationError: It is another role's (``RLS_VERIFICATION_FAILED``).
        """
        if row is None or tuple(row) != (self._wanted, self._wanted):
            raise unverified(
                "the system engine does not connect as RLSVariables.system_role",
                reason="not_the_system_role",
                operation=self._operation,
            )
