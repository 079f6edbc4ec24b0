"""``asgi-guard rls adopt``: an existing schema under policies, step by step, and back.

Exit codes: 0: done; 1: a check failed or there are findings, and nothing went on; 2: it could not
be looked at. The URL is an administrator's, through no transaction pooler.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from asgi_guard.errors import ConfigError, GuardError, NotReadyError
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID

if TYPE_CHECKING:
    from asgi_guard.rls.adoption import Adoption, Step

__all__ = ["adopt"]

T = TypeVar("T")

adopt = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables: passwords
    help="Bring an existing schema under policies, step by step, and back.",
)
_FAILED: Final = 1
_UNREADABLE: Final = 2
_SHAPES: Final = {"uuid": UUID, "slug": SLUG, "integer": INTEGER}
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def _out() -> Console:
    # A console keeps the width that it was made with.
    return Console(highlight=False, soft_wrap=True)


_File = Annotated[
    Path, typer.Argument(help="TOML: [tables.notes] with constant, parent, expression or existing.")
]
_Dsn = Annotated[
    str,
    typer.Option(
        envvar="ASGI_GUARD_ADMIN_DSN",
        show_envvar=True,
        help="An administrator's URL. Put it into the environment: an argument is seen by every "
        "user of the machine.",
    ),
]


@adopt.command()
def plan(file: _File, *, dsn: _Dsn) -> None:
    """Print every step and its SQL; change nothing."""
    from asgi_guard.rls.adoption import adoption_status, plan_adoption  # noqa: PLC0415 - loads SQLAlchemy

    async def work(connection: Any, adoption: Adoption) -> list[Step]:
        begun = await adoption_status(connection, adoption.variables)
        return [one.step for one in begun] or await plan_adoption(connection, adoption)

    for step in _connected(file, dsn, work):
        typer.echo(f"{step.script()}\n")


@adopt.command()
def run(
    file: _File,
    *,
    dsn: _Dsn,
    until: Annotated[
        str, typer.Option(help="column, backfill, filled, keys, monitor, swap or enforce.")
    ],
    blocks: Annotated[int, typer.Option(min=1, help="8 kB blocks filled per transaction.")] = 32,
) -> None:
    """Run the steps up to a stage; killed at any moment, run it again."""
    from asgi_guard.rls.adoption import run as run_steps  # noqa: PLC0415 - as above

    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=_errors
    ) as bars:
        tasks: dict[str, Any] = {}

        def on_batch(filled: Any) -> None:
            if filled.table not in tasks:
                tasks[filled.table] = bars.add_task(f"filling {escape(filled.table)}")
            bars.update(tasks[filled.table], completed=filled.done, total=filled.total)

        async def work(connection: Any, adoption: Adoption) -> None:
            await run_steps(
                connection,
                adoption,
                until=until,  # type: ignore[arg-type] # checked there, by value
                blocks=blocks,
                on_step=_tell,
                on_batch=on_batch,
            )

        _connected(file, dsn, work)
    _out().print(f"Done, up to {until}.")


@adopt.command()
def back(
    file: _File,
    *,
    dsn: _Dsn,
    to: Annotated[
        str, typer.Option(help="The last stage that stays; `start` takes everything back.")
    ],
) -> None:
    """Take the steps after a stage back, the last one first."""
    from asgi_guard.rls.adoption import back as take_back  # noqa: PLC0415 - as above

    async def work(connection: Any, adoption: Adoption) -> None:
        stage: Any = None if to == "start" else to
        await take_back(connection, adoption.variables, to=stage, on_step=_tell)

    _connected(file, dsn, work)
    _out().print(f"Taken back, to {to}.")


@adopt.command()
def status(file: _File, *, dsn: _Dsn) -> None:
    """Say how far it has come."""
    from asgi_guard.rls.adoption import adoption_status  # noqa: PLC0415 - as above

    async def work(connection: Any, adoption: Adoption) -> Any:
        return await adoption_status(connection, adoption.variables)

    table = Table("stage", "table", "step", "status")
    for one in _connected(file, dsn, work):
        table.add_row(one.step.stage, escape(one.step.table), escape(one.step.title), one.status)
    _out().print(table)


@adopt.command()
def report(
    file: _File,
    *,
    dsn: _Dsn,
    clear: Annotated[bool, typer.Option("--clear", help="Forget them afterwards.")] = False,
) -> None:
    """Show which statements policies would hide rows from; exit code 1 if there are any."""
    from asgi_guard.rls.adoption import clear_findings, monitor_report  # noqa: PLC0415 - as above

    async def work(connection: Any, adoption: Adoption) -> list[dict[str, Any]]:
        found = await monitor_report(connection, adoption.variables)
        if clear:
            await clear_findings(connection, adoption.variables)
        return found

    found = _connected(file, dsn, work)
    table = Table("table", "kind", "login", "application", "times", "statement")
    for one in found:
        cells = (one["relation"], one["kind"], one["login"], one["application"] or "")
        table.add_row(*map(escape, cells), str(one["times"]), escape(one["statement"] or ""))
    _out().print(table if found else "Nothing would be hidden.")
    if found and not clear:
        raise typer.Exit(_FAILED)


def _tell(step: Step) -> None:
    _out().print(f"[bold]{step.stage}[/bold] {escape(step.table)} {escape(step.title)}")


def _read(file: Path) -> Adoption:
    from asgi_guard.rls import RLSVariables  # noqa: PLC0415 - as above
    from asgi_guard.rls.adoption import Adoption  # noqa: PLC0415 - as above

    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"is no TOML: {error}", "See docs/migrations.md.") from None
    names = dict(settings.get("variables", {}))
    shape = names.pop("shape", "uuid")
    if shape not in _SHAPES:
        raise ConfigError("variables.shape", f"{shape!r} is none", f"Use {', '.join(_SHAPES)}.")
    try:
        variables = RLSVariables(tenant_id=_SHAPES[shape], **names)
    except TypeError:
        raise ConfigError("variables", "an unknown name", "Use those of RLSVariables.") from None
    return Adoption.from_settings(settings, variables)


def _connected(file: Path, dsn: str, work: Callable[[Any, Adoption], Awaitable[T]]) -> T:
    """Run *work* on a connection; turn what can go wrong into a line and an exit code."""
    import asyncpg  # noqa: PLC0415 - `asgi-guard version` needs no driver

    async def session(adoption: Adoption) -> T:
        plain = dsn.replace("postgresql+asyncpg://", "postgresql://", 1)
        connection = await asyncpg.connect(plain, timeout=30)
        try:
            return await work(connection, adoption)
        finally:
            await connection.close()

    try:
        return asyncio.run(session(_read(file)))
    except NotReadyError as error:
        problem, code = str(error), _FAILED
    except GuardError as error:
        problem, code = f"{error.code} {error}", _UNREADABLE
    except (OSError, TimeoutError) as error:
        problem, code = f"cannot connect or read: {type(error).__name__}", _UNREADABLE
    except asyncpg.PostgresError as error:
        # Its message, which names objects; its detail, which holds rows, stays out.
        problem, code = f"database: {error.args[0]}", _FAILED
    _errors.print(f"[red]{escape(problem)}[/red]")
    raise typer.Exit(code)
