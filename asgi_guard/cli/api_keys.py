"""``asgi-guard api-keys``: create, list, rotate and revoke, against the SQL store.

A new key is printed to standard output, alone on its line, and everything else to standard error,
so that ``asgi-guard api-keys create ... | secret-tool store ...`` shows it to nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard.auth.api_keys import APIKey, APIKeyService, IssuedKey, KeyFormat
from asgi_guard.errors import AuthenticationError, ConfigError, GuardError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.secret import Secret

__all__ = ["api_keys"]

T = TypeVar("T")
DAY: Final = 86_400.0

api_keys = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables: keys
    help="Create, list, rotate and revoke API keys.",
)
_errors = Console(stderr=True, highlight=False)

Tenant = Annotated[str, typer.Option("--tenant", help="Tenant id that the key opens.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    dsn: str
    pepper: Secret
    key_format: KeyFormat
    table: str


@api_keys.callback()
def _settings(
    context: typer.Context,
    *,
    dsn: Annotated[
        str,
        typer.Option(
            envvar="ASGI_GUARD_API_KEYS_DSN",
            show_envvar=True,
            help="SQLAlchemy URL, e.g. postgresql+asyncpg://api_keys@db/app. Put it into the "
            "environment: an argument is seen by every user of the machine.",
        ),
    ],
    pepper_file: Annotated[
        Path, typer.Option(envvar="ASGI_GUARD_API_KEYS_PEPPER_FILE", help="File with the pepper.")
    ],
    app: Annotated[str, typer.Option(help="First word of the keys.")],
    env: Annotated[str, typer.Option(help="Second word of the keys.")] = "live",
    table: Annotated[str, typer.Option(help="Name of the table.")] = "api_keys",
) -> None:
    """Take the settings that all commands share."""
    with _one_line():
        context.obj = _Settings(
            dsn=dsn, pepper=_pepper(pepper_file), key_format=KeyFormat(app, env), table=table
        )


@api_keys.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What its owner will know it by.")],
    *,
    tenant: Tenant,
    user: Annotated[str, typer.Option("--user", help="User whom the key acts for.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be repeated.")] = None,
    days: Annotated[float, typer.Option(help="Days until it expires.")] = 90,
) -> None:
    """Create a key and print it, once."""
    _print_new(
        _run(
            context,
            lambda keys: keys.create(
                name=name,
                tenant_id=tenant,
                user_id=user,
                scopes=scope or [],
                expires_in=days * DAY,
            ),
        )
    )


@api_keys.command("list")
def list_(
    context: typer.Context,
    *,
    tenant: Tenant,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 100,
) -> None:
    """List the newest keys of a tenant; no key can be had from it."""
    found = _run(context, lambda keys: keys.list_keys(tenant_id=tenant, user_id=user, limit=limit))
    table = Table("id", "key", "name", "user", "scopes", "state", "expires", "last used")
    for key in found:
        table.add_row(*map(escape, _row(key)))
    Console(highlight=False).print(table)


@api_keys.command()
def rotate(
    context: typer.Context,
    key_id: KeyId,
    *,
    tenant: Tenant,
    overlap: Annotated[
        float, typer.Option(help="Seconds that both keys work; 0 if the old one leaked.")
    ] = DAY,
) -> None:
    """Print a successor with the same rights, and let the old key end."""
    _print_new(_run(context, lambda keys: keys.rotate(key_id, tenant_id=tenant, overlap=overlap)))


@api_keys.command()
def revoke(context: typer.Context, key_id: KeyId, *, tenant: Tenant) -> None:
    """Revoke a key; every process refuses it within 5 seconds."""
    if not _run(context, lambda keys: keys.revoke(key_id, tenant_id=tenant)):
        _errors.print("There is no such key in this tenant, or it was revoked before.")
        raise typer.Exit(1)
    _errors.print(f"Revoked {escape(key_id)}.")


@api_keys.command("revoke-all")
def revoke_all(
    context: typer.Context,
    *,
    tenant: Tenant,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revoke all keys of a tenant, or of one user in it."""
    if not yes:
        typer.confirm(
            "Every program that uses one of these keys will be refused. Go on?", abort=True
        )
    count = _run(context, lambda keys: keys.revoke_all(tenant_id=tenant, user_id=user))
    _errors.print(f"Revoked {count}.")


