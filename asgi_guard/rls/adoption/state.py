"""How far an adoption has come: a table in the database that is adopted, and nowhere else.

The plan itself is stored when the first step runs: a step that is run, resumed or taken back later
is the one that was printed, whatever the catalog or this package say by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from asgi_guard.errors import ConfigError
from asgi_guard.rls.adoption.steps import Step
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.variables import RLSVariables

__all__ = ["AdoptionStore", "Progress", "Status"]

# NULL where there is none, nothing where it is ours or a superuser's, else whose it is.
_OWNER: Final = """
    SELECT CASE WHEN r.rolsuper OR r.rolname = current_user THEN '' ELSE r.rolname END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
    WHERE c.oid = pg_catalog.to_regclass($1)"""

Status: TypeAlias = Literal["planned", "begun", "done", "backing"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step, and how far it has come.

    Args:
        position: Its place in the plan, from 0.
        step: What it does.
        status: ``begun`` was killed or is running, ``backing`` likewise while it was taken back.
        action: How many of its actions are done, in that direction.
        block: The next block of the table that is being filled.
        leaf: Which of its tables that is.
    """

    position: int
    step: Step
    status: Status
    action: int = 0
    block: int = 0
    leaf: int = 0


class AdoptionStore:
    """The table of steps.

    Args:
        connection: An administrator's asyncpg connection.
        variables: Names.
    """

    def __init__(self, connection: Any, variables: RLSVariables) -> None:
        self._connection = connection
        self._schema = identifier(variables.schema)
        self._table = f"{self._schema}.adoption"

    async def exists(self) -> bool:
        """Tell whether an adoption has begun.

        Raises:
            ConfigError: The table is a stranger's: what it holds would run with our rights.
        """
        owner = await self._connection.fetchval(_OWNER, self._table)
        if owner:
            raise ConfigError(
                "adoption",
                f"{self._table} belongs to {owner}, who could have written anything into it",
                "Run as the administrator who began, or drop the table.",
            )
        return owner is not None

    async def begin(self, plan: list[Step]) -> None:
        """Store *plan*, all of it or nothing."""
        async with self._connection.transaction():
            await self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            await self._connection.execute(
                f"CREATE TABLE {self._table} (position int PRIMARY KEY, step text NOT NULL, "
                "status text NOT NULL DEFAULT 'planned', action int NOT NULL DEFAULT 0, "
                "leaf int NOT NULL DEFAULT 0, block bigint NOT NULL DEFAULT 0, "
                "at timestamptz NOT NULL DEFAULT now())"
            )
            await self._connection.execute(f"REVOKE ALL ON TABLE {self._table} FROM PUBLIC")
            await self._connection.executemany(
                f"INSERT INTO {self._table} (position, step) VALUES ($1, $2)",
                [(position, step.to_json()) for position, step in enumerate(plan)],
            )

    async def steps(self) -> list[Progress]:
        """Return the stored plan; empty before the first step."""
        if not await self.exists():
            return []
        rows = await self._connection.fetch(
            f"SELECT position, step, status, action, leaf, block FROM {self._table} "
            "ORDER BY position"
        )
        return [
            Progress(
                position=row["position"],
                step=Step.from_json(row["step"]),
                status=row["status"],
                action=row["action"],
                leaf=row["leaf"],
                block=row["block"],
            )
            for row in rows
        ]

    async def mark(
        self, position: int, status: Status, *, action: int = 0, leaf: int = 0, block: int = 0
    ) -> None:
        """Write down how far a step has come, in the transaction that is open, if one is."""
        await self._connection.execute(
            f"UPDATE {self._table} SET status = $2, action = $3, leaf = $4, block = $5, "
            "at = now() WHERE position = $1",
            position,
            status,
            action,
            leaf,
            block,
        )

    async def end(self) -> None:
        """Forget the plan: everything was taken back."""
        await self._connection.execute(f"DROP TABLE IF EXISTS {self._table}")
