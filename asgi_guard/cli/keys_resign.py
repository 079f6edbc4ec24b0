"""``asgi-guard keys migrate-hs256 resign``: stored tokens under the new key, in batches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.auth.jose import MigrationState, Resigner
from asgi_guard.cli.migration_files import (
    ERRORS,
    DryRun,
    Folder,
    SecretFile,
    existing,
    manager,
    one_line,
    secret,
)
from asgi_guard.errors import ConfigError
from asgi_guard.integrations.stored_tokens import StoredTokenFile, StoredTokenTable, Tally

__all__ = ["resign"]


def resign(
    folder: Folder,
    *,
    secret_file: SecretFile,
    file: Annotated[Path | None, typer.Option(help="One token per line, mode 0600.")] = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            envvar="ASGI_GUARD_MIGRATION_DSN",
            show_envvar=True,
            help="SQLAlchemy URL with an async driver; put it into the environment.",
        ),
    ] = None,
    table: Annotated[str, typer.Option(help="Table of stored tokens.")] = "refresh_tokens",
    id_column: Annotated[str, typer.Option(help="Its unique, ordered column.")] = "id",
    token_column: Annotated[str, typer.Option(help="Its column with the token.")] = "token",  # noqa: S107 - a name
    typ: Annotated[str, typer.Option(help="Of the new tokens.")] = "refresh+jwt",
    batch: Annotated[int, typer.Option(help="Tokens per transaction.")] = 500,
    to_hs256: Annotated[bool, typer.Option("--back", help="From the new key to HS256.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Sign the tokens that an app has stored anew; may be repeated, and killed at any point."""
    with one_line("resign", dry_run=dry_run) as details:
        state = existing(folder)
        _check(state, named=(file, dsn), to_hs256=to_hs256)

        async def work() -> Tally:
            keys = manager(folder, state.algorithm, state.longest_lifetime)
            await keys.open()
            resigner = Resigner(
                secret=secret(secret_file),
                key=keys.signing_key(),
                find=keys.find,
                typ=typ,
                back=to_hs256,
            )
            if file is not None:
                return await _shown(StoredTokenFile(file), resigner, batch, dry_run=dry_run)
            engine = create_async_engine(str(dsn), hide_parameters=True)
            try:
                stored = StoredTokenTable(
                    engine, table, id_column=id_column, token_column=token_column
                )
                return await _shown(stored, resigner, batch, dry_run=dry_run)
            finally:
                await engine.dispose()

        tally = asyncio.run(work())
        details |= {each: count for each, count in sorted(tally.items()) if count}
        words = ", ".join(f"{count} {each}" for each, count in sorted(tally.items()) if count)
        typer.echo(f"{'would be: ' if dry_run else ''}{words or 'no tokens'}")


def _check(state: MigrationState, *, named: tuple[Path | None, str | None], to_hs256: bool) -> None:
    if named.count(None) != 1:
        raise ConfigError("--file, --dsn", "name none or two", "Name one.")
    if state.phase != "switched" and not to_hs256:
        raise ConfigError("migration", f"is {state.phase}", "Switch before; then re-sign.")


async def _shown(
    stored: StoredTokenFile | StoredTokenTable, resigner: Resigner, batch: int, *, dry_run: bool
) -> Tally:
    bar = Progress(
        TextColumn("re-signing"), BarColumn(), MofNCompleteColumn(), console=ERRORS, transient=True
    )
    with bar:
        task = bar.add_task("", total=await stored.count())
        return await stored.resign(
            resigner,
            batch=batch,
            dry_run=dry_run,
            tell=lambda tally: bar.update(task, completed=tally.total()),
        )
