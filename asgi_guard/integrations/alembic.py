"""Alembic: revisions that create, alter and drop policies, written by autogenerate.

In ``env.py``, where the context is configured::

    from asgi_guard.integrations.alembic import migration_options

    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        **migration_options(policies),  # the app's tenant_policies(...)
    )

From then on ``alembic revision --autogenerate`` writes what the database lacks of *policies* and
``alembic check`` fails while it lacks something. A revision holds the SQL itself, so that it means
in a year what it means today. Going back never opens a table: see each operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError
from asgi_guard.rls.drift.change import Change
from asgi_guard.rls.policies import TenantPolicies

require_extra("alembic", feature="asgi_guard.integrations.alembic", extra="alembic")

from alembic.autogenerate import renderers  # noqa: E402 - a missing extra is told in plain words first
from alembic.autogenerate.api import AutogenContext  # noqa: E402 - as above
from alembic.operations import MigrateOperation, Operations  # noqa: E402 - as above

from asgi_guard.integrations.alembic_drift import OPTION, register  # noqa: E402 - as above

__all__ = [
    "AlterTenantPolicies",
    "CreateTenantPolicies",
    "DropTenantPolicies",
    "migration_options",
]

_INDENT: Final = "    "


def migration_options(policies: TenantPolicies) -> dict[str, Any]:
    """Return the options that make ``context.configure`` compare *policies* as well.

    Args:
        policies: The app's `tenant_policies`, of the same metadata as ``target_metadata``.

    Raises:
        ConfigError: *policies* are none.
    """
    if not isinstance(policies, TenantPolicies):
        raise ConfigError(
            "migration_options(policies)",
            f"got a {type(policies).__name__}",
            "Pass tenant_policies(Base.metadata, ...).",
        )
    return {OPTION: policies}


class _PoliciesOperation(MigrateOperation):
    """Statements that take one table, or roles and helper functions, from one state to another.

    Args:
        target: What it is about, for readers: ``"public.notes"``.
        statements: SQL, run one by one in the revision's transaction.
        undo: What the opposite operation runs; autogenerate writes it into ``downgrade()``.
    """

    verb = ""

    def __init__(self, target: str, statements: Sequence[str], *, undo: Sequence[str] = ()) -> None:
        self.target = target
        self.statements = tuple(statements)
        self.undo = tuple(undo)

    def to_diff_tuple(self) -> tuple[str, str]:
        """Say what ``alembic check`` prints."""
        return (f"{self.verb}_tenant_policies", self.target)

    @classmethod
    def _run(cls, operations: Operations, target: str, statements: Sequence[str]) -> None:
        operations.invoke(cls(target, statements))


@Operations.register_operation("create_tenant_policies")
class CreateTenantPolicies(_PoliciesOperation):
    """Put a table under policies, or make the roles and functions that policies need.

    Going back shuts the table: no grant to the app's roles and PUBLIC, row-level security on and
    forced, no policy. Roles and functions stay: other tables and databases may use them, and they
    show nothing to nobody.
    """

    verb = "create"

    @classmethod
    def create_tenant_policies(
        cls, operations: Operations, target: str, statements: Sequence[str]
    ) -> None:
        """Run *statements*; see the class."""
        cls._run(operations, target, statements)

    def reverse(self) -> DropTenantPolicies:
        """Return what shuts the table."""
        return DropTenantPolicies(self.target, self.undo, undo=self.statements)


@Operations.register_operation("alter_tenant_policies")
class AlterTenantPolicies(_PoliciesOperation):
    """Mend policies that differ from what is described, or change a table's kind.

    Going back restores what was there only where that was sound; what was found altered by hand
    stays mended.
    """

    verb = "alter"

    @classmethod
    def alter_tenant_policies(
        cls, operations: Operations, target: str, statements: Sequence[str]
    ) -> None:
        """Run *statements*; see the class."""
        cls._run(operations, target, statements)

    def reverse(self) -> AlterTenantPolicies:
        """Return what restores a sound state, or does nothing."""
        return AlterTenantPolicies(self.target, self.undo, undo=self.statements)


@Operations.register_operation("drop_tenant_policies")
class DropTenantPolicies(_PoliciesOperation):
    """Shut a table before it is dropped; going back guards it again once it is made again."""

    verb = "drop"

    @classmethod
    def drop_tenant_policies(
        cls, operations: Operations, target: str, statements: Sequence[str]
    ) -> None:
        """Run *statements*; see the class."""
        cls._run(operations, target, statements)

    def reverse(self) -> CreateTenantPolicies:
        """Return what guards the table."""
        return CreateTenantPolicies(self.target, self.undo, undo=self.statements)


_OPERATIONS: Final[dict[str, type[_PoliciesOperation]]] = {
    "create": CreateTenantPolicies,
    "alter": AlterTenantPolicies,
    "drop": DropTenantPolicies,
}


def _operation_of(change: Change) -> MigrateOperation:
    return _OPERATIONS[change.action](change.object, change.upgrade, undo=change.downgrade)


@Operations.implementation_for(CreateTenantPolicies)
@Operations.implementation_for(AlterTenantPolicies)
@Operations.implementation_for(DropTenantPolicies)
def _execute(operations: Operations, operation: _PoliciesOperation) -> None:
    context = operations.migration_context
    for statement in operation.statements:
        if context.as_sql:
            context.impl.static_output(f"{statement};\n")
        else:
            # no_parameters: a "%" of format() is not a placeholder, nor ":name" one of text().
            operations.get_bind().exec_driver_sql(
                statement, execution_options={"no_parameters": True}
            )


@renderers.dispatch_for(CreateTenantPolicies)
@renderers.dispatch_for(AlterTenantPolicies)
@renderers.dispatch_for(DropTenantPolicies)
def _render(_context: AutogenContext, operation: _PoliciesOperation) -> str:
    """Write the call with its SQL, a source line for each line of it."""
    head = f"op.{operation.verb}_tenant_policies("
    if not operation.statements:
        return f"{head}{operation.target!r}, [])  # stays as it is: nothing sound to go back to"
    lines = [head, f"{_INDENT}{operation.target!r},", f"{_INDENT}["]
    for statement in operation.statements:
        pieces = [f"{_INDENT * 3}{piece!r}" for piece in statement.splitlines(keepends=True)]
        if len(pieces) == 1:
            lines.append(f"{_INDENT * 2}{statement!r},")
        else:
            lines += [f"{_INDENT * 2}(", *pieces, f"{_INDENT * 2}),"]
    return "\n".join([*lines, f"{_INDENT}],", ")"])


register(_operation_of)
