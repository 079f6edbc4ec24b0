"""``asgi-guard keys migrate-hs256``: from a shared secret to public keys, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard.auth.jose import KeyManager, MigrationState, VerificationKey
from asgi_guard.auth.jose.algorithms import canonical_algorithm
from asgi_guard.cli.keys_resign import resign
from asgi_guard.cli.migration_files import (
    DryRun,
    Folder,
    SecretFile,
    existing,
    load,
    locked,
    manager,
    one_line,
    save,
    secret,
)
from asgi_guard.errors import ConfigError

__all__ = ["migrate"]

_DAY: Final = 86_400.0

migrate = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables: secrets and tokens
    help="Move from HS256 to public keys: start, switch, resign, end; back takes a step back.",
)
migrate.command()(resign)

_DO: Final = {
    "published": "Serve the JWKS, and give every verifier a DualAlgorithmVerifier.",
    "switched": "Sign with the KeyManager's key from now on; HS256 is still accepted.",
    "ended": "Take the HS256 secret out of every service, and destroy it.",
}


@migrate.command()
def start(
    folder: Folder,
    *,
    secret_file: SecretFile,
    longest_lifetime: Annotated[
        float, typer.Option(help="Seconds that the longest HS256 token lives, refresh included.")
    ],
    settle: Annotated[
        float, typer.Option(help="Seconds until every verifier has the new keys.")
    ] = 3600,
    deadline_days: Annotated[
        float, typer.Option(help="Days until HS256 ends, whatever happens.")
    ] = 90,
    algorithm: Annotated[str, typer.Option(help="RS256, ES256 or EdDSA.")] = "RS256",
    dry_run: DryRun = False,
) -> None:
    """Make and publish the keys; nothing is signed with them yet."""
    with one_line("start", dry_run=dry_run) as details:
        VerificationKey(secret(secret_file), algorithm="HS256")  # refuses a weak one
        keys = manager(folder, algorithm, longest_lifetime)  # refuses an unknown algorithm
        _check_not_begun(folder)
        now = SYSTEM_CLOCK.now()
        state = MigrationState(
            phase="published",
            algorithm=algorithm,
            longest_lifetime=longest_lifetime,
            settle=settle,
            deadline=now + deadline_days * _DAY,
            published_at=now,
        )
        _check_deadline(state)
        if not dry_run:
            _publish(folder, keys, state)
        details["phase"] = state.phase
        _say(state, dry_run=dry_run)


@migrate.command()
def status(folder: Folder) -> None:
    """Show how far it has come, and what stands in the way of the next step."""
    with one_line():
        state = existing(folder)
        typer.echo(f"phase: {state.phase}")
        typer.echo(f"new tokens: {state.signs_with}")
        typer.echo(f"HS256 until: {utc(state.legacy_until):%Y-%m-%d %H:%M:%SZ}")
        typer.echo(f"next step: {state.obstacle(SYSTEM_CLOCK.now()) or 'can be taken'}")


@migrate.command()
def switch(folder: Folder, *, dry_run: DryRun = False) -> None:
    """Let new tokens be signed with the new key; both are accepted."""
    _step(folder, "published", dry_run=dry_run)


@migrate.command()
def end(folder: Folder, *, dry_run: DryRun = False) -> None:
    """Accept HS256 no more."""
    _step(folder, "switched", dry_run=dry_run)


@migrate.command()
def back(folder: Folder, *, dry_run: DryRun = False) -> None:
    """Take the last step back."""
    with one_line("back", dry_run=dry_run) as details, locked(folder, dry_run=dry_run):
        before = existing(folder).stepped_back(SYSTEM_CLOCK.now())
        details["phase"] = "none" if before is None else before.phase
        if not dry_run:
            save(folder, before)
        if before is None:
            typer.echo("not begun; the keys stay published, and nothing is signed with them")
        else:
            _say(before, dry_run=dry_run)


def _check_not_begun(folder: Path) -> None:
    if load(folder) is not None:
        raise ConfigError(str(folder), "is in a migration already", "See: status.")


def _check_deadline(state: MigrationState) -> None:
    if state.published_at + state.settle + state.longest_lifetime > state.deadline:
        raise ConfigError("deadline_days", "is too soon", "Leave time for the longest token.")


def _publish(folder: Path, keys: KeyManager, state: MigrationState) -> None:
    asyncio.run(keys.open())
    found = keys.signing_key().algorithm
    if found != canonical_algorithm(state.algorithm):
        raise ConfigError("algorithm", f"is {found} in this folder", "Name it, or another folder.")
    with locked(folder, dry_run=False):
        _check_not_begun(folder)
        save(folder, state)


def _step(folder: Path, phase: str, *, dry_run: bool) -> None:
    name = {"published": "switch", "switched": "end"}[phase]
    with one_line(name, dry_run=dry_run) as details, locked(folder, dry_run=dry_run):
        state = existing(folder)
        if state.phase != phase:
            raise ConfigError("migration", f"is {state.phase}", f"{name} comes after {phase}.")
        after = state.advanced(SYSTEM_CLOCK.now())
        details["phase"] = after.phase
        if not dry_run:
            save(folder, after)
        _say(after, dry_run=dry_run)


def _say(state: MigrationState, *, dry_run: bool) -> None:
    typer.echo(f"{'would be ' if dry_run else ''}{state.phase}. {_DO[state.phase]}")
    typer.echo(f"HS256 until {utc(state.legacy_until):%Y-%m-%d %H:%M:%SZ}")
