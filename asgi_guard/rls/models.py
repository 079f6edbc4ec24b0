"""TenantScoped: what a declarative model needs to belong to a tenant.

    class Note(TenantScoped, Base):
        __tablename__ = "notes"
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)

has the primary key ``(tenant_id, id)``, and an insert takes its tenant from the transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, FetchedValue, ForeignKeyConstraint, Integer, Text, Uuid
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeEngine

from asgi_guard.errors import ConfigError
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.current import require_context

__all__ = ["TenantScoped", "column_type", "tenant_foreign_key"]

_TYPES: Final[dict[str, type[TypeEngine[Any]]]] = {
    "uuid": Uuid,
    "text": Text,
    "bigint": BigInteger,
    "integer": Integer,
}
_READERS: Final[dict[str, Any]] = {"uuid": uuid.UUID, "text": str, "bigint": int, "integer": int}

# Ahead of every other column, so that primary keys and their indexes lead with the tenant.
_FIRST: Final = -1000


class TenantScoped:
    """A declarative mixin: the tenant column, first in the table and in its primary key.

    Set ``__rls_variables__`` on the declarative base when names or id type differ from the
    defaults; the attribute is called ``tenant_id`` whatever the column is called.

    The database fills the column (the default that `tenant_policies` sets) and hands the value
    back with the insert. Naming another tenant is refused by the policy; naming the column at
    all is needed only under the system role, where nothing is bound.

    Many objects in one flush go to the database one by one, because a key column is made there,
    unless another is marked as telling the rows apart: ``mapped_column(primary_key=True,
    default=uuid.uuid4, insert_sentinel=True)``. Two relationships of one model both copy the
    tenant, always the same one; SQLAlchemy wants that said with its ``overlaps=``.

    Integer ids need ``mapped_column(Identity(), primary_key=True)``: SQLAlchemy makes no column
    of a composite key a serial by itself.
    """

    # Without a value: mixins stand before the base, and would hide the base's own.
    __rls_variables__: ClassVar[RLSVariables]

    @declared_attr
    def tenant_id(cls) -> Mapped[Any]:  # noqa: N805 - SQLAlchemy hands the class
        """The tenant whose row this is."""
        variables = _variables_of(cls)
        return mapped_column(
            variables.column,
            column_type(variables),
            primary_key=True,
            nullable=False,
            autoincrement=False,
            server_default=FetchedValue(),
            sort_order=_FIRST,
        )

    @classmethod
    def tenant_key(cls, *key: Any) -> tuple[Any, ...]:
        """Return the full primary key of a row of the current tenant, for ``session.get``.

        ``await session.get(Note, Note.tenant_key(note_id))``

        Args:
            *key: The rest of the primary key.

        Raises:
            ContextMissingError: No context is current.
        """
        tenant = require_context(f"{cls.__name__}.tenant_key").tenant_id
        return (_READERS[_variables_of(cls).tenant_id.sql_type](tenant), *key)


def tenant_foreign_key(
    columns: str | Sequence[str],
    references: str | Sequence[str],
    *,
    ondelete: str | None = None,
    variables: RLSVariables | None = None,
    **options: Any,
) -> ForeignKeyConstraint:
    """Return a foreign key that cannot leave the tenant, for ``__table_args__``.

    ``tenant_foreign_key("note_id", "notes.id", ondelete="CASCADE")`` makes
    ``(tenant_id, note_id)`` refer to ``notes (tenant_id, id)``.

    Args:
        columns: The referring column or columns, without the tenant.
        references: ``"table.column"`` or ``"schema.table.column"``, as many as *columns*.
        ondelete: As SQL spells it. ``SET NULL`` and ``SET DEFAULT`` are narrowed to *columns*
            (PostgreSQL 15 or later), for the tenant column itself stays.
        variables: Names; `RLSVariables` by default.
        **options: Further options of SQLAlchemy's ``ForeignKeyConstraint``.

    Raises:
        ConfigError: Lengths differ, a reference has no table, or several tables are named.
    """
    tenant = (variables or RLSVariables()).column
    mine = [columns] if isinstance(columns, str) else list(columns)
    theirs = [references] if isinstance(references, str) else list(references)
    tables = {reference.rpartition(".")[0] for reference in theirs}
    if len(mine) != len(theirs) or len(tables) != 1 or "" in tables:
        raise ConfigError(
            "tenant_foreign_key",
            f"{mine} cannot refer to {theirs}",
            'Write tenant_foreign_key("note_id", "notes.id").',
        )
    if ondelete is not None and ondelete.upper() in {"SET NULL", "SET DEFAULT"}:
        ondelete = f"{ondelete.upper()} ({', '.join(mine)})"
    return ForeignKeyConstraint(
        [tenant, *mine], [f"{tables.pop()}.{tenant}", *theirs], ondelete=ondelete, **options
    )


def _variables_of(model: Any) -> RLSVariables:
    found: RLSVariables | None = getattr(model, "__rls_variables__", None)
    return found or RLSVariables()


def column_type(variables: RLSVariables) -> type[TypeEngine[Any]]:
    """Return SQLAlchemy's type of tenant ids.

    Raises:
        ConfigError: The id type is none that the policies support.
    """
    try:
        return _TYPES[variables.tenant_id.sql_type]
    except KeyError:
        raise ConfigError(
            "rls.tenant_id.sql_type",
            f"{variables.tenant_id.sql_type!r} is not supported",
            f"Use one of {', '.join(sorted(_TYPES))}.",
        ) from None
