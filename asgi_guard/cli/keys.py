"""``asgi-guard keys``: look at signing keys, in a folder or a database, and change them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from asgi_guard._internal.clock import utc
from asgi_guard.auth.jose import KeyManager, KeyStore
from asgi_guard.cli.key_stores import Database, existing_store, sql_store, store_at
from asgi_guard.errors import GuardError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.secret import Secret

__all__ = ["keys"]

_T = TypeVar("_T")
_HELP: Final = "Signing keys: rotate, revoke, publish, keep in escrow."

keys = typer.Typer(no_args_is_help=True, help=_HELP, pretty_exceptions_enable=False)

Place = Annotated[
    str,
    typer.Argument(help="Folder of the KeyManager, or sql:RING.", show_default=False),
]
Algorithm = Annotated[
    str, typer.Option(help="Of a key that is made: RS256 (RSA-4096), ES256 or EdDSA.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Whose first line is the passphrase; asked for when it is not given."),
]


@keys.callback()
def _settings(
    context: typer.Context,
    *,
    dsn: Annotated[
        str | None,
        typer.Option(
            envvar="ASGI_GUARD_KEYS_DSN",
            help="For sql:RING, a SQLAlchemy URL, e.g. postgresql+asyncpg://keys@db/app. Put it "
            "into the environment: an argument is seen by every user of the machine.",
        ),
    ] = None,
    master_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ASGI_GUARD_KEYS_MASTER_FILE", help="The vault's master key, mode 0600."
        ),
    ] = None,
    older_master_file: Annotated[
        list[Path] | None, typer.Option(help="A master that sealed them before; repeatable.")
    ] = None,
    table: Annotated[str, typer.Option(help="Name of the table.")] = "signing_keys",
) -> None:
    """Take what keys in a database need."""
    context.obj = Database(
        dsn=dsn,
        master_file=master_file,
        older_master_files=tuple(older_master_file or ()),
        table=table,
    )


@keys.command("init")
def make(context: typer.Context, place: Place, *, algorithm: Algorithm = "RS256") -> None:
    """Make the first key of a place that has none; else do nothing."""
    manager = _run(lambda: _opened(store_at(place, context.obj), algorithm))
    typer.echo(manager.signing_key().kid)


@keys.command("list")
def show(context: typer.Context, place: Place) -> None:
    """Show each key, what it does now, and until when; no key material."""
    manager = _run(lambda: _existing(place, context.obj))
    table = Table("kid", "algorithm", "state", "signs from", "verifies until", box=None)
    for each in manager.status():
        end = "open" if each.verifies_until == float("inf") else _time(each.verifies_until)
        table.add_row(each.kid, each.algorithm, each.state, _time(each.signs_from), end)
    Console(width=160).print(table)


@keys.command("jwks")
def publish(context: typer.Context, place: Place) -> None:
    """Print the JWK Set: the public keys, as the endpoint serves them."""
    typer.echo(_run(lambda: _existing(place, context.obj)).jwks().body.decode())


@keys.command()
def rotate(
    context: typer.Context,
    place: Place,
    *,
    algorithm: Algorithm = "RS256",
    now: Annotated[
        bool, typer.Option("--now", help="Sign with it at once, not a day after it is published.")
    ] = False,
) -> None:
    """Make the next key, or with --now start the one that is published already."""

    async def work() -> str:
        manager = await _existing(place, context.obj, algorithm)
        return await manager.rotate(immediately=now)

    typer.echo(_run(work))


@keys.command()
def revoke(
    context: typer.Context,
    place: Place,
    kid: Annotated[str, typer.Argument(help="As `list` shows it.", show_default=False)],
    *,
    algorithm: Algorithm = "RS256",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a key away at once; every token that it signed is refused from then on."""
    if not yes:
        typer.confirm("Every token that this key signed will be refused. Go on?", abort=True)

    async def work() -> str:
        manager = await _existing(place, context.obj, algorithm)
        await manager.revoke(kid)
        return manager.signing_key().kid

    typer.echo(f"revoked; {_run(work)} signs now")


@keys.command("export")
def export_escrow(
    context: typer.Context,
    place: Place,
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write all keys to a file that is encrypted under a passphrase."""
    passphrase = _passphrase(passphrase_file, confirm=True)

    async def work() -> bytes:
        manager = await _existing(place, context.obj)
        return await manager.export_escrow(passphrase)

    _run_blocking(lambda: _write_new(file, _run(work)))
    typer.echo(f"written to {file}; keep it, and the passphrase elsewhere")


@keys.command()
def restore(
    context: typer.Context,
    place: Place,
    file: Annotated[Path, typer.Argument(help="What `export` wrote.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put the keys of an escrow file into a place that has none."""
    passphrase = _passphrase(passphrase_file, confirm=False)

    async def work() -> str:
        manager = KeyManager(store_at(place, context.obj))
        await manager.restore_escrow(_read(file), passphrase)
        return manager.signing_key().kid

    typer.echo(f"restored; {_run(work)} signs now")


@keys.command()
def reseal(context: typer.Context, place: Place) -> None:
    """Seal keys in a database under the present master, so that an older one can go."""

    async def work() -> bool:
        return await sql_store(place, context.obj).reseal()

    typer.echo("resealed" if _run(work) else "the present master seals them already")


async def _opened(store: KeyStore, algorithm: str = "RS256") -> KeyManager:
    manager = KeyManager(store, algorithm=algorithm)
    await manager.open()
    return manager


async def _existing(place: str, database: Database, algorithm: str = "RS256") -> KeyManager:
    store = await asyncio.to_thread(existing_store, place, database)
    return await _opened(store, algorithm)


def _run(work: Callable[[], Awaitable[_T]]) -> _T:
    async def main() -> _T:
        return await work()

    return _run_blocking(lambda: asyncio.run(main()))


def _run_blocking(work: Callable[[], _T]) -> _T:
    stop = subscribe(_ToStandardError())
    try:
        return work()
    except (GuardError, OSError) as error:
        code = error.code if isinstance(error, GuardError) else type(error).__name__
        Console(stderr=True).print(f"[red]{code}[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    finally:
        stop()


class _ToStandardError:
    """Show events, and leave standard output to the result."""

    def emit(self, event: SecurityEvent) -> None:
        """Print the name and the kid."""
        typer.echo(f"{event.name} {event.details.get('kid', '')}".rstrip(), err=True)


def _passphrase(file: Path | None, *, confirm: bool) -> Secret:
    if file is None:
        return Secret(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
    return Secret(_run_blocking(lambda: file.read_text(encoding="utf-8")).split("\n")[0])


def _read(file: Path) -> bytes:
    return file.read_bytes()


def _write_new(file: Path, content: bytes) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(fd)


def _time(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%SZ")
