"""``asgi-guard audit``: make a key, ask a log, verify it.

Exit codes: 0: it holds; 1: something was found; 2: it could not be looked at.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.audit_log import (
    AuditQuery,
    AuditSigningKey,
    AuditSink,
    AuditTables,
    AuditVerifyKeys,
    Checkpoint,
    JSONLinesAuditSink,
    PostgresAuditSink,
    VerifyReport,
)
from asgi_guard.audit_log.record import MalformedLineError, parse_line
from asgi_guard.audit_log.rendering import AuditFormat, render
from asgi_guard.audit_log.sinks import Seal
from asgi_guard.errors import ConfigError, GuardError

__all__ = ["audit"]

T = TypeVar("T")

audit = typer.Typer(no_args_is_help=True, help="The audit log: make a key, query, verify.")
_BROKEN: Final = 1
_UNREADABLE: Final = 2

_Source = Annotated[
    str, typer.Argument(help="Directory of a JSON Lines log, or postgresql://writer@host/db.")
]
_Table = Annotated[str, typer.Option(help="Of a PostgreSQL log: schema.table of the records.")]


@audit.command()
def keygen(path: Annotated[Path, typer.Argument(help="New file, made with mode 0600.")]) -> None:
    """Make a signing key, and print its public half for verifiers."""
    with _told():
        key = AuditSigningKey.create_file(path)
    typer.echo(key.public_key)


@audit.command()
def query(
    source: _Source,
    *,
    since: Annotated[datetime | None, typer.Option(help="Not before; UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before; UTC.")] = None,
    tenant: Annotated[str | None, typer.Option(help='Tenant id; "" for none.')] = None,
    user: Annotated[str | None, typer.Option(help="User id.")] = None,
    event: Annotated[str | None, typer.Option(help="Event name.")] = None,
    outcome: Annotated[str | None, typer.Option(help="allowed, denied or error.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    form: Annotated[AuditFormat, typer.Option("--format", help="How to print.")] = "table",
    table: _Table = "public.audit_logs",
) -> None:
    """Print records, oldest first, as they are read. Does not verify them."""

    async def work(sink: AuditSink) -> None:
        asked = AuditQuery(
            since=_utc(since),
            until=_utc(until),
            tenant_id=tenant,
            user_id=user,
            name=event,
            outcome=outcome,
            limit=limit,
        )
        async for line in render(sink.read(asked), form=form):
            sys.stdout.write(line)

    with _told():
        asyncio.run(_with_sink(source, table, work))


@audit.command()
def verify(
    source: _Source,
    *,
    public_key: Annotated[
        list[str], typer.Option(help="Whose signatures are believed; may be given again.")
    ],
    anchor: Annotated[
        Path | None, typer.Option(help="Checkpoint saved by an earlier run; must be in the log.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the latest checkpoint there, if all is well.")
    ] = None,
    table: _Table = "public.audit_logs",
) -> None:
    """Verify every record; say the first bad one. Keep the saved checkpoint elsewhere."""
    with _told():
        keys = AuditVerifyKeys(public_key)
        anchors = [] if anchor is None else [_checkpoint(anchor)]
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("verifying")

            def show(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=max(total, 1))

            async def work(sink: AuditSink) -> VerifyReport:
                return await sink.verify(keys, anchors=anchors, progress=show)

            report = asyncio.run(_with_sink(source, table, work))
        if report.ok and save is not None and report.latest is not None:
            save.write_bytes(report.latest.line())
    _conclude(report)


@audit.command()
def expire(
    source: Annotated[str, typer.Argument(help="postgresql://writer@host/db")],
    *,
    key: Annotated[Path, typer.Option(help="Private key file: what is left is signed.")],
    keep_days: Annotated[
        int, typer.Option(help="Days; the database allows no fewer than its own.")
    ],
    former_key: Annotated[
        list[str] | None, typer.Option(help="Public key that signed earlier parts; repeatable.")
    ] = None,
    table: _Table = "public.audit_logs",
) -> None:
    """Delete records that are older, and sign where every chain stands.

    A running log does it once a day by itself, if its tables have ``keep_days``. What goes was
    closed by a signed checkpoint that is older, so the first run of a log finds nothing to delete.
    """

    async def work(sink: AuditSink) -> int:
        if not isinstance(sink, PostgresAuditSink):
            raise ConfigError("SOURCE", "is a directory", "Set JSONLinesAuditSink(keep_days=...).")
        signing = AuditSigningKey.from_file(key)
        keys = AuditVerifyKeys([signing.public_key, *(former_key or ())])
        await sink.open(Seal(signing, keys, SYSTEM_CLOCK))
        try:
            return await sink.expire(keep_days)
        finally:
            await sink.aclose()

    with _told():
        typer.echo(f"deleted: {asyncio.run(_with_sink(source, table, work))} records")


def _conclude(report: VerifyReport) -> None:
    counted = (
        f"{report.records} records in {report.chains} chains, {report.checkpoints} checkpoints"
    )
    if report.ok:
        typer.echo(f"whole: {counted}")
        return
    typer.echo(f"first: {report.first}")
    for finding in report.findings[1:10]:
        typer.echo(f"also:  {finding}")
    typer.echo(f"NOT whole: {len(report.findings)} findings; {counted}")
    raise typer.Exit(_BROKEN)


async def _with_sink(source: str, table: str, work: Callable[[AuditSink], Awaitable[T]]) -> T:
    async with _sink(source, table) as sink:
        return await work(sink)


@asynccontextmanager
async def _sink(source: str, table: str) -> AsyncIterator[AuditSink]:
    if not source.startswith(("postgresql://", "postgres://")):
        yield JSONLinesAuditSink(source)
        return
    import asyncpg  # noqa: PLC0415 - a file is read without a driver

    schema, _, name = table.rpartition(".")
    tables = AuditTables(schema=schema or "public", table=name)
    async with asyncpg.create_pool(source, min_size=1, max_size=1) as pool:
        yield PostgresAuditSink(pool, tables=tables)


def _checkpoint(path: Path) -> Checkpoint:
    try:
        found = parse_line(path.read_bytes())
    except (OSError, MalformedLineError):
        found = None
    if not isinstance(found, Checkpoint):
        raise ConfigError(
            "--anchor", f"{path} holds no checkpoint", "Name what --save has written."
        )
    return found


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong into a line and an exit code; a driver's text may hold a password."""
    problem = ""
    try:
        yield
    except GuardError as error:
        problem = f"{error.code} {error}"
    except OSError as error:
        problem = f"cannot read: {error.strerror or type(error).__name__}"
    except Exception as error:
        if not type(error).__module__.startswith("asyncpg"):
            raise
        problem = f"database: {type(error).__name__}"
    if problem:
        typer.echo(problem, err=True)
        raise typer.Exit(_UNREADABLE)
