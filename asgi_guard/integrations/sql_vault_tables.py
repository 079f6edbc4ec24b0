"""The tables of `SqlVaultStore`, to be created and guarded with the app's own."""

from __future__ import annotations

import uuid
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column

from asgi_guard.errors import ConfigError
from asgi_guard.rls.models import TenantScoped, tenant_foreign_key
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.vault.records import StoredKey
from asgi_guard.vault.slot import Slot

__all__ = ["KEY_COLUMNS", "VaultTables"]

KEY_COLUMNS: Final = ("number", "key_id", "master_id", "wrapped", "shredded")
"""Of the table of data keys, in the order of `StoredKey`'s fields."""

_READERS: Final[dict[str, Any]] = {"uuid": uuid.UUID, "text": str, "bigint": int, "integer": int}


class VaultTables:
    """Three guarded tables in *metadata*: data keys, heads and secrets.

    ::

        vault_tables = VaultTables(Base.metadata, variables=variables)
        policies = tenant_policies(Base.metadata, variables=variables)

    Back up the keys apart from the secrets, and for a shorter time: destroying a tenant's keys
    reaches only the copies of them that you can destroy as well.

    Args:
        metadata: The app's own, which `tenant_policies` and migrations read.
        variables: Names that the database uses; the defaults when None.
        prefix: Of the three table names.

    Raises:
        ConfigError: Tables of these names are there already, or the id type is not supported.
    """

    def __init__(
        self, metadata: MetaData, *, variables: RLSVariables | None = None, prefix: str = "vault_"
    ) -> None:
        names = variables or RLSVariables()
        taken = {f"{prefix}{part}" for part in ("keys", "heads", "secrets")} & set(metadata.tables)
        if taken:
            raise ConfigError(
                "VaultTables.prefix", f"{sorted(taken)} are there already", "Choose another prefix."
            )
        self.tenant = names.column
        self._shape = names.tenant_id
        self.keys, self.heads, self.secrets = _define(metadata, names, prefix)

    def tenant_value(self, tenant_id: str) -> Any:
        """Return *tenant_id* as the tenant column's type.

        Raises:
            TenantInvalidError: It has another shape than the tenant ids of this database.
        """
        return _READERS[self._shape.sql_type](self._shape.parse(tenant_id))

    def of(self, table: Table, tenant_id: str) -> ColumnElement[bool]:
        """Return the condition that a row is the tenant's.

        The policy says the same; two walls, and each stands without the other.
        """
        condition: ColumnElement[bool] = table.c[self.tenant] == self.tenant_value(tenant_id)
        return condition

    def at(self, table: Table, slot: Slot) -> ColumnElement[bool]:
        """Return the condition that a row is the slot's."""
        return and_(
            self.of(table, slot.tenant_id),
            table.c.user_id == slot.user_id,
            table.c.provider == slot.provider,
        )

    def place(self, slot: Slot) -> dict[str, Any]:
        """Return the key columns of the slot's rows."""
        return {
            self.tenant: self.tenant_value(slot.tenant_id),
            "user_id": slot.user_id,
            "provider": slot.provider,
        }

    def key_row(self, tenant_id: str, key: StoredKey) -> dict[str, Any]:
        """Return the row of one data key."""
        content = {name: getattr(key, name) for name in KEY_COLUMNS}
        return {self.tenant: self.tenant_value(tenant_id), **content}


def _define(metadata: MetaData, names: RLSVariables, prefix: str) -> tuple[Table, Table, Table]:
    base: Any = type(
        "VaultBase", (DeclarativeBase,), {"metadata": metadata, "__rls_variables__": names}
    )
    keys = {
        "number": mapped_column(Integer, primary_key=True, autoincrement=False),
        "key_id": mapped_column(LargeBinary, nullable=False),
        "master_id": mapped_column(Text, nullable=False),
        "wrapped": mapped_column(LargeBinary, nullable=False),
        "shredded": mapped_column(Boolean, nullable=False),
    }
    heads = {
        **_slot_columns(),
        "version": mapped_column(BigInteger, nullable=False),
        "status": mapped_column(Text, nullable=False),
        # Who is asking the provider for a new token, and until when others wait for it.
        "lease": mapped_column(Text, nullable=True),
        "leased_until": mapped_column(DateTime(timezone=True), nullable=True),
    }
    secrets = {
        **_slot_columns(),
        "version": mapped_column(BigInteger, nullable=False),
        "key_number": mapped_column(Integer, nullable=False, index=True),
        "envelope": mapped_column(LargeBinary, nullable=False),
        # The database refuses to drop a key in use, and to store under a key that is gone.
        "__table_args__": (
            tenant_foreign_key("key_number", f"{prefix}keys.number", variables=names),
        ),
    }
    made = [
        type(f"Vault{part.title()}", (TenantScoped, base), {**content, **_named(prefix + part)})
        for part, content in (("keys", keys), ("heads", heads), ("secrets", secrets))
    ]
    first, second, third = (model.__table__ for model in made)  # type: ignore[attr-defined]  # declarative
    return first, second, third


def _slot_columns() -> dict[str, Any]:
    return {
        "user_id": mapped_column(Text, primary_key=True),
        "provider": mapped_column(Text, primary_key=True),
    }


def _named(table: str) -> dict[str, Any]:
    return {"__tablename__": table, "__module__": __name__}
