"""``asgi-guard rls``: audit a database's row-level security, and lint its statements.

Exit codes: 0: nothing that keeps an app from starting; 1: something was found; 2: it could not be
looked at. The URL is the app's own role's: the audit is of that role.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asgi_guard.errors import ConfigError, GuardError
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID

if TYPE_CHECKING:
    from asgi_guard.rls.catalog import Finding
    from asgi_guard.rls.operator_lint import OperatorFinding

__all__ = ["rls"]

T = TypeVar("T")

rls = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables: passwords
    help="Audit row-level security, and lint statements for indexes that policies cost.",
)
_FOUND: Final = 1
_UNREADABLE: Final = 2
_SHAPES: Final = {"uuid": UUID, "slug": SLUG, "integer": INTEGER}
_errors = Console(stderr=True, highlight=False)

_Dsn = Annotated[
    str,
    typer.Option(
        envvar="ASGI_GUARD_RLS_DSN",
        show_envvar=True,
        help="The app's own login, postgresql://app_runtime@db/app. Put it into the environment: "
        "an argument is seen by every user of the machine.",
    ),
]
_Format = Annotated[Literal["table", "json", "sql"], typer.Option("--format", help="How to print.")]


@rls.command("audit")
def audit_(
    *,
    dsn: _Dsn,
    policies: Annotated[
        str | None,
        typer.Option(help="The app's TenantPolicies or MetaData, as module:name."),
    ] = None,
    shape: Annotated[Literal["uuid", "slug", "integer"], typer.Option(help="Of ids.")] = "uuid",
    behaviour: Annotated[
        bool, typer.Option("--try/--read-only", help="Also try what must fail, and roll back.")
    ] = True,
    form: _Format = "table",
) -> None:
    """Say in which ways row-level security does not hold, each with the SQL that mends it."""
    from asgi_guard.rls import RLSVariables, audit_catalog  # noqa: PLC0415 - loads SQLAlchemy

    with _told():
        tables = _named(policies) if policies else None
        variables = None if hasattr(tables, "inventory") else RLSVariables(tenant_id=_SHAPES[shape])

        async def work(connection: Any) -> list[Finding]:
            return await audit_catalog(
                connection, tables=tables, variables=variables, behaviour=behaviour
            )

        found = _connected(dsn, work)
    _print_findings(found, form)
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(_FOUND)


@rls.command()
def lint(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files of statements, separated by lines of `;`; - for standard input."
        ),
    ] = None,
    *,
    dsn: _Dsn,
    limit: Annotated[int, typer.Option(min=1, help="Of pg_stat_statements, so many.")] = 1000,
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How to print.")
    ] = "table",
) -> None:
    """Name conditions that lose their index under a policy, with the rewrite that keeps it.

    Without files, the statements are those that pg_stat_statements keeps.
    """
    from asgi_guard.rls.operator_lint import lint_operators, stored_statements  # noqa: PLC0415 - as above

    with _told():
        given = [statement for path in files or () for statement in _statements(path)]

        async def work(connection: Any) -> list[OperatorFinding]:
            statements = given if files else await stored_statements(connection, limit=limit)
            return await lint_operators(connection, statements)

        found = _connected(dsn, work)
    if form == "json":
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        _print_operators(found)
    if found:
        raise typer.Exit(_FOUND)


def _print_findings(found: list[Finding], form: str) -> None:
    if form == "json":
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
        return
    if form == "sql":
        for finding in found:
            typer.echo(f"-- {finding.code}: {finding.object}\n{finding.remedy_sql}\n")
        return
    console = Console(highlight=False)
    if not found:
        console.print("Row-level security holds: no finding.")
        return
    table = Table("severity", "code", "object", "why", "mend", show_lines=True)
    for finding in found:
        colour = "red" if finding.severity == "error" else "yellow"
        cells = (finding.code, finding.object, finding.why, finding.remedy_sql)
        table.add_row(f"[{colour}]{finding.severity}[/{colour}]", *map(escape, cells))
    console.print(table)


def _print_operators(found: list[OperatorFinding]) -> None:
    console = Console(highlight=False)
    if not found:
        console.print("No condition loses its index.")
        return
    table = Table("operator", "tables", "statement", "rewrite", show_lines=True)
    for finding in found:
        cells = (finding.operator, ", ".join(finding.tables), finding.statement, finding.rewrite)
        table.add_row(*map(escape, cells))
    console.print(table)


def _statements(path: Path) -> list[str]:
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    return [part.strip() for part in text.split(";\n") if part.strip()]


def _named(text: str) -> Any:
    module, colon, name = text.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigError(
            "--policies",
            f"{text!r} cannot be imported" if colon else f"{text!r} names no object",
            "Write module:name, e.g. app.models:policies, and run where the app can be imported.",
        ) from None


def _connected(dsn: str, work: Callable[[Any], Awaitable[T]]) -> T:
    import asyncpg  # noqa: PLC0415 - `asgi-guard version` needs no driver

    plain = dsn.replace("postgresql+asyncpg://", "postgresql://", 1)

    async def session() -> T:
        connection = await asyncpg.connect(plain, timeout=30)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(session())


@contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong into a line and an exit code; a driver's text may hold a password."""
    problem = ""
    try:
        yield
    except GuardError as error:
        problem = f"{error.code} {error}"
    except (OSError, TimeoutError) as error:
        problem = f"cannot connect or read: {type(error).__name__}"
    except Exception as error:
        if not type(error).__module__.startswith("asyncpg"):
            raise
        problem = f"database: {type(error).__name__}"
    if problem:
        _errors.print(f"[red]{escape(problem)}[/red]")
        raise typer.Exit(_UNREADABLE)