@api_keys.command("revoke-leaked")
def revoke_leaked(context: typer.Context) -> None:
    """Revoke the keys that a text on standard input holds: a log, a file, a report."""
    text = typer.get_text_stream("stdin").read()
    key_format: KeyFormat = context.obj.key_format
    leaked = list(dict.fromkeys(text[start:end] for start, end in key_format.find(text)))

    async def work(keys: APIKeyService) -> int:
        count = 0
        for each in leaked:
            with suppress(AuthenticationError):  # it opens nothing
                record = await keys.verify(each)
                count += await keys.revoke(record.key_id, tenant_id=record.tenant_id)
        return count

    _errors.print(f"Found {len(leaked)} keys, revoked {_run(context, work)}.")


def _run(context: typer.Context, work: Callable[[APIKeyService], Awaitable[T]]) -> T:
    settings: _Settings = context.obj

    async def session() -> T:
        from sqlalchemy import MetaData  # noqa: PLC0415 - `asgi-guard version` needs no database
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - as above

        from asgi_guard.integrations.sql_api_keys import (  # noqa: PLC0415 - as above
            SQLAPIKeyStore,
            api_keys_table,
        )

        engine = create_async_engine(settings.dsn, hide_parameters=True)
        try:
            store = SQLAPIKeyStore(engine, api_keys_table(MetaData(), name=settings.table))
            return await work(
                APIKeyService(store, key_format=settings.key_format, pepper=settings.pepper)
            )
        finally:
            await engine.dispose()

    unsubscribe = subscribe(_Told())
    try:
        with _one_line():
            return asyncio.run(session())
    finally:
        unsubscribe()


class _Told:
    """Print events to standard error: the default reader logs to standard output."""

    def emit(self, event: SecurityEvent) -> None:
        told = {"event": event.name, "outcome": event.outcome, "reason": event.reason}
        typer.echo(json.dumps({**told, **event.details}), err=True)


class _one_line:  # noqa: N801 - a context manager, read as a phrase
    """Turn an error of ours, or of a URL, into a line and an exit code."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

        if isinstance(error, ArgumentError):
            error = ConfigError("--dsn", "is no SQLAlchemy URL", "See --help.")
        if isinstance(error, GuardError):
            reason = getattr(error, "reason", "")
            said = str(error) if reason in {"", error.code} else f"{error.code}: {reason}"
            _errors.print(f"[red]{escape(said)}[/red]")
            raise typer.Exit(2) from None


def _print_new(issued: IssuedKey) -> None:
    _errors.print(
        f"Key {issued.record.key_id} of tenant {escape(issued.record.tenant_id)}, until "
        f"{_day(issued.record.expires_at)}. It is shown this once:"
    )
    typer.echo(issued.key.reveal())


def _pepper(path: Path) -> Secret:
    text = None
    if path.is_file() and not path.stat().st_mode & 0o077:
        text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ConfigError(
            "--pepper-file",
            f"{path} is missing, empty, or readable by others",
            f"Run: chmod 600 {path}",
        )
    return Secret(text)


def _row(key: APIKey) -> tuple[str, ...]:
    state = key.state(SYSTEM_CLOCK.now())
    return (
        key.key_id,
        f"{key.hint}...",
        key.name,
        key.user_id,
        " ".join(sorted(key.scopes)),
        f"{state}, rotated" if key.successor_id and state == "active" else state,
        _day(key.expires_at),
        _day(key.last_used_at),
    )


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else utc(seconds).strftime("%Y-%m-%d %H:%M")
