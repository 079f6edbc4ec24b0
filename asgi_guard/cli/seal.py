"""``asgi-guard rls seal``: make keys that seal tenants, and print the SQL that makes them known.

Nothing here connects to a database: the SQL contains the keys, and whoever administers the
database runs it where no statement is logged, e.g.
``asgi-guard rls seal sql FILE | psql --quiet -v ON_ERROR_STOP=1 ...``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from asgi_guard.errors import GuardError

if TYPE_CHECKING:
    from asgi_guard.rls import SealKeys

__all__ = ["seal"]

seal = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables: keys
    help="Make the keys that seal tenants, and print the SQL that the database needs.",
)
_FAILED: Final = 2

_File = Annotated[Path, typer.Argument(help="File of keys, mode 0600, the signing one first.")]
_Schema = Annotated[str, typer.Option(help="Schema of the helper functions.")]


@seal.command("new")
def new(path: _File) -> None:
    """Make a file with one new key, and print which."""
    from asgi_guard.rls import SealKey, SealKeys  # noqa: PLC0415 - loads SQLAlchemy

    key = SealKey.generate()
    try:
        SealKeys([key]).to_file(path)
    except (GuardError, OSError) as error:
        raise _said(error) from None
    typer.echo(key.key_id)


@seal.command("list")
def list_(path: _File) -> None:
    """Print the ids of a file's keys; the first one signs."""
    for key in _read(path).keys:
        typer.echo(key.key_id)


@seal.command("sql")
def sql(path: _File, *, schema: _Schema = "asgi_guard") -> None:
    """Print the SQL that makes a file's keys known to the database. It contains the keys."""
    from asgi_guard.rls import RLSVariables, seal_key_statements  # noqa: PLC0415 - as above

    for statement in seal_key_statements(_read(path), RLSVariables(schema=schema)):
        typer.echo(f"{statement};")


@seal.command("retire")
def retire(
    key_id: Annotated[str, typer.Argument(help="As `list` prints it.")],
    *,
    schema: _Schema = "asgi_guard",
) -> None:
    """Print the SQL after which the database refuses what one key signs."""
    from asgi_guard.rls import (  # noqa: PLC0415 - as above
        RLSVariables,
        retire_seal_key_statement,
    )

    typer.echo(f"{retire_seal_key_statement(key_id, RLSVariables(schema=schema))};")


def _read(path: Path) -> SealKeys:
    from asgi_guard.rls import SealKeys  # noqa: PLC0415 - as above

    try:
        return SealKeys.from_file(path)
    except (GuardError, OSError) as error:
        raise _said(error) from None


def _said(error: Exception) -> typer.Exit:
    named = getattr(error, "strerror", None)
    typer.echo(f"{error.filename}: {named}" if named else str(error), err=True)  # type: ignore[attr-defined]
    return typer.Exit(_FAILED)
