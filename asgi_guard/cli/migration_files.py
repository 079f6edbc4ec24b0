"""What the commands of a migration share: its state file, its secret, its one event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from asgi_guard._internal.events import emit
from asgi_guard._internal.owner_files import OwnerFolder
from asgi_guard._internal.private_files import read_private
from asgi_guard.auth.jose import KeyManager, MigrationState
from asgi_guard.errors import ConfigError, GuardError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.secret import Secret

__all__ = [
    "ERRORS",
    "DryRun",
    "Folder",
    "SecretFile",
    "existing",
    "load",
    "locked",
    "manager",
    "one_line",
    "save",
    "secret",
]

STATE: Final = "migration.json"
_LIMIT: Final = 64 * 1024
ERRORS: Final = Console(stderr=True, highlight=False, soft_wrap=True)

Folder = Annotated[Path, typer.Argument(help="The folder of the KeyManager.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and say, and change nothing.")]
SecretFile = Annotated[
    Path, typer.Option(help="File of mode 0600 with the HS256 secret.", show_default=False)
]


def manager(folder: Path, algorithm: str, longest: float) -> KeyManager:
    """Return the folder's keys, kept for as long as a token lives."""
    return KeyManager(folder, algorithm=algorithm, longest_token=longest)


def load(folder: Path) -> MigrationState | None:
    """Return how far the folder's migration has come; None if it has not begun.

    Raises:
        ConfigError: The folder or the file is open to others, or damaged.
    """
    if not folder.exists():  # a dry run makes none
        return None
    content = OwnerFolder(folder).read(STATE, limit=_LIMIT)
    return None if not content else MigrationState.from_json(content)


def existing(folder: Path) -> MigrationState:
    """Return how far the folder's migration has come.

    Raises:
        ConfigError: It has not begun.
    """
    state = load(folder)
    if state is None:
        raise ConfigError(str(folder), "is in no migration", "Begin: migrate-hs256 start.")
    return state


def save(folder: Path, state: MigrationState | None) -> None:
    """Keep *state*; None if it has not begun."""
    # Empty for none: replaced in one step like every other state, never half gone.
    OwnerFolder(folder).replace(STATE, b"" if state is None else state.to_json())


@contextmanager
def locked(folder: Path, *, dry_run: bool) -> Iterator[None]:
    """Exclude a second operator; a dry run and a folder that is not there need no lock."""
    if dry_run or not folder.exists():
        yield
        return
    with OwnerFolder(folder).locked():
        yield


def secret(file: Path) -> Secret:
    """Return the HS256 secret that *file* holds; one line end after it is none of it.

    Raises:
        ConfigError: The file is not there, or open to others.
    """
    try:
        content = read_private(file, limit=_LIMIT)
    except FileNotFoundError:
        raise ConfigError(str(file), "is not there", "Name the file of the secret.") from None
    return Secret(content.decode("utf-8", "surrogateescape").removesuffix("\n"))


@contextmanager
def one_line(step: str = "", *, dry_run: bool = False) -> Iterator[dict[str, str | int]]:
    """Turn our errors into a line and exit code 2, and leave the one event of a step."""
    details: dict[str, str | int] = {"step": step, "dry_run": int(dry_run)}
    stop = subscribe(_ToStandardError())
    try:
        yield details
    except (GuardError, OSError) as error:
        code = error.code if isinstance(error, GuardError) else type(error).__name__
        if step:
            emit("KEY_MIGRATION_STEP", outcome="denied", reason=code, details=details)
        ERRORS.print(f"[red]{code}[/red] {error}")
        raise typer.Exit(2) from None
    else:
        if step:
            emit("KEY_MIGRATION_STEP", outcome="allowed", details=details)
    finally:
        stop()


class _ToStandardError:
    """Show events, and leave standard output to the result."""

    def emit(self, event: SecurityEvent) -> None:
        """Print the name."""
        typer.echo(event.name, err=True)
