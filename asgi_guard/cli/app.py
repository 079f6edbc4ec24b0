"""The commands, and the one place that turns our errors into a line and an exit code."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from asgi_guard._version import __version__
from asgi_guard.cli.adopt import adopt
from asgi_guard.cli.api_keys import api_keys
from asgi_guard.cli.audit import audit
from asgi_guard.cli.demo import load_demo
from asgi_guard.cli.keys import keys
from asgi_guard.cli.keys_migration import migrate
from asgi_guard.cli.login import register as register_login
from asgi_guard.cli.rls import rls
from asgi_guard.cli.seal import seal
from asgi_guard.errors import GuardError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables: tokens and rows
    help="Multi-tenant security for ASGI apps.",
)
app.add_typer(api_keys, name="api-keys")
app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")
app.add_typer(rls, name="rls")
rls.add_typer(seal, name="seal")
register_login(app)
keys.add_typer(migrate, name="migrate-hs256")
rls.add_typer(adopt, name="adopt")


@app.callback()
def _root() -> None:
    """Keep sub-commands sub-commands, however many there are."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Take the tour over HTTP, print its table and stop.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port on the loopback address.")
    ] = 8000,
) -> None:
    """Show two tenants in one database, and what happens to those who try to reach across."""
    console = Console()
    try:
        held = load_demo()(once=once, port=port, console=console)
    except GuardError as error:
        Console(stderr=True).print(f"[red]{error.code}[/red] {error}", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        held = True
    if not held:
        raise typer.Exit(1)
