"""What is to be adopted: which tables, and where each row's tenant comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.variables import RLSVariables

__all__ = ["STAGES", "Adoption", "Filling", "Source", "Stage"]

Source: TypeAlias = Literal["constant", "parent", "expression", "existing"]
Stage: TypeAlias = Literal["column", "backfill", "filled", "keys", "monitor", "swap", "enforce"]

STAGES: Final[tuple[Stage, ...]] = (
    "column",
    "backfill",
    "filled",
    "keys",
    "monitor",
    "swap",
    "enforce",
)
"""In order. Up to ``monitor`` the app of yesterday keeps working; ``swap`` drops the keys that
lack the tenant, and ``enforce`` hides rows."""

_PARENT: Final = re.compile(r"([^()]+?)(?:\(([^()]+)\))?")


@dataclass(frozen=True, slots=True)
class Filling:
    """Where the tenant of a table's rows comes from.

    Args:
        source: ``constant``, one tenant owns all rows; ``parent``, a foreign key leads to the row
            that knows; ``expression``, SQL over the row's own columns; ``existing``, the column
            is there and filled.
        value: The tenant; ``"notes"`` or, where several keys lead there, ``"notes(note_id)"``;
            the SQL, which the administrator's rights run; nothing.
    """

    source: Source
    value: str = ""

    def parent(self, default_schema: str) -> tuple[TableName, tuple[str, ...]]:
        """Return the table that knows, and the columns that lead there if they were given."""
        found = _PARENT.fullmatch(self.value.strip())
        if found is None:
            raise _bad("parent", self.value, 'Write "notes" or "notes(note_id)".')
        columns = tuple(part.strip() for part in (found[2] or "").split(",") if part.strip())
        return TableName.parse(found[1].strip(), default_schema), columns


@dataclass(frozen=True, slots=True)
class Adoption:
    """The tables to bring under policies.

    Args:
        tables: By name, ``{"notes": Filling("constant", "1111…"), "shop.items": …}``.
        variables: Names and id type of the policies to come.
        schema: Where tables live that name no schema.

    Raises:
        ConfigError: A filling is none, or a constant has not the shape of tenant ids.
    """

    tables: Mapping[TableName, Filling]
    variables: RLSVariables = field(default_factory=RLSVariables)
    schema: str = "public"

    @classmethod
    def of(
        cls,
        tables: Mapping[str, Filling],
        *,
        variables: RLSVariables | None = None,
        schema: str = "public",
    ) -> Adoption:
        """Read the names of *tables*."""
        named = {TableName.parse(name, schema): filling for name, filling in tables.items()}
        return cls(named, variables or RLSVariables(), schema)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], variables: RLSVariables) -> Adoption:
        """Read what a TOML file says: ``[tables.notes]`` with ``constant = "…"`` and its kin.

        Raises:
            ConfigError: A table has no source, several, or one of another name.
        """
        tables = settings.get("tables")
        if not isinstance(tables, Mapping):
            raise _bad(
                "tables", tables, "Write [tables.notes] with constant, parent or expression."
            )
        schema = str(settings.get("schema", "public"))
        return cls.of(
            {str(name): _filling(str(name), entry) for name, entry in tables.items()},
            variables=variables,
            schema=schema,
        )

    def __post_init__(self) -> None:
        """Refuse constants that are no tenant's id."""
        if not self.tables:
            raise _bad("tables", "none", "Name at least one table.")
        for name, filling in self.tables.items():
            if filling.source == "constant":
                try:
                    self.variables.tenant_id.parse(filling.value)
                except TenantInvalidError:
                    raise _bad(f"{name}.constant", filling.value, "Write a tenant's id.") from None
            elif filling.source == "parent":
                filling.parent(self.schema)
            elif filling.source == "expression" and not filling.value.strip():
                raise _bad(f"{name}.expression", filling.value, "Write SQL over the row's columns.")


def _filling(name: str, entry: object) -> Filling:
    known: tuple[Source, ...] = ("constant", "parent", "expression", "existing")
    given = [source for source in known if isinstance(entry, Mapping) and source in entry]
    if not isinstance(entry, Mapping) or len(given) != 1 or len(entry) != 1:
        raise _bad(f"tables.{name}", entry, f"Give it one of {', '.join(known)}.")
    value = entry[given[0]]
    return Filling(given[0], "" if given[0] == "existing" else str(value))


def _bad(setting: str, value: object, remedy: str) -> ConfigError:
    return ConfigError(f"adoption.{setting}", f"{value!r} is not understood", remedy)
