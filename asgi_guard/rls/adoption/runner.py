"""Running a plan forward to a stage, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.rls.adoption.batches import Filled, fill
from asgi_guard.rls.adoption.monitoring import clear_query, hidden_query
from asgi_guard.rls.adoption.planning import plan_adoption
from asgi_guard.rls.adoption.retries import retried
from asgi_guard.rls.adoption.spec import STAGES, Adoption, Stage
from asgi_guard.rls.adoption.state import AdoptionStore, Progress, Status
from asgi_guard.rls.adoption.steps import Action, Step
from asgi_guard.rls.variables import RLSVariables

__all__ = ["AdoptionStatus", "adoption_status", "back", "clear_findings", "monitor_report", "run"]

_LOCK_TIMEOUT: Final = "200ms"  # for so long at most do writers queue behind us
_ONE_AT_A_TIME: Final = 0x61736769_67756172  # "asgiguar": of this database, whatever is adopted


@dataclass(frozen=True, slots=True)
class AdoptionStatus:
    """One line of the report: a step and whether it is done."""

    step: Step
    status: str


def _silent(_progress: object) -> None:
    return None


async def monitor_report(connection: Any, variables: RLSVariables) -> list[dict[str, Any]]:
    """Say what policies would hide: relation, kind, login, application, statement, times, last.

    ``unbound`` statements bound no tenant, ``foreign`` ones met another tenant's row. A row stands
    for the first such row of a transaction. Statements may hold values: they are the operator's.
    """
    return [dict(row) for row in await connection.fetch(hidden_query(variables))]


async def clear_findings(connection: Any, variables: RLSVariables) -> None:
    """Forget what was seen, once it is mended: enforcing waits for a clean table."""
    await connection.execute(clear_query(variables))


async def adoption_status(connection: Any, variables: RLSVariables) -> list[AdoptionStatus]:
    """Say how far the adoption of this database has come; empty before the first step."""
    steps = await AdoptionStore(connection, variables).steps()
    return [AdoptionStatus(progress.step, progress.status) for progress in steps]


async def run(
    connection: Any,
    adoption: Adoption,
    *,
    until: Stage,
    blocks: int = 32,
    on_step: Callable[[Step], None] = _silent,
    on_batch: Callable[[Filled], None] = _silent,
) -> None:
    """Run every step up to and with the stage *until* that is not done yet.

    May be killed at any moment: the next run goes on where this one was.

    Args:
        connection: An administrator's asyncpg connection, through no transaction pooler.
        adoption: What is adopted; once begun, the stored plan counts.
        until: The last stage to run.
        blocks: How many 8 kB blocks a batch fills in one transaction.
        on_step: Told of each step before it runs.
        on_batch: Told after each batch.

    Raises:
        ConfigError: *until* is no stage, or as `plan_adoption`.
        NotReadyError: A check failed, a lock could not be had, or another operator is at work.
        asyncpg.PostgresError: The database refuses a statement; the step is as it was.
    """
    last = _place(until)
    if blocks < 1:
        raise ConfigError("adoption.blocks", f"{blocks} is less than one", "Try 32.")
    async with _alone(connection):
        store = AdoptionStore(connection, adoption.variables)
        if not await store.exists():
            await store.begin(await plan_adoption(connection, adoption))
        for progress in await store.steps():
            if progress.status == "done" or STAGES.index(progress.step.stage) > last:
                continue
            on_step(progress.step)
            if progress.status == "backing":  # half taken back: that is finished first
                progress = await _undo(connection, store, progress)  # noqa: PLW2901 - it is planned again
            await _check(connection, progress.step)
            if progress.step.fill:
                await fill(
                    connection, store, progress, adoption.variables, blocks=blocks, told=on_batch
                )
            await _act(connection, store, progress, progress.step.forward, ("begun", "done"))


async def back(
    connection: Any,
    variables: RLSVariables,
    *,
    to: Stage | None,
    on_step: Callable[[Step], None] = _silent,
) -> None:
    """Take back every step after the stage *to*, the last one first; all of them for None.

    Raises:
        ConfigError: *to* is no stage.
        NotReadyError: As `run`.
        asyncpg.PostgresError: As `run`: say, rows that the old key would not have allowed.
    """
    first = -1 if to is None else _place(to)
    async with _alone(connection):
        store = AdoptionStore(connection, variables)
        for progress in reversed(await store.steps()):
            if progress.status == "planned" or STAGES.index(progress.step.stage) <= first:
                continue
            on_step(progress.step)
            await _undo(connection, store, progress)
        if to is None:
            await store.end()


def _place(stage: str) -> int:
    if stage not in STAGES:
        raise ConfigError("adoption.stage", f"{stage!r} is none", f"Use {', '.join(STAGES)}.")
    return STAGES.index(stage)


async def _check(connection: Any, step: Step) -> None:
    for check in step.checks:
        count = await connection.fetchval(check.query)
        if count:
            raise NotReadyError(
                "adoption_check_failed",
                f"{step.table}: {step.title}: {count} {check.problem}.",
            )


async def _undo(connection: Any, store: AdoptionStore, progress: Progress) -> Progress:
    await _act(connection, store, progress, progress.step.backward, ("backing", "planned"))
    return replace(progress, status="planned", action=0, leaf=0, block=0)


async def _act(
    connection: Any,
    store: AdoptionStore,
    progress: Progress,
    actions: tuple[Action, ...],
    words: tuple[Status, Status],
) -> None:
    """Run the actions that are left, each with the note that it is done."""
    during, end = words
    done = progress.action if progress.status == during else 0
    for number, action in enumerate(actions[done:], start=done + 1):
        if action.alone:
            await store.mark(progress.position, during, action=number - 1)
            await _alone_action(connection, action)
            await store.mark(progress.position, during, action=number)
            continue

        async def together(action: Action = action, number: int = number) -> None:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                for statement in action.statements:
                    await connection.execute(statement)
                await store.mark(progress.position, during, action=number)

        await retried(together)
    await store.mark(progress.position, end)


async def _alone_action(connection: Any, action: Action) -> None:
    # No lock timeout: these wait without making writers wait, and a build that gives up would
    # leave an invalid index behind.
    if action.index and await connection.fetchval(_INVALID, action.index):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {action.index}")
    for statement in action.statements:
        await connection.execute(statement)


_INVALID: Final = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_index
        WHERE indexrelid = pg_catalog.to_regclass($1) AND NOT indisvalid)"""


@asynccontextmanager
async def _alone(connection: Any) -> AsyncIterator[None]:
    """Keep a second operator out; the lock goes with the connection, however that ends."""
    if not await connection.fetchval("SELECT pg_catalog.pg_try_advisory_lock($1)", _ONE_AT_A_TIME):
        raise NotReadyError(
            "adoption_running", "Another operator is at work on this database's adoption."
        )
    try:
        await connection.execute("SET statement_timeout = 0")  # an index takes its time
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("RESET statement_timeout")
            await connection.execute("SELECT pg_catalog.pg_advisory_unlock($1)", _ONE_AT_A_TIME)
